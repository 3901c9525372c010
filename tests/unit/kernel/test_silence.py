"""Silence is judged against habit, timetable and holidays. All times are given; nothing waits."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.silence import SLOTS, ZONE, expected, is_silent

MONDAY = date(2026, 11, 23)
USUAL = [0.0] * SLOTS
USUAL[13] = 120.0  # 06:30 to 07:00
USUAL[14] = 60.0
USUAL[33] = 100.0  # 16:30 to 17:00
HABIT = dict.fromkeys(range(1, 6), USUAL)
JUDGE = {"threshold": 8.0, "patience_s": 1200.0}


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), ZONE)


def always(day: date) -> bool:
    return True


def test_a_gate_that_misses_the_morning_rush_is_silent_within_minutes() -> None:
    last = at(MONDAY - timedelta(days=3), 17)
    assert not is_silent(HABIT, last, at(MONDAY, 6, 31), always, None, **JUDGE), "four passages could be chance"
    assert is_silent(HABIT, last, at(MONDAY, 6, 35), always, None, **JUDGE)


def test_quiet_hours_are_quiet() -> None:
    assert not is_silent(HABIT, at(MONDAY, 7, 40), at(MONDAY, 16, 29), always, None, **JUDGE)
    assert is_silent(HABIT, at(MONDAY, 7, 40), at(MONDAY, 16, 40), always, None, **JUDGE)


def test_a_pause_of_minutes_in_a_rush_is_not_silence() -> None:
    assert not is_silent(HABIT, at(MONDAY, 6, 35), at(MONDAY, 6, 50), always, None, **JUDGE)


def test_holidays_weekends_and_unknown_habits_are_never_silence() -> None:
    week = MONDAY + timedelta(days=6)
    assert not is_silent(HABIT, at(MONDAY, 6), at(week, 23), lambda day: False, None, **JUDGE)
    saturday = MONDAY + timedelta(days=5)
    assert expected(HABIT, at(saturday, 0), at(saturday, 23), always) == 0
    assert not is_silent({}, at(MONDAY, 6), at(week, 23), always, None, **JUDGE)


def test_silence_lasts_over_the_night_and_a_holiday_until_something_is_heard() -> None:
    last = at(MONDAY, 6)
    closed = MONDAY + timedelta(days=1)
    for now in (at(MONDAY, 20), at(closed, 9), at(closed + timedelta(days=1), 3)):
        assert is_silent(HABIT, last, now, lambda day: day != closed, None, **JUDGE)


def test_the_timetable_says_when_noise_is_due() -> None:
    afternoon = {day: [(time(13), time(16, 30))] for day in range(1, 6)}
    # The habit was learnt before the school moved to afternoons: its mornings no longer count.
    assert expected(HABIT, at(MONDAY, 0), at(MONDAY, 12), always, afternoon) == 0
    assert expected(HABIT, at(MONDAY, 0), at(MONDAY, 23), always, afternoon) == 100.0
    assert expected(HABIT, at(MONDAY, 0), at(MONDAY, 23), always, {2: [(time(7), time(11))]}) == 0


@given(
    st.lists(st.floats(0, 500), min_size=SLOTS, max_size=SLOTS),
    st.integers(0, 8 * 24 * 60),
    st.integers(0, 8 * 24 * 60),
    st.integers(0, 8 * 24 * 60),
)
def test_expectation_adds_up_and_never_falls(usual: list[float], a: int, b: int, c: int) -> None:
    habit = dict.fromkeys(range(1, 8), usual)
    first, middle, last = (at(MONDAY, 0) + timedelta(minutes=m) for m in sorted((a, b, c)))
    left, right = expected(habit, first, middle, always), expected(habit, middle, last, always)
    whole = expected(habit, first, last, always)
    assert abs(left + right - whole) <= 1e-6 * max(1.0, whole)
    assert left >= 0 and right >= 0
    sessions = {day: [(time(7), time(11)), (time(10), time(17))] for day in range(1, 8)}
    assert expected(habit, first, last, always, sessions) <= whole + 1e-6
