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
    if decoded.invalid is not None and decoded.invalid.code == "device_mismatch":
        for place in reversed(entry["places"]):
            again = decode({**entry, **_of(place)}) if place["school"] != entry.get("school") else decoded
            if again.invalid is None and all(_place(entry, d, received_at)["school"] == d.school for d in again.drafts):
                decoded = again
                break
    decoded.drafts = [_moved(entry, draft, received_at) for draft in decoded.drafts]
    return decoded


def put_where(entry: Mapping[str, Any] | None, decoded: Decoded, received_at: datetime) -> None:
    """As `decode_where` for what is decoded already: its drafts are put where the gate stood at their times."""
    if entry is not None and entry.get("places"):
        decoded.drafts = [_moved(entry, draft, received_at) for draft in decoded.drafts]


def _of(place: Mapping[str, Any]) -> dict[str, Any]:
    return {name: place[name] for name in ("school", "entrance", "direction")}


def _place(entry: Mapping[str, Any], draft: Draft, received_at: datetime) -> Mapping[str, Any]:
    known = draft.body.get("quarantine") != CLOCK
    place = place_at(entry, draft.updated_at if known else received_at)
    assert place is not None
    return place


def _moved(entry: Mapping[str, Any], draft: Draft, received_at: datetime) -> Draft:
    place = _place(entry, draft, received_at)
    if all(place[name] == entry.get(name) for name in ("school", "entrance", "direction")) and (
        draft.school == place["school"]
    ):
        return draft
    body = {**draft.body, "school_code": place["school"], "entrance": place["entrance"]}
    if body.get("direction") == entry.get("direction") and place["direction"] != "unknown":
        # The registry's word, not the gate's own.
        body["direction"] = place["direction"]
    return replace(draft, body=body, school=place["school"])


__all__ = ["decode_where", "place_at", "put_where"]
