"""Where a gate stood when something happened: an event belongs to the place of its time, not of its arrival.

Pure. It must never touch an event of a gate that has not moved, nor trust a clock that is known to be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from hub.kernel.ports import Decoded, Draft
from iot.clock import CLOCK


def place_at(entry: Mapping[str, Any], moment: datetime) -> Mapping[str, Any] | None:
    """The place of a gate at a moment; None when it never moved. `entry["places"]`: oldest first, `since` in seconds."""
    found = None
    for place in entry.get("places") or ():
        if found is None or place["since"] <= moment.timestamp():
            found = place
    return found


def decode_where(
    decode: Callable[[Mapping[str, Any] | None], Decoded], entry: Mapping[str, Any] | None, received_at: datetime
) -> Decoded:
    """Decode a gate's publication and put each event where the gate stood then.

    A gate whose topic names its school goes on with the old one until somebody sets it up anew: what it says is then
    read as of that place, and refused as ever when the event is of another time.
    """
    decoded = decode(entry)
    if entry is None or not entry.get("places"):
        return decoded
    read_as = entry
    if decoded.invalid is not None and decoded.invalid.code == "device_mismatch":
        for place in reversed(entry["places"]):
            there = {**entry, **_of(place)}
            again = decode(there) if place["school"] != entry.get("school") else decoded
            if again.invalid is None and all(_place(entry, d, received_at)["school"] == d.school for d in again.drafts):
                decoded, read_as = again, there
                break
    _put(entry, decoded, received_at, read_as.get("direction"), lambda way: decode({**read_as, "direction": way}))
    return decoded


def put_where(
    entry: Mapping[str, Any] | None, decoded: Decoded, received_at: datetime, facing: Callable[[str], Decoded]
) -> None:
    """As `decode_where` for what is decoded already: its drafts are put where the gate stood at their times. `facing`:
    the same decoded once more, of a gate registered with another direction."""
    if entry is not None and entry.get("places"):
        _put(entry, decoded, received_at, entry.get("direction"), facing)


def _put(
    entry: Mapping[str, Any], decoded: Decoded, received_at: datetime, read_as: Any, facing: Callable[[str], Decoded]
) -> None:
    """`read_as`: the direction the gate was taken to have when this was decoded."""
    faced: dict[str, Decoded] = {}
    moved: list[Draft] = []
    for number, draft in enumerate(decoded.drafts):
        place = _place(entry, draft, received_at)
        body = {**draft.body, "school_code": place["school"], "entrance": place["entrance"]}
        if (way := place["direction"]) != read_as:
            # Only the decoder knows which word is the gate's own and which the registry's.
            if way not in faced:
                faced[way] = facing(way)
            body["direction"] = faced[way].drafts[number].body["direction"]
        moved.append(draft if body == draft.body else replace(draft, body=body, school=place["school"]))
    decoded.drafts = moved


def _of(place: Mapping[str, Any]) -> dict[str, Any]:
    return {name: place[name] for name in ("school", "entrance", "direction")}


def _place(entry: Mapping[str, Any], draft: Draft, received_at: datetime) -> Mapping[str, Any]:
    known = draft.body.get("quarantine") != CLOCK
    place = place_at(entry, draft.updated_at if known else received_at)
    assert place is not None
    return place


__all__ = ["decode_where", "place_at", "put_where"]
