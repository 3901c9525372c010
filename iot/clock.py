"""Clock truth: what a device's own time is worth, and when an event really happened.

One concern: device time, time of receipt and recent experience in; corrected time, its uncertainty and a verdict out.
Pure. It must never drop an event: a time that cannot be right is quarantined, kept as it was sent.

A live event's lag (receipt minus device time) is the device's error plus a delay that is never negative, so the
smallest lag near the median of recent ones tells the error. A backlog of late events does not move it; a clock that
was really set does."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

DEFAULT_ZONE = "Asia/Ho_Chi_Minh"
CLOCK = "clock"
"""The quarantine reason of a time that cannot be right."""
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""Before this no gate of ours existed: such a time is a clock that lost its battery."""
PLAUSIBLE_S = 86_400.0
"""A device clock further off than this is broken, not merely wrong."""
RESOLUTION_S = 1.0
"""Devices tell whole seconds; no corrected time is better than that."""

_NEAR_S = 120.0
_AGREE_S = 30.0
_SPAN_S = 60.0
_TRUSTED_LAG_S = 900.0
_WARM = 16
_SELDOM = 8
"""A warm window is looked at anew with every so many events: one more delay among many says nothing new."""


class Estimate(Struct, frozen=True):
    """What experience says of one device. `lag_s`: receipt minus device time for an undelayed event. `kept`: from before
    the process began, so that the clock may have been set since: for history alone, a live event tells more."""

    lag_s: float
    uncertainty_s: float
    samples: int
    kept: bool = False

    @property
    def offset_s(self) -> float:
        """Device clock minus the hub's, in seconds."""
        return -self.lag_s


class Judged(Struct, frozen=True):
    """One event's time. `offset_s`: device clock minus the hub's, None when not known; `corrected` None when nothing
    can be said; `quarantine` is `clock` or None."""

    offset_s: float | None
    corrected: datetime | None
    uncertainty_s: float | None
    quarantine: str | None


class Skew:
    """Running estimate for one device, from its live events only. Not thread-safe."""

    __slots__ = ("_estimate", "_run", "_strange", "_unseen", "_window")

    def __init__(self, window: int = 64) -> None:
        self._window: deque[float] = deque(maxlen=window)
        self._strange: deque[tuple[float, float]] = deque(maxlen=5)
        self._run = (0.0, 0.0)
        """When the strange lags that agree began, and the first of them: many may come within a second."""
        self._estimate: Estimate | None = None
        self._unseen = 0

    @property
    def estimate(self) -> Estimate | None:
        """The estimate so far; None before the first live event."""
        return self._estimate

    def observe(self, received_at: datetime, device_time: datetime) -> None:
        """Take in one live event."""
        self.lagged((received_at - device_time).total_seconds(), received_at)

    def lagged(self, lag: float, received_at: datetime) -> None:
        """Take in one live event that was received `lag` seconds after its device's time."""
        estimate = self._estimate
        if estimate is not None and abs(lag - estimate.lag_s) > _NEAR_S:
            at = received_at.timestamp()
            if not self._strange or abs(lag - self._run[1]) > _AGREE_S:
                self._run = (at, lag)
            self._strange.append((at, lag))
            if not self._moved(estimate.lag_s):
                return
            self._window.clear()
            self._window.extend(strange for _, strange in self._strange)
            self._strange.clear()
        else:
            self._window.append(lag)
            if self._strange:
                self._strange.clear()
            self._unseen += 1
            if estimate is not None and lag >= estimate.lag_s and self._unseen < _SELDOM and len(self._window) > _WARM:
                return
        self._unseen = 0
        middle = median(self._window)
        near = [x for x in self._window if abs(x - middle) <= _NEAR_S] or [middle]
        least = min(near)
        self._estimate = Estimate(least, max(RESOLUTION_S, round(middle - least, 3)), len(near))

    def _moved(self, known: float) -> bool:
        """Whether the latest strange lags mean that the clock was set, rather than that a backlog is being sent.

        A shorter lag cannot be a delay: three that agree are enough. A longer one may be, but a backlog's lags shrink
        while it drains; only ones that stay the same over a minute are the clock's."""
        ahead = [(at, lag) for at, lag in self._strange if lag < known]
        if len(ahead) >= 3:
            lags = [lag for _, lag in ahead[-3:]]
            return max(lags) - min(lags) <= _AGREE_S
        if len(self._strange) < 5 or ahead:
            return False
        lags = [lag for _, lag in self._strange]
        return max(lags) - min(lags) <= _AGREE_S and self._strange[-1][0] - self._run[0] >= _SPAN_S


def judge(device_time: datetime | None, received_at: datetime, live: bool, known: Estimate | None) -> Judged:
    """Corrected time of one event. `device_time` is aware, None when it could not be read."""
    if live and known is not None and known.kept:
        known = None
    if device_time is None:
        return Judged(known.offset_s if known else None, received_at if live else None, None, CLOCK)
    lag = (received_at - device_time).total_seconds()
    if live:
        return _judge_live(device_time, received_at, lag, known)
    broken = device_time < EARLIEST or lag < -PLAUSIBLE_S
    if known is None:
        return Judged(None, device_time, None, CLOCK if broken or lag < -_TRUSTED_LAG_S else None)
    corrected = _shift(device_time, known.lag_s)
    late = (received_at - corrected).total_seconds() if corrected else -PLAUSIBLE_S
    broken = broken or abs(known.lag_s) > PLAUSIBLE_S or late < -max(_NEAR_S, known.uncertainty_s)
    return Judged(known.offset_s, corrected, known.uncertainty_s, CLOCK if broken else None)


def _judge_live(device_time: datetime, received_at: datetime, lag: float, known: Estimate | None) -> Judged:
    if device_time < EARLIEST or abs(lag) > PLAUSIBLE_S:
        return Judged(round(-lag, 3), received_at, _NEAR_S, CLOCK)
    if known is not None:
        if lag < known.lag_s - _NEAR_S:
            # The clock was put forward since: a delay cannot be negative, so this event's own lag tells the most.
            return Judged(round(-lag, 3), received_at, _NEAR_S, None)
        least = min(lag, known.lag_s)
        return Judged(round(-least, 3), _shift(device_time, least), known.uncertainty_s, None)
    if 0 <= lag <= _TRUSTED_LAG_S:
        # Nothing known yet: a right clock and a late message are likelier than a wrong clock.
        return Judged(None, device_time, max(RESOLUTION_S, round(lag, 3)), None)
    return Judged(round(-lag, 3), received_at, max(_NEAR_S, RESOLUTION_S), None)


def learn(skew: Skew, body: Mapping[str, Any], event_time: datetime, received_at: datetime) -> None:
    """Take a check-in's canonical body into its device's estimate: live ones only, and none whose time is broken, as
    one battery failure must not move what is known. `event_time` is the corrected time."""
    if body["historical"] or body["quarantine"] == CLOCK:
        return
    lag = (received_at - event_time).total_seconds() - (body["estimated_offset_s"] or 0.0)
    skew.lagged(lag, received_at)


def _shift(moment: datetime, seconds: float) -> datetime | None:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return None


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """The zone called `name`; the default one for a name that is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo(DEFAULT_ZONE)


def read_local(raw: str, assumed_zone: str) -> datetime | None:
    """Naive device time (`YYYY-MM-DD HH:MM:SS`, also with `/` or `T`) in a zone, as UTC. An offset in the text wins.
    None when it is not a time."""
    try:
        moment = datetime.fromisoformat(raw.strip().replace("/", "-"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone(assumed_zone))
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_epoch_ms(value: int) -> datetime | None:
    """Milliseconds since 1970 as UTC; None outside the calendar."""
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
