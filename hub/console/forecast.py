"""When a connector's backlog will be gone, from what it delivered lately and what its quota still allows.

Pure: the present is handed in. It must never promise more than was measured or than the quota grants.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Literal

from msgspec import Struct

from hub.console.times import ZONE

Word = Literal["clears", "stuck", "unmeasured", "later"]
"""`later`: it moves, but not within the horizon."""

_HORIZON_DAYS = 14


class Forecast(Struct, frozen=True, kw_only=True):
    """What a page says about one connector's backlog. Rates are deliveries per second."""

    backlog: int
    """Open deliveries that need no person."""
    rate: float
    """As measured over the last minutes; 0.0 when nothing was delivered in them."""
    expected: float
    """What the forecast reckons with: the measured rate, else the quota's."""
    word: Word
    clears_at: datetime | None = None

    @property
    def per_minute(self) -> float:
        """The expected rate, in deliveries a minute."""
        return self.expected * 60.0


def forecast(
    now: datetime,
    *,
    backlog: int,
    delivered: int,
    over_s: float,
    oldest_s: float,
    stopped: bool,
    per_second: float | None,
    per_day: int | None,
    day_used: int,
    batch_max: int,
) -> Forecast | None:
    """The forecast; None when nothing is open.

    `backlog`: open deliveries that wait for no person, the oldest `oldest_s` seconds old. `delivered` in the last `over_s`
    seconds. `stopped`: paused, breaker open, or nothing ready to go. Quotas count calls, of up to `batch_max` deliveries.
    """
    if backlog <= 0:
        return None
    rate = delivered / over_s if delivered > 0 and over_s > 0 else 0.0

    def say(word: Word, expected: float, at: datetime | None = None) -> Forecast:
        return Forecast(backlog=backlog, rate=rate, expected=expected, word=word, clears_at=at)

    if stopped:
        return say("stuck", 0.0)
    expected = rate
    if expected == 0.0:
        # Nothing measured: what has waited as long as we measured is not moving, what is younger has the quota's word.
        if oldest_s >= over_s:
            return say("stuck", 0.0)
        if per_second is None:
            return say("unmeasured", 0.0)
        expected = per_second
    elif per_second is not None:
        expected = min(expected, per_second * max(1, batch_max))
    at = _cleared(now, backlog, expected, per_day, day_used, batch_max)
    return say("clears" if at is not None else "later", expected, at)


def _cleared(
    now: datetime, backlog: int, rate: float, per_day: int | None, day_used: int, batch_max: int
) -> datetime | None:
    """When the last one has gone at `rate`, the day's quota starting anew at midnight in Vietnam. None: beyond the horizon."""
    if per_day is None:
        seconds = backlog / rate
        return now + timedelta(seconds=seconds) if seconds <= _HORIZON_DAYS * 86_400 else None
    left, allowed, start = backlog, max(0, per_day - day_used) * max(1, batch_max), now
    for _ in range(_HORIZON_DAYS):
        tomorrow = datetime.combine(start.astimezone(ZONE).date() + timedelta(days=1), time(), ZONE)
        today = int(min(allowed, rate * (tomorrow - start).total_seconds()))
        if left <= today:
            return start + timedelta(seconds=left / rate)
        left -= today
        start, allowed = tomorrow, per_day * max(1, batch_max)
    return None
