"""A span by a gate's own clock: right, wrong, or lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.worker.list_entries import by_its_clock, turn_of
from iot.clock import Estimate
from iot.listing import Span

SPAN = Span(datetime(2026, 11, 19, 23, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY_S = 86_400.0
BEGAN = datetime(2000, 1, 1, tzinfo=UTC)
LOST_S = (BEGAN - SPAN.start).total_seconds()


@pytest.mark.parametrize(
    ("offsets", "start", "end"),
    [
        ([0.0], SPAN.start, SPAN.end),
        ([7200.0], SPAN.start, SPAN.end + 2 * HOUR),
        ([-7200.0], SPAN.start - 2 * HOUR, SPAN.end),
        ([0.0, -7200.0], SPAN.start - 2 * HOUR, SPAN.end),
        ([3600.0, -7200.0], SPAN.start - 2 * HOUR, SPAN.end + HOUR),
    ],
)
def test_a_wrong_clock_widens_a_span(offsets: list[float], start: datetime, end: datetime) -> None:
    assert by_its_clock(SPAN, *offsets) == [(Span(start, end), None)]
    turn = turn_of(SPAN, offsets[0], 0, *offsets[1:])
    assert (turn.span, turn.lost, turn.more) == (Span(start, end), False, False)
    assert turn_of(SPAN, offsets[0], 5, *offsets[1:]) == turn, "a place of a turn there is no more"
    known = {"G1": {"clock": Estimate(3.0, 1, 9)}}
    assert turn.entries(known, "G1") is known


def test_a_lost_clock_has_a_turn_of_its_own_and_the_years_between_are_not_asked_for() -> None:
    first, second = turn_of(SPAN, LOST_S, 0), turn_of(SPAN, LOST_S, 1)
    assert (first.span, first.more, second.more) == (SPAN, True, False)
    assert second.span == Span(BEGAN - MINUTE, BEGAN + HOUR + MINUTE)
    known = {"G1": {"clock": Estimate(-LOST_S, 60, 0)}, "G2": {"clock": Estimate(3.0, 1, 9)}}
    assert second.entries(known, "G1") == known
    assert first.entries(known, "G1") == {"G1": {"clock": None}, "G2": known["G2"]}, (
        "what stands in the span itself was told by a clock that was right"
    )


def test_a_clock_that_was_set_right_is_asked_once_more_for_what_it_told_while_it_was_lost() -> None:
    first, second = turn_of(SPAN, 4.0, 0, LOST_S), turn_of(SPAN, 4.0, 1, LOST_S)
    assert (first.span, first.more) == (Span(SPAN.start, SPAN.end + timedelta(seconds=4)), True)
    assert second.span == Span(BEGAN - MINUTE, BEGAN + HOUR + MINUTE) and not second.more
    known = {"G1": {"clock": Estimate(-4.0, 60, 0)}}
    assert first.entries(known, "G1") == known
    assert second.entries(known, "G1") == {"G1": {"clock": Estimate(-LOST_S, 60, 0)}}
    again = LOST_S + 5 * DAY_S  # lost a second time before it was asked
    assert [turn_of(SPAN, again, n, LOST_S).offset_s for n in range(3)] == [None, again, LOST_S]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=2))
def test_whatever_a_gate_says_its_clock_tells_the_span_itself_is_asked_for(offsets: list[float]) -> None:
    spans = [span for span, _ in by_its_clock(SPAN, *offsets)]
    assert 1 <= len(spans) <= 3 and spans[0].start <= SPAN.start and spans[0].end >= SPAN.end
    assert sum((s.end - s.start).total_seconds() for s in spans) <= 3 * 3600 + 2 * DAY_S + 240
    assert all(s.start.year >= 1970 and s.end.year <= 2100 for s in spans)
    assert turn_of(SPAN, offsets[0], 0, *offsets[1:]).more == (len(spans) > 1)
