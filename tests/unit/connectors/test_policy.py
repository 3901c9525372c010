"""Backoff and calendars: pure, so held against their own definitions."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.policy.calendar import Calendar, CalendarSettings, is_holiday
from connectors.policy.retry import RetrySettings, delay

VN = ZoneInfo("Asia/Ho_Chi_Minh")
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31))  # noqa: DTZ001 (the strategy wants naive bounds)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=VN)


# ------------------------------------------------------------------------------------------------- retry


@given(st.integers(-3, 10_000), st.integers())
def test_a_delay_is_never_above_the_cap_nor_nothing(tries: int, seed: int) -> None:
    settings = RetrySettings(base_s=2, cap_s=900)
    assert 0 < delay(tries, settings, random.Random(seed)) <= 900


def test_jitter_is_full_and_the_ceiling_doubles() -> None:
    settings, rng = RetrySettings(base_s=2, cap_s=900), random.Random(1)
    for tries, ceiling in ((1, 2), (2, 4), (5, 32), (30, 900)):
        drawn = [delay(tries, settings, rng) for _ in range(2000)]
        assert max(drawn) <= ceiling and max(drawn) > ceiling * 0.95 and min(drawn) < max(ceiling * 0.05, 0.11)
        assert abs(sum(drawn) / len(drawn) - ceiling / 2) < ceiling * 0.05


@given(st.floats(0, 1e6), st.integers(1, 50), st.integers())
def test_the_counterpartys_wish_is_never_undercut(after: float, tries: int, seed: int) -> None:
    waited = delay(tries, RetrySettings(), random.Random(seed), after)
    assert after <= waited <= after + max(after, 1.0) * 0.2


# ---------------------------------------------------------------------------------------------- calendar


def test_an_empty_calendar_is_always_open() -> None:
    now = at("2026-02-17T03:00")
    assert Calendar(CalendarSettings()).open_at(now) and Calendar(CalendarSettings()).next_open(now) == now


OFFICE = CalendarSettings(
    days=("mon", "tue", "wed", "thu", "fri"),
    hours=("07:30-11:30", "13:30-17:00"),
    skip_holidays=True,
    open_dates=(date(2026, 8, 22),),
    closed_dates=(date(2026, 8, 31),),
)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-09-14T08:00", "2026-09-14T08:00"),
        ("2026-09-14T07:29", "2026-09-14T07:30"),
        ("2026-09-14T11:30", "2026-09-14T13:30"),
        ("2026-09-14T17:00", "2026-09-15T07:30"),
        ("2026-09-18T18:00", "2026-09-21T07:30"),
        ("2026-08-22T09:00", "2026-08-22T09:00"),  # a Saturday made up for
        ("2026-08-31T09:00", "2026-09-03T07:30"),  # closed, then National Day
    ],
)
def test_office_hours(now: str, expected: str) -> None:
    calendar = Calendar(OFFICE)
    assert calendar.next_open(at(now)) == at(expected)
    assert calendar.open_at(at(now)) == (now == expected)


def test_tet_is_known() -> None:
    assert is_holiday(date(2026, 2, 17)) and is_holiday(date(2027, 2, 6)) and not is_holiday(date(2026, 3, 3))


def test_windows_over_midnight_and_maintenance() -> None:
    night = CalendarSettings.model_validate(
        {
            "days": ["fri"],
            "hours": ["22:00-05:00"],
            "maintenance": [{"starts": "2026-09-18T21:00:00+07:00", "ends": "2026-09-18T23:30:00+07:00"}],
        }
    )
    calendar = Calendar(night)
    assert calendar.open_at(at("2026-09-19T04:59")) and not calendar.open_at(at("2026-09-19T05:00"))
    assert not calendar.open_at(at("2026-09-18T23:00"))
    assert calendar.next_open(at("2026-09-17T00:00")) == at("2026-09-18T23:30")
    assert calendar.open_at(at("2026-09-18T23:45").astimezone(UTC))


def test_a_calendar_that_never_opens_says_so() -> None:
    closed = CalendarSettings.model_validate(
        {"maintenance": [{"starts": "2026-01-01T00:00:00+07:00", "ends": "2030-01-01T00:00:00+07:00"}]}
    )
    assert Calendar(closed).next_open(at("2026-05-01T00:00")) is None


@given(MOMENTS)
def test_the_next_open_moment_is_open_and_the_first(moment: datetime) -> None:
    calendar, now = Calendar(OFFICE), moment.replace(tzinfo=VN)
    following = calendar.next_open(now)
    assert following is not None and following >= now and calendar.open_at(following)
    if following > now:
        assert not calendar.open_at(now) and not calendar.open_at(following - timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        ("2026-08-03T06:00", "2026-08-03T18:00", 7.5),  # a Monday, the pause at noon left out
        ("2026-08-03T08:00", "2026-08-03T09:15", 1.25),
        ("2026-08-01T00:00", "2026-08-03T07:30", 0.0),  # a week-end
        ("2026-08-03T16:00", "2026-08-04T08:30", 2.0),
    ],
)
def test_open_time_is_counted_by_the_calendar_alone(since: str, until: str, hours: float) -> None:
    assert Calendar(OFFICE).open_s(at(since), at(until)) == hours * 3600


def test_maintenance_is_not_open_time() -> None:
    shut = {"starts": at("2026-08-03T08:00"), "ends": at("2026-08-03T10:00")}
    always = Calendar(CalendarSettings.model_validate({"maintenance": [shut]}))
    assert always.open_s(at("2026-08-03T07:00"), at("2026-08-03T11:00")) == 2 * 3600
