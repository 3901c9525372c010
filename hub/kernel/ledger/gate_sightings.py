"""Passages of families whose lists and pushes have no name in common: each is stored once, in whichever order the two tell of it.

One concern: which of them are the same: a person at a device, less than a second apart by the device's own clock, the nearest first,
one of the list with one that was pushed. By no other clock: a push that comes hours late is known too. A list's page holds its
devices alone until it is committed, pushes hold theirs together, so neither misses the other. What a kill leaves: nothing of the
page or push; all of this stands in their own transactions. It must never let one word stand for two passages that were both told.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hub.kernel.intake import Arrival, as_uuid
from hub.kernel.ports import Sighting
from hub.kernel.store.db import Connection, sql

_NEAR_MS = 1000


async def meet(connection: Connection, arrivals: Sequence[Arrival]) -> None:
    """Of pushes about to be taken in, within the caller's transaction: have those known by their keys that a list told before.
    No round trip for arrivals without a sighting."""
    pushed = [(a, a.sighting) for a in arrivals if a.sighting is not None and a.key is not None]
    if not pushed:
        return
    await connection.execute(
        sql.gate_sightings_meet,
        [as_uuid(a.key) for a, _ in pushed if a.key is not None],
        [a.digest for a, _ in pushed],
        [a.source.name for a, _ in pushed],
        [s.at_ms for _, s in pushed],
        [_hashed(s.alias) for _, s in pushed],
        [_hashed(s.vendor) for _, s in pushed],
    )


async def met(connection: Connection, arrivals: Sequence[Arrival], start: datetime, end: datetime) -> dict[int, int]:
    """Of a list's page, within the caller's transaction: the places in `arrivals` of passages that the ledger has, each with its
    message there. `start`, `end`: the span, aware, the ledger is asked about. From here on their devices' pushes wait for the commit."""
    devices = sorted({a.source.name for a in arrivals})
    await connection.execute(sql.gate_sightings_hold, devices)
    rows = await connection.fetch(sql.gate_seen, devices, start, end)
    there: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        there.setdefault((row["device"], row["person"]), []).append(row)
    pairs = sorted(
        (apart, place, row["key"], row["message"])
        for place, arrival in enumerate(arrivals) if arrival.sighting is not None
        for name in _names(arrival.sighting)
        for row in there.get((arrival.source.name, name), ())
        if (apart := abs(arrival.sighting.at_ms - round(row["sent"].timestamp() * 1000))) < _NEAR_MS
    )  # fmt: skip
    # A list may tell the same entry twice on a page.
    found: dict[bytes | None, int] = {}
    used: set[str] = set()
    for _, place, key, message in pairs:
        if arrivals[place].key not in found and key not in used:
            used.add(key)
            found[arrivals[place].key] = message
    return {place: found[a.key] for place, a in enumerate(arrivals) if a.key in found}


async def note(connection: Connection, told: Sequence[tuple[int, Arrival]]) -> None:
    """Passages that only a list has told so far, by their messages."""
    rows = [(message, a.source.name, a.sighting) for message, a in told if a.sighting is not None]
    if rows:
        await connection.execute(
            sql.gate_sightings_note,
            [message for message, _, _ in rows],
            [device for _, device, _ in rows],
            [s.at_ms for _, _, s in rows],
            [_hashed(s.alias) for _, _, s in rows],
            [_hashed(s.vendor) for _, _, s in rows],
        )


def _names(sighting: Sighting) -> list[str]:
    """What the ledger may have the person under: one without an alias was pushed by the vendor's number."""
    return [name for name in (sighting.alias, sighting.vendor) if name]


def _hashed(name: str) -> Any:
    if not name:
        return None
    return uuid.UUID(bytes=hashlib.blake2b(name.encode(), digest_size=16, person=b"lt-sighting").digest())
