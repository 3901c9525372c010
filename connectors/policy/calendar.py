"""When a counterparty is open: working windows, Vietnamese holidays, announced maintenance.

One concern: answering whether a moment is open and when the next open one comes. It must never read a clock. Working
days are those of Asia/Ho_Chi_Minh; an empty calendar is always open.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, field_validator, model_validator

from connectors.declare import Declared, setting, wrong
from hub.kernel.ports import Text

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(([01]\d|2[0-3]):([0-5]\d)|24:00)")
_HORIZON_DAYS = 400
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Maintenance(Declared):
    """One announced interruption."""

    ABOUT = Text("Bảo trì", "Maintenance")
    starts: AwareDatetime = setting("Bắt đầu", "Starts", example="2026-10-01T22:00:00+07:00")
    ends: AwareDatetime = setting("Kết thúc", "Ends", example="2026-10-02T02:00:00+07:00")

    @model_validator(mode="after")
    def _order(self) -> Maintenance:
        if self.ends <= self.starts:
            raise wrong("order", "phải kết thúc sau khi bắt đầu", "must end after it starts")
        return self


class CalendarSettings(Declared):
    """When calls may be made. Nothing set: always."""

    ABOUT = Text("Lịch làm việc", "Calendar")
    days: tuple[Day, ...] = setting(
        "Ngày trong tuần",
        "Days of the week",
        default=(),
        example=["mon", "tue", "wed", "thu", "fri"],
        help=Text("Trống: mọi ngày", "Empty: every day"),
    )
    hours: tuple[str, ...] = setting(
        "Khung giờ",
        "Hours",
        default=(),
        example=["07:30-11:30", "13:30-17:00"],
        help=Text(
            "Giờ Việt Nam; khung qua nửa đêm thuộc ngày bắt đầu; trống: cả ngày",
            "Vietnam time; a window over midnight belongs to the day it starts; empty: all day",
        ),
    )
    skip_holidays: bool = setting("Nghỉ ngày lễ", "Closed on public holidays", default=False)
    closed_dates: tuple[date, ...] = setting("Ngày nghỉ thêm", "More closed dates", default=(), example=["2026-08-31"])
    open_dates: tuple[date, ...] = setting(
        "Ngày làm bù",
        "Make-up working days",
        default=(),
        example=["2026-08-22"],
        help=Text("Mở dù là cuối tuần hay ngày lễ", "Open though a weekend or holiday"),
    )
    maintenance: tuple[Maintenance, ...] = setting(
        "Đợt bảo trì",
        "Maintenance windows",
        default=(),
        example=[{"starts": "2026-10-01T22:00:00+07:00", "ends": "2026-10-02T02:00:00+07:00"}],
        max_length=200,
    )

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for window in value:
            if not _WINDOW.fullmatch(window) or window[:5] == window[6:]:
                raise wrong("window", "phải có dạng 07:30-17:00", "must look like 07:30-17:00")
        return value


class Calendar:
    """The open times of one connector. All moments are timezone-aware; answers are in Vietnam time."""

    def __init__(self, settings: CalendarSettings) -> None:
        self._s = settings
        self._days = frozenset(_DAYS.index(d) for d in settings.days) or frozenset(range(7))
        self._hours = tuple(_span(w) for w in settings.hours) or ((timedelta(0), timedelta(days=1)),)
        self._maintenance = sorted((m.starts, m.ends) for m in settings.maintenance)
        self._always = not (settings.days or settings.hours or settings.skip_holidays or settings.closed_dates)

    def open_at(self, now: datetime) -> bool:
        """Whether a call may begin now."""
        if any(a <= now < b for a, b in self._maintenance):
            return False
        if self._always:
            return True
        local = now.astimezone(ZONE)
        return any(a <= local < b for d in (-1, 0) for a, b in self._windows(local.date() + timedelta(days=d)))

    def next_open(self, now: datetime) -> datetime | None:
        """The first open moment from now on (now itself when open); None when none comes within 400 days."""
        moment = now.astimezone(ZONE)
        horizon = moment + timedelta(days=_HORIZON_DAYS)
        # Each round moves past one maintenance or closed stretch.
        while moment < horizon:
            blocked = [b for a, b in self._maintenance if a <= moment < b]
            if blocked:
                moment = max(blocked).astimezone(ZONE)
            elif self.open_at(moment):
                return moment
            else:
                following = self._next_start(moment, horizon)
                if following is None:
                    return None
                moment = following
        return None

    def open_s(self, since: datetime, until: datetime) -> float:
        """Open seconds between two moments."""
        first, last = since.astimezone(ZONE).date() - timedelta(days=1), until.astimezone(ZONE).date()
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        edges = {e for span in self._maintenance for e in span} | {
            e for d in days if not self._always for w in self._windows(d) for e in w
        }
        # Between two edges nothing changes.
        at = sorted({since, until} | {e for e in edges if since < e < until})
        return sum((b - a).total_seconds() for a, b in pairwise(at) if self.open_at(a))

    def _next_start(self, moment: datetime, horizon: datetime) -> datetime | None:
        day = moment.date()
        while day <= horizon.date():
            starts = [a for a, _ in self._windows(day) if a > moment]
            if starts:
                return min(starts)
            day += timedelta(days=1)
        return None

    def _windows(self, day: date) -> list[tuple[datetime, datetime]]:
        if not self._working(day):
            return []
        midnight = datetime.combine(day, time(), ZONE)
        return [(midnight + a, midnight + b) for a, b in self._hours]

    def _working(self, day: date) -> bool:
        if day in self._s.open_dates:
            return True
        if day.weekday() not in self._days or day in self._s.closed_dates:
            return False
        return not (self._s.skip_holidays and is_holiday(day))


def is_holiday(day: date) -> bool:
    """Whether a date is a public holiday in Vietnam, Tết by the lunar calendar included."""
    return day in _holidays(day.year)


@lru_cache(maxsize=16)
def _holidays(year: int) -> frozenset[date]:
    import holidays  # only for calendars that keep them: most processes never ask

    return frozenset(holidays.country_holidays("VN", years=year))


def _span(window: str) -> tuple[timedelta, timedelta]:
    a, b = (timedelta(hours=int(p[:2]), minutes=int(p[3:])) for p in window.split("-"))
    return a, b if b > a else b + timedelta(days=1)
