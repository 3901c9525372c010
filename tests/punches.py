"""The rule of double punches by itself, to hold what the hub does against."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from hub.kernel.presence import Punch


def travelling(punches: Iterable[Punch], window: timedelta) -> set[int]:
    """The numbers of those that travel: no other lies within the window before them."""
    found: set[int] = set()
    last: Punch | None = None
    for punch in sorted(punches):
        if last is None or punch.at - last.at > window:
            found.add(punch.record)
        last = punch
    return found
