"""The truth of a check-in, as rules: which punch of a passage travels, and when an event under a wrong clock happened.

Pure: no database, no clock. It must never hang on the order in which check-ins arrived: what travels follows from the
punches there are, so a late one that came first in truth changes what a person would change, and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

from msgspec import Struct

CLOCK, PERSON = "clock", "person"
"""Quarantine reasons of check-ins that wait: for the clock's offset, for the person's link."""
MERGED = "merged"
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""Before this there were no gates: a corrected time that lies there is none."""
AGREE_S = 120.0
"""Lags of one wrong clock differ by delays only; ones further apart are of two."""
LEAST = 3
"""So many live events must agree before a wrong clock's offset is believed."""


# ------------------------------------------------------------------------------------------------ double punches


class Punch(Struct, frozen=True, order=True):
    """One accepted passage of one person in one direction at one place. Ordered by time, then by number."""

    at: datetime
    record: int


class Spot:
    """The punches around a moment, of one person in one direction at one place.

    A punch travels if no other lies within the window before it; so of a chain of punches the first does. `leaders`: what
    each known one was merged into when last judged.
    """

    def __init__(self, window: timedelta) -> None:
        self._window = window
        self._punches: list[Punch] = []
        self._leaders: dict[int, int] = {}

    def know(self, punch: Punch, leader: int) -> None:
        """Take in a punch that is in place already."""
        if punch.record not in self._leaders:
            insort(self._punches, punch)
            self._leaders[punch.record] = leader

    def before(self, punch: Punch) -> Punch | None:
        """The punch this one repeats: the nearest within the window before it."""
        place = bisect_left(self._punches, punch)
        if place == 0:
            return None
        last = self._punches[place - 1]
        return last if punch.at - last.at <= self._window else None

    def after(self, punch: Punch) -> Punch | None:
        """The nearest within the window after it."""
        place = bisect_left(self._punches, punch)
        if place < len(self._punches) and self._punches[place].record == punch.record:
            place += 1
        if place >= len(self._punches):
            return None
        following = self._punches[place]
        return following if following.at - punch.at <= self._window else None

    def leader(self, punch: Punch) -> int:
        """The number of the one this is merged into; its own when it travels."""
        previous = self.before(punch)
        return punch.record if previous is None else self._leaders[previous.record]

    def put(self, punch: Punch) -> tuple[int, int | None]:
        """Place a punch. Gives what it is merged into (itself: it travels), and the one that travelled until now and no
        longer does."""
        leader = self.leader(punch)
        following = self.after(punch)
        self.know(punch, leader)
        displaced = following is not None and self._leaders[following.record] == following.record
        return leader, following.record if displaced and following is not None else None


# ------------------------------------------------------------------------------------------------ wrong clocks


class Seen(Struct, frozen=True):
    """One event under a wrong clock: the device's time read in its zone, the receipt, whether it came as it happened."""

    device_time: datetime
    received_at: datetime
    live: bool

    @property
    def lag_s(self) -> float:
        """Receipt minus device time."""
        return (self.received_at - self.device_time).total_seconds()


class Offset(Struct, frozen=True):
    """How far a clock was off while it showed times from `since` to `until` (both included)."""

    lag_s: float
    uncertainty_s: float
    since: datetime
    until: datetime
    by_hand: bool = False


def infer(seen: Sequence[Seen]) -> list[Offset]:
    """Offsets that live events under a wrong clock agree on, in order of time.

    A reset starts a new one. Late events say nothing: their lag is a delay as much as an error. Of one clock's lags the
    smallest near the middle is the error, for a delay is never negative.
    """
    found: list[Offset] = []
    group: list[Seen] = []

    def close() -> None:
        if len(group) >= LEAST:
            lags = [s.lag_s for s in group]
            middle = median(lags)
            least = min(lag for lag in lags if abs(lag - middle) <= AGREE_S)
            times = [s.device_time for s in group]
            found.append(Offset(least, max(1.0, round(middle - least, 3)), min(times), max(times)))

    for one in sorted((s for s in seen if s.live), key=lambda s: s.received_at):
        if group and abs(one.lag_s - median(s.lag_s for s in group[-8:])) > AGREE_S:
            close()
            group = []
        group.append(one)
    close()
    return found


def corrected(one: Seen, offsets: Sequence[Offset]) -> tuple[datetime, float] | None:
    """When it happened and how sure that is (seconds); None when no offset fits, or two that disagree do.

    What a person set goes before what was inferred. An inferred offset is taken for stored events from before its first
    live one too: whatever was recorded since the reset was recorded under it.
    """
    for by_hand in (True, False):
        fits: list[tuple[datetime, float]] = []
        for offset in offsets:
            if offset.by_hand is not by_hand or not _covers(offset, one):
                continue
            try:
                moment = one.device_time + timedelta(seconds=offset.lag_s)
            except OverflowError:
                continue
            late = (one.received_at - moment).total_seconds()
            # By hand, a person answers for it; inferred, a live event far from its receipt is under another clock.
            near = by_hand or not one.live or late <= AGREE_S
            if moment >= EARLIEST and late >= -max(AGREE_S, offset.uncertainty_s) and near:
                fits.append((min(moment, one.received_at), offset.uncertainty_s))
        if fits:
            moments = [m for m, _ in fits]
            agree = (max(moments) - min(moments)).total_seconds() <= AGREE_S
            return min(fits, key=lambda f: f[1]) if agree else None
    return None


def _covers(offset: Offset, one: Seen) -> bool:
    if offset.by_hand:
        return offset.since <= one.device_time <= offset.until
    if one.live:
        return abs(one.lag_s - offset.lag_s) <= AGREE_S + offset.uncertainty_s
    return one.device_time <= offset.until + timedelta(seconds=AGREE_S)
