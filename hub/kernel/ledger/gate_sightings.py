"""Passages of families whose lists and pushes have no name in common: each is stored once, in whichever order the two tell of it.

One concern: which of them are the same: a person at a device, less than a second apart by the device's own clock, the nearest first,
one of the list with one that was pushed. A person is known by each number both words tell; where each tells one of another kind alone,
by the learner both mean. By no other clock: a push that comes hours late is known too. A list's page holds its
devices alone until it is committed, pushes hold theirs together, so neither misses the other. What a kill leaves: nothing of the
page or push; all of this stands in their own transactions. It must never let one word stand for two passages that were both told.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hub.kernel.intake import Arrival, as_uuid
from hub.kernel.ports import Sighting
from hub.kernel.store.db import Connection, sql

_NEAR_MS = 1000
_KEPT, _NONE = "sighting", "-"
"""The attribute of a message, and its value where it told no number of the vendor's."""
_VENDOR, _BY_ALIAS, _BY_VENDOR = "\0v", "\0a", "\0l"


async def meet(connection: Connection, arrivals: Sequence[Arrival]) -> None:
    """Of pushes about to be taken in, within the caller's transaction: have those known by their keys that a list told before.
    No round trip for arrivals without a sighting."""
    _mark(arrivals)
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
        [s.alias for _, s in pushed],
        [s.vendor for _, s in pushed],
    )


async def met(connection: Connection, arrivals: Sequence[Arrival], start: datetime, end: datetime) -> dict[int, int]:
    """Of a list's page, within the caller's transaction: the places in `arrivals` of passages that the ledger has, each with its
    message there. `start`, `end`: the span, aware, the ledger is asked about. From here on their devices' pushes wait for the commit."""
    _mark(arrivals)
    devices = sorted({a.source.name for a in arrivals})
    await connection.execute(sql.gate_sightings_hold, devices)
    there: dict[tuple[str, str], list[Any]] = {}
    for row in await connection.fetch(sql.gate_seen, devices, start, end):
        for name in _names_of(row):
            there.setdefault((row["device"], name), []).append(row)
    learners = await _learners(connection, arrivals)
    pairs = sorted(
        (apart, place, row["key"], row["message"])
        for place, arrival in enumerate(arrivals) if arrival.sighting is not None
        for name in _names(arrival.sighting, learners.get(place))
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


def _mark(arrivals: Sequence[Arrival]) -> None:
    """Keep with a message what it tells of the vendor's own number, as a hash: its record names the person by the other."""
    for a in arrivals:
        if a.sighting is not None:
            a.attributes = {**a.attributes, _KEPT: str(_hashed(a.sighting.vendor) or _NONE)}


async def _learners(connection: Connection, arrivals: Sequence[Arrival]) -> dict[int, str | None]:
    """Whom those mean that tell one number alone, by their places: nothing else may link them to a word of the other kind."""
    alone = [
        (n, a.source.name, s) for n, a in enumerate(arrivals) if (s := a.sighting) and bool(s.alias) != bool(s.vendor)
    ]
    if not alone:
        return {}
    rows = await connection.fetch(
        sql.gate_sightings_learners,
        [device for _, device, _ in alone],
        [s.alias for _, _, s in alone],
        [s.vendor for _, _, s in alone],
        [datetime.fromtimestamp(s.at_ms / 1000, UTC) for _, _, s in alone],
    )
    return {n: row["learner"] for (n, _, _), row in zip(alone, rows, strict=True)}


def _names(sighting: Sighting, learner: str | None) -> list[str]:
    """What the ledger may have the person under, as `_names_of` tells it: one without an alias was pushed by the vendor's number;
    one that tells the vendor's alone, with an alias beside it; and where a word tells the other kind alone, by the learner."""
    names = [name for name in (sighting.alias, sighting.vendor) if name]
    if not sighting.alias:
        names.append(f"{_VENDOR}{_hashed(sighting.vendor)}")
    if learner is not None:
        names.append(f"{_BY_VENDOR if sighting.alias else _BY_ALIAS}{learner}")
    return names


def _names_of(row: Any) -> list[str]:
    """What a passage in the ledger is found under: the number its record has; the vendor's, kept beside an alias; the learner, of one
    that told one number alone, with which kind that was. The marked ones can be no number a device tells."""
    names, kept = [row["person"]], row["vendor"]
    if kept is None:
        return names
    by_vendor = kept == str(_hashed(row["person"]))
    if kept != _NONE and not by_vendor:
        names.append(f"{_VENDOR}{kept}")
    elif row["learner"] is not None:
        names.append(f"{_BY_VENDOR if by_vendor else _BY_ALIAS}{row['learner']}")
    return names


def _hashed(name: str) -> Any:
    if not name:
        return None
    return uuid.UUID(bytes=hashlib.blake2b(name.encode(), digest_size=16, person=b"lt-sighting").digest())
