"""When silence of a gate says that something is wrong.

One concern: how many passages there should have been since the last one. A gate is silent when so many were to be expected
that none at all is no chance. Pure: no clock, no database. It must never expect noise on a day the school is closed, nor
of a gate whose habit is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
SLOT_S = 1800
SLOTS = 48
_MARGIN = timedelta(minutes=60)
"""Before a session opens and after it closes pupils still pass."""
_DAYS = 8
"""As far back as is looked: then the sum has long said what it can say."""

Habit = Mapping[int, Sequence[float]]
"""ISO weekday → usual passages in each half hour of the local day."""
Sessions = Mapping[int, Sequence[tuple[time, time]]]
"""ISO weekday → sessions of the timetable; empty when a school has given none."""


def expected(
    habit: Habit, since: datetime, until: datetime, is_open: Callable[[date], bool], sessions: Sessions | None = None
) -> float:
    """How many passages were to be expected between two moments (aware), on open days and within sessions alone."""
    since, until = since.astimezone(ZONE), until.astimezone(ZONE)
    since = max(since, until - timedelta(days=_DAYS))
    total, day = 0.0, since.date()
    while day <= until.date():
        usual = habit.get(day.isoweekday())
        if usual is not None and is_open(day):
            total += sum(
                usual[slot] * _share(day, slot, since, until, sessions) for slot in range(SLOTS) if usual[slot] > 0
            )
        day += timedelta(days=1)
    return total


def _share(day: date, slot: int, since: datetime, until: datetime, sessions: Sessions | None) -> float:
    """The part (0 to 1) of a half hour that lies between the two moments and in a session."""
    start = datetime.combine(day, time(), ZONE) + timedelta(seconds=slot * SLOT_S)
    end = start + timedelta(seconds=SLOT_S)
    spans = [(start, end)]
    if sessions:
        spans = [
            (
                max(start, datetime.combine(day, opens, ZONE) - _MARGIN),
                min(end, datetime.combine(day, closes, ZONE) + _MARGIN),
            )
            for opens, closes in sessions.get(day.isoweekday(), ())
        ]
    covered = 0.0
    reached = max(start, since)
    for opens, closes in spans:
        opens = max(opens, reached)
        closes = min(closes, until)
        if closes > opens:
            covered += (closes - opens).total_seconds()
            reached = closes
    return min(covered / SLOT_S, 1.0)


def is_silent(
    habit: Habit,
    last: datetime,
    now: datetime,
    is_open: Callable[[date], bool],
    sessions: Sessions | None,
    *,
    threshold: float,
    patience_s: float,
) -> bool:
    """Whether a gate last heard at `last` should have been heard since: `threshold` passages were to be expected (eight come
    to none by chance once in 3,000 times) and at least `patience_s` seconds went by."""
    if (now - last).total_seconds() < patience_s:
        return False
    return expected(habit, last, now, is_open, sessions) >= threshold
