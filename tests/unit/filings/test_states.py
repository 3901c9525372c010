"""The ten states and the working time: pure, drawn, and no stricter than the portal."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import manifest as manifests
from hub.kernel import filings
from hub.kernel.filings import ZONE, NotAllowed, WorkCalendar, move, outlook

STATES = sorted(filings.table().states)
CALENDAR = WorkCalendar()
HOUR = 3600.0


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def test_there_are_ten_states_each_with_a_name() -> None:
    assert sorted(map(int, STATES)) == list(range(1, 11))
    assert all(filings.titles()[s].vi and filings.titles()[s].en for s in STATES)
    assert filings.table().assumed and len(filings.table().why) > 40


def test_what_the_hub_lets_through_the_portal_takes() -> None:
    """Else a sender would be told yes and the delivery parked later."""
    portal = manifests.load("public_service").profile()["transitions"]
    for code, state in filings.table().states.items():
        assert set(state.next) <= set(portal[code]), code


@given(st.sampled_from(STATES), st.sampled_from(STATES), st.integers(-5, 5), st.booleans())
def test_a_move_is_allowed_stays_is_history_or_is_refused_with_a_reason(
    now: str, to: str, late: int, step: bool
) -> None:
    since = at("2026-11-23T08:00")
    found = move(now, since, to, since + timedelta(hours=late), step=step)
    if to == now:
        assert found == "stays"
    elif step and late < 0:
        assert found == "late"
    elif to in filings.table().states[now].next:
        assert found == "moves"
    else:
        assert isinstance(found, NotAllowed)
        assert found.code == ("state_outdated" if late < 0 else "state_not_allowed")
        assert now in found.text.vi and to in found.text.en
    assert move(None, None, to, since, step=step) == "begins"


def test_from_every_state_the_end_can_be_reached() -> None:
    states = filings.table().states
    ends = {c for c, s in states.items() if not s.next}
    assert {"3", "7", "10"} <= ends
    for code in STATES:
        seen, todo = set(), [code]
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += states[one].next
        assert seen & ends, code


@pytest.mark.parametrize(
    ("day", "works"),
    [
        ("2026-02-13", True), ("2026-02-16", False), ("2026-02-20", False), ("2026-02-23", True),  # Tết
        ("2026-04-27", False),  # for Giỗ Tổ on a Sunday
        ("2026-08-22", True), ("2026-08-31", False),  # a Saturday worked in exchange for a Monday
        ("2026-11-22", False), ("2026-11-23", True), ("2026-09-02", False),
    ],
)  # fmt: skip
def test_working_days(day: str, works: bool) -> None:
    assert CALENDAR.works(date.fromisoformat(day)) is works


def test_settings_come_before_the_library() -> None:
    own = WorkCalendar(days_off=[date(2026, 11, 23)], working_days=[date(2026, 11, 22), date(2026, 2, 16)])
    assert not own.works(date(2026, 11, 23))
    assert own.works(date(2026, 11, 22)) and own.works(date(2026, 2, 16))
    assert own.next_working(date(2026, 11, 23)) == date(2026, 11, 25)  # 24 November is a holiday


def test_wrong_hours_are_refused() -> None:
    for hours in ([], [(time(9), time(8))], [(time(8), time(12)), (time(11), time(17))]):
        with pytest.raises(ValueError):
            WorkCalendar(hours)


def test_time_over_tet_is_not_working_time() -> None:
    start, end = at("2026-02-13T16:00"), at("2026-02-23T08:00")
    assert CALENDAR.working_s(start, end) == 1.5 * HOUR
    assert CALENDAR.working_s(end, start) == -1.5 * HOUR
    assert CALENDAR.after(at("2026-02-13T09:00"), 2) == at("2026-02-24T17:00")
    assert CALENDAR.after(at("2026-11-20T09:00"), 0) == at("2026-11-20T17:00")


@pytest.mark.parametrize(
    ("due", "limit"),
    [
        ("2026-11-23T00:00", "2026-11-23T17:00"),  # a date alone
        ("2026-11-23T23:59", "2026-11-23T17:00"),  # later than closing time
        ("2026-11-23T10:00", "2026-11-23T10:00"),
        ("2026-11-22T10:00", "2026-11-23T17:00"),  # a Sunday
        ("2026-02-18T10:00", "2026-02-23T17:00"),  # Tết
    ],
)
def test_the_limit_of_a_date_promised(due: str, limit: str) -> None:
    assert CALENDAR.limit(at(due)) == at(limit)


def test_a_date_in_the_year_9999_costs_nothing() -> None:
    assert CALENDAR.working_s(at("2026-11-23T08:00"), datetime(9999, 12, 31, tzinfo=ZONE)) > 0


def test_the_moment_beyond_some_working_time_lies_behind_all_holidays() -> None:
    assert CALENDAR.beyond(at("2026-02-13T10:00"), 5 * HOUR) == at("2026-02-23T07:30")
    assert CALENDAR.beyond(at("2026-02-13T10:00"), 8 * HOUR) == at("2026-02-23T10:30")
    assert CALENDAR.beyond(at("2026-02-18T10:00"), 0) == at("2026-02-23T07:30")
    never = WorkCalendar(days_off=[date(2026, 11, 1) + timedelta(days=n) for n in range(4000)])
    assert never.beyond(at("2026-11-23T08:00"), 1) > at("2036-01-01T00:00")


@given(st.integers(0, 2 * 365 * 86_400), st.integers(0, 10**6))
def test_beyond_a_moment_is_more_working_time_and_before_it_is_not(start: int, seconds: int) -> None:
    one = at("2026-01-01T00:00") + timedelta(seconds=start)
    moment = CALENDAR.beyond(one, seconds)
    assert CALENDAR.working_s(one, moment) == pytest.approx(seconds)
    assert CALENDAR.working_s(one, moment + timedelta(seconds=1)) == pytest.approx(seconds + 1)


@given(st.integers(0, 2 * 365 * 86_400), st.integers(0, 10**6), st.integers(0, 10**6))
def test_working_time_adds_up(start: int, a: int, b: int) -> None:
    one = at("2026-01-01T00:00") + timedelta(seconds=start)
    two, three = one + timedelta(seconds=a), one + timedelta(seconds=a + b)
    assert CALENDAR.working_s(one, two) + CALENDAR.working_s(two, three) == pytest.approx(
        CALENDAR.working_s(one, three)
    )
    assert 0 <= CALENDAR.working_s(one, two) <= a


@pytest.mark.parametrize(
    ("state", "now", "how", "left"),
    [
        ("4", "2026-11-20T16:00", "fine", 8.5),
        ("4", "2026-11-23T14:00", "today", 3.0),
        ("4", "2026-11-23T17:00", "overdue", 0.0),
        ("4", "2026-11-25T09:00", "overdue", -1.5),
        ("9", "2026-11-25T09:00", "ended", None),
        ("5", "2026-11-25T09:00", "stopped", 14.5),
    ],
)
def test_outlook(state: str, now: str, how: str, left: float | None) -> None:
    since, due = at("2026-11-20T08:00"), at("2026-11-23T17:00")
    found = outlook(state, since, due, at(now), CALENDAR, 4 * HOUR)
    assert found == (how, None if left is None else left * HOUR)
    assert outlook("4", since, None, at(now), CALENDAR, 4 * HOUR) == ("none", None)


def test_soon_is_within_the_warning_time_on_another_day() -> None:
    since, due = at("2026-11-20T08:00"), at("2026-11-23T08:30")
    assert outlook("4", since, due, at("2026-11-20T16:30"), CALENDAR, 4 * HOUR)[0] == "soon"


def test_the_diagram_names_every_move() -> None:
    drawn = filings.diagram()
    assert all(f"s{c} --> s{n}" in drawn for c, s in filings.table().states.items() for n in s.next)


def test_a_wrong_table_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    text = (filings.HERE / "filing-states.yaml").read_text("utf-8").replace('next: ["6", "10"]', 'next: ["11"]')
    (tmp_path / "filing-states.yaml").write_text(text)
    monkeypatch.setattr(filings, "HERE", tmp_path)
    filings.table.cache_clear()
    try:
        with pytest.raises(ValueError, match="11"):
            filings.table()
    finally:
        filings.table.cache_clear()
