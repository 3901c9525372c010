"""What a gate's list is read with: the gates that may stand in it with their clocks, and the span by the asked one's clock.

One concern: those entries. It must never let a list speak for a gate of another vendor's account, or a wrong clock hide
a passage: a span is only ever widened for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from hub.kernel.ledger.gates import SIGNING
from hub.keys import CannotDecrypt, Keys
from iot.clock import PLAUSIBLE_S, Estimate
from iot.listing import Span

log = logging.getLogger("hub.catchup")

_UNCERTAIN_S = 60.0
"""What is taken for the uncertainty of an offset the registry tells without one: as for one set by hand."""


def entries(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Registry rows as entries by id, each with what is known of its `clock`."""
    return {r["id"]: {**r, "clock": _clock(r["offset_s"])} for r in rows}


def _clock(offset_s: float | None) -> Estimate | None:
    # The registry keeps the device's clock minus the hub's; a lag is the other way round.
    return None if offset_s is None else Estimate(-offset_s, _UNCERTAIN_S, 0)


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


def by_its_clock(span: Span, offset_s: float) -> Span:
    """A span of the hub's time as one that holds it by a clock that is `offset_s` ahead. It is widened, not moved: the clock
    may have been set since it was last heard, and what is listed twice is stored once. A clock that is off by more than
    a day is broken and moves nothing."""
    off = timedelta(seconds=offset_s if abs(offset_s) <= PLAUSIBLE_S else 0.0)
    return Span(min(span.start, span.start + off), max(span.end, span.end + off))
