"""What a gate's list is read with: the gates that may stand in it with their clocks, and the span by the asked one's clock.

One concern: those entries. It must never let a list speak for a gate of another vendor's account, or a wrong clock hide
a passage: for it a span is widened, or asked for twice, never only moved.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from hub.kernel.ledger.gates import SIGNING
from hub.keys import CannotDecrypt, Keys
from iot.clock import PLAUSIBLE_S, Estimate
from iot.listing import Span

log = logging.getLogger("hub.catchup")

_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Whatever a gate says its clock tells, outside of these it is asked for nothing."""
_UNCERTAIN_S = 60.0
"""What is taken for the uncertainty of an offset the registry tells without one: as for one set by hand."""


def entries(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Registry rows as entries by id, each with what is known of its `clock`."""
    return {r["id"]: {**r, "clock": _clock(r["offset_s"])} for r in rows}


def _clock(offset_s: float | None) -> Estimate | None:
    # The registry keeps the device's clock minus the hub's; a lag is the other way round.
    return None if offset_s is None else Estimate(-offset_s, _UNCERTAIN_S, 0)


def set_right(entry: dict[str, Any], offset_s: float) -> None:
    """An entry's clock is off by so much, as the gate itself has just told."""
    entry.update(offset_s=offset_s, clock=_clock(offset_s))


def of_account(
    owner: Mapping[str, Any], devices: Mapping[str, Mapping[str, Any]], keys: Keys
) -> dict[str, Mapping[str, Any]]:
    """The gates a list of `owner` may speak of: itself, and those of its family whose vendor signs with the same secret."""
    secret = _signs(owner, keys)
    return {
        name: entry
        for name, entry in devices.items()
        if name == owner["id"] or (secret and entry["family"] == owner["family"] and _signs(entry, keys) == secret)
    }


def _signs(entry: Mapping[str, Any], keys: Keys) -> bytes:
    try:
        return keys.decrypt(entry["signing"], SIGNING) if entry["signing"] is not None else b""
    except CannotDecrypt:
        log.error("what the vendor of gate %s signs with cannot be opened", entry["id"])
        return b""


class Turn(Struct, frozen=True):
    """One of the spans a run asks for, one after the other. `number` counts from 0; `more`: another turn follows. `lost`: a
    clock that is known now, or was until now, was lost; then what this turn brings was told by a clock that was off by
    `offset_s` (None: by one that was right)."""

    span: Span
    number: int
    more: bool
    lost: bool = False
    offset_s: float | None = None

    def entries(self, found: Mapping[str, Mapping[str, Any]], owner: str) -> Mapping[str, Mapping[str, Any]]:
        """The entries as this turn has to read them."""
        return {**found, owner: {**found[owner], "clock": _clock(self.offset_s)}} if self.lost else found


def turn_of(span: Span, offset_s: float, number: int, before_s: float = 0.0) -> Turn:
    """What is asked for in a run's turn `number`, for a span of the hub's time and a clock that is `offset_s` ahead, and was
    `before_s` ahead until it was heard just now: passages may have been told by either."""
    spans = by_its_clock(span, offset_s, before_s)
    number = max(0, min(number, len(spans) - 1))
    found, by_s = spans[number]
    own = offset_s if not _is_lost(offset_s) else None
    return Turn(found, number, number + 1 < len(spans), lost=len(spans) > 1, offset_s=by_s if by_s is not None else own)


def by_its_clock(span: Span, *offsets_s: float) -> list[tuple[Span, float | None]]:
    """A span of the hub's time as those that hold it by a clock that is, or was, so far ahead; each with the offset of a
    clock that was lost.

    One that is off by a day at most widens it: it may have been set since it was last heard, and what is listed twice is
    stored once. One that is further off was lost (a terminal that begins at 2000 again): what passed before that stands in
    the span itself, what passed since in one of its own, moved; all between the two, years of it, is not asked for."""
    little = [timedelta(), *(timedelta(seconds=off) for off in offsets_s if not _is_lost(off))]
    spans: list[tuple[Span, float | None]] = [
        (Span(min(span.start + off for off in little), max(span.end + off for off in little)), None)
    ]
    for off in dict.fromkeys(filter(_is_lost, offsets_s)):
        if (moved := _moved(span, off)) is not None:
            spans.append((moved, off))
    return spans


def _is_lost(offset_s: float) -> bool:
    return abs(offset_s) > PLAUSIBLE_S


def _moved(span: Span, offset_s: float) -> Span | None:
    near = timedelta(seconds=_UNCERTAIN_S)
    try:
        off = timedelta(seconds=offset_s)
        moved = Span(span.start + off - near, span.end + off + near)
    except OverflowError:
        return None
    return moved if moved.start >= _FIRST and moved.end <= _LAST else None
