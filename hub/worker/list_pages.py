"""One answer of a gate's list on its way to the ledger: through the firewall, read, each passage put where the gate stood.

One concern: that way, the same for every question a list is asked with. Pure but for the hasher it is given. It must never
keep what the firewall took out, or decide what is asked next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from hub.kernel.firewall_devices import clean_device
from hub.kernel.intake import Arrival, Source
from hub.kernel.ports import Decoded, Hasher, Removed, Reply
from hub.worker.bridge_items import school_of
from hub.worker.gate_arrivals import arrival_of
from hub.worker.gate_places import put_where
from iot.listing import Listed
from iot.web import Item

Entries = Mapping[str, Mapping[str, Any]]
"""Registry entries by id (see `list_entries.entries`)."""
Listing = tuple[str, Item]
"""The device a passage belongs to, and the passage."""


class Reading(Protocol):
    """A family's reading of one answer: the reply, its JSON, when it came, and the entries to read it with."""

    def __call__(self, reply: Reply, tree: Any, received_at: datetime, devices: Entries) -> Listed:
        """See `iot.listing.Lister.read`."""
        ...


class Page(Struct):
    """What was read, and what the firewall took out of the answer."""

    listed: Listed
    removed: list[Removed]


def read_page(read: Reading, reply: Reply, received_at: datetime, devices: Entries, hasher: Hasher) -> Page:
    """One answer, its passages where their gates stood when they happened."""
    cleaned = clean_device(reply.body, hasher)
    told = Reply(status=reply.status, body=cleaned.body, headers=reply.headers, elapsed_ms=reply.elapsed_ms)
    tree = cleaned.tree if cleaned.is_json else None
    listed = read(told, tree, received_at, devices)
    faced: dict[str, list[Listing]] = {}

    def facing(way: str, number: int) -> Decoded:
        if way not in faced:
            there = {name: {**device, "direction": way} for name, device in devices.items()}
            faced[way] = read(told, tree, received_at, there).items
        return faced[way][number][1].decoded

    if listed.fault is None:
        for number, (name, item) in enumerate(listed.items):
            put_where(devices[name], item.decoded, received_at, partial(facing, number=number))
    return Page(listed, cleaned.removed)


def arrivals_of(
    family: str, owner: str, items: Sequence[Listing], removed: list[Removed], devices: Entries, hasher: Hasher
) -> list[Arrival]:
    """Passages as messages; what was taken out of their page stands with the first. `owner`: the gate that was asked."""
    arrivals = [_arrival(family, owner, name, item, devices, hasher) for name, item in items]
    if arrivals:
        arrivals[0].removed = removed
    return arrivals


def _arrival(family: str, owner: str, device: str, item: Item, devices: Entries, hasher: Hasher) -> Arrival:
    body = item.body or b""
    made = arrival_of(
        family, "list", item, body, is_json=body[:1] == b"{", digest=bytes.fromhex(hasher(body)),
        source=Source("device", device), opener=owner,
    )  # fmt: skip
    made.school = school_of(devices[device], item.decoded)
    return made
