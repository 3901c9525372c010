"""Which punch travels, and what a wrong clock's time is worth: whatever comes in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.presence import AGREE_S, Offset, Punch, Seen, Spot, corrected, infer
from tests.punches import travelling

AT = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
RESET = datetime(2000, 1, 1, tzinfo=UTC)
WINDOW = timedelta(seconds=60)


def run(order: list[Punch]) -> tuple[set[int], dict[int, int]]:
    """Play punches as the ledger does: each is placed among those read from its table, from which it is taken first; what
    is displaced is judged again in the same way."""
    leaders: dict[int, int] = {}
    by_number = {p.record: p for p in order}
    for punch in order:
        todo = [punch.record]
        while todo:
            number = todo.pop()
            leaders.pop(number, None)
            spot = Spot(WINDOW)
            for other, leader in leaders.items():
                spot.know(by_number[other], leader)
            leaders[number], displaced = spot.put(by_number[number])
            if displaced is not None:
                todo.append(displaced)
    return {n for n, leader in leaders.items() if leader == n}, leaders


@given(st.lists(st.integers(0, 600), min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_what_travels_does_not_hang_on_the_order_of_arrival(seconds: list[int], random: object) -> None:
    punches = [Punch(AT + timedelta(seconds=s), n + 1) for n, s in enumerate(seconds)]
    expected = travelling(punches, WINDOW)
    shuffled = list(punches)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    travels, leaders = run(shuffled)
    assert travels == expected
    for number in leaders:
        # Whatever was merged leads, step by step, to one that travels.
        seen = set()
        while leaders[number] != number:
            assert number not in seen
            seen.add(number)
            number = leaders[number]
        assert number in expected


@given(
    st.integers(-3_000_000, 900_000_000),
    st.lists(st.tuples(st.integers(1, 400), st.floats(0, 20)), min_size=3, max_size=40),
)
def test_a_wrong_clock_is_told_from_live_events_despite_jitter(error_s: int, passages: list[tuple[int, float]]) -> None:
    seen, now = [], AT
    for gap, delay in passages:
        now += timedelta(seconds=gap)
        seen.append(Seen(now - timedelta(seconds=error_s), now + timedelta(seconds=delay), True))
    offsets = infer(seen)
    assert len(offsets) == 1
    least = min(delay for _, delay in passages)
    assert abs(offsets[0].lag_s - error_s - least) < 1e-3, "the smallest delay is the nearest to the truth"
    for one in seen:
        told = corrected(one, offsets)
        assert told is not None
        truth = one.device_time + timedelta(seconds=error_s)
        assert abs((told[0] - truth).total_seconds()) <= least + 1e-3


@given(st.integers(0, 3600), st.integers(1, 50))
def test_a_burst_of_history_after_a_reset_is_told_by_the_live_ones(recorded_s: int, burst: int) -> None:
    # The clock began at 2000-01-01 at AT; history was recorded from then on and came much later, all at once.
    came = AT + timedelta(seconds=recorded_s + 60 * burst + 100)
    history = [Seen(RESET + timedelta(seconds=recorded_s + 60 * n), came, False) for n in range(burst)]
    live = [Seen(RESET + (came - AT) + timedelta(seconds=n), came + timedelta(seconds=n), True) for n in range(3)]
    assert infer(history) == []
    offsets = infer([*history, *live])
    assert len(offsets) == 1
    for n, one in enumerate(history):
        told = corrected(one, offsets)
        assert told is not None
        assert told[0] == AT + timedelta(seconds=recorded_s + 60 * n)


def test_two_resets_that_both_could_be_meant_are_left_to_a_person() -> None:
    def live(start: datetime) -> list[Seen]:
        return [Seen(RESET + timedelta(minutes=n), start + timedelta(minutes=n), True) for n in range(4)]

    offsets = infer([*live(AT), *live(AT + timedelta(hours=5))])
    assert len(offsets) == 2
    stored = Seen(RESET + timedelta(minutes=1), AT + timedelta(hours=6), False)
    assert corrected(stored, offsets) is None
    by_hand = Offset(offsets[1].lag_s, 60.0, RESET, RESET + timedelta(days=1), by_hand=True)
    told = corrected(stored, [*offsets, by_hand])
    assert told is not None
    assert told[0] == AT + timedelta(hours=5, minutes=1)


def test_few_or_disagreeing_live_events_say_nothing() -> None:
    seen = [Seen(RESET, AT, True), Seen(RESET, AT + timedelta(seconds=AGREE_S + 1), True), Seen(RESET, AT, False)]
    assert infer(seen) == []
    assert corrected(seen[0], []) is None


@given(st.datetimes(), st.datetimes(), st.booleans(), st.floats(-1e12, 1e12))
def test_nothing_a_clock_shows_breaks_it(shown: datetime, received: datetime, live: bool, lag: float) -> None:
    one = Seen(shown.replace(tzinfo=UTC), received.replace(tzinfo=UTC), live)
    infer([one] * 3)
    corrected(one, [Offset(lag, 1.0, RESET, AT)])
