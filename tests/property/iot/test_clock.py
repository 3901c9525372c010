"""A gate's clock, whatever it does: jitter, bursts of history, being set, losing its battery, a zone without summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from iot.clock import CLOCK, Skew, judge, learn, read_local

AT = datetime(2026, 11, 20, 0, tzinfo=UTC)
RESET = datetime(2000, 1, 1, tzinfo=UTC)
delays = st.lists(st.floats(0, 8), min_size=20, max_size=60)
errors = st.integers(-7000, 7000)


def passages(skew: Skew, error_s: float, delays: list[float], start: datetime = AT) -> datetime:
    """Play live events ten seconds apart; gives when the last was received."""
    for n, delay in enumerate(delays):
        true = start + timedelta(seconds=10 * n)
        shown = (true + timedelta(seconds=error_s)).replace(microsecond=0)
        skew.observe(true + timedelta(seconds=delay), shown)
    return start + timedelta(seconds=10 * len(delays))


@given(errors, delays)
def test_jitter_moves_the_estimate_by_the_smallest_delay_at_most(error_s: int, delays: list[float]) -> None:
    skew = Skew()
    passages(skew, error_s, delays)
    assert skew.estimate is not None
    # The window holds all of them: what is least late tells the most.
    assert -0.001 <= (error_s - skew.estimate.offset_s) <= min(delays) + 1.001


@given(errors, delays, st.integers(1, 300), st.integers(60, 7200))
def test_a_burst_of_history_does_not_touch_it(error_s: int, delays: list[float], burst: int, old_s: int) -> None:
    skew = Skew()
    now = passages(skew, error_s, delays)
    before = skew.estimate
    for n in range(burst):
        happened = now - timedelta(seconds=old_s + n)
        body = {"historical": True, "quarantine": None, "estimated_offset_s": float(error_s)}
        learn(skew, body, happened, now)
    assert skew.estimate is before


@given(errors, errors, delays)
def test_a_clock_that_is_set_is_followed(error_s: int, then_s: int, delays: list[float]) -> None:
    skew = Skew()
    now = passages(skew, error_s, delays)
    passages(skew, then_s, delays, now + timedelta(minutes=5))
    assert skew.estimate is not None
    if abs(error_s - then_s) > 300:
        # The five strange ones that told it are as late as they were.
        assert abs(skew.estimate.offset_s - then_s) <= max(delays) + 1.001


@given(errors, delays, st.integers(0, 86_400))
def test_a_lost_battery_is_set_aside_and_teaches_nothing(error_s: int, delays: list[float], after_s: int) -> None:
    skew = Skew()
    now = passages(skew, error_s, delays)
    before = skew.estimate
    received = now + timedelta(seconds=after_s)
    judged = judge(RESET + timedelta(seconds=after_s), received, True, before)
    assert judged.quarantine == CLOCK
    assert judged.corrected == received, "a live one happened when it came, or a moment before"
    body = {"historical": False, "quarantine": CLOCK, "estimated_offset_s": judged.offset_s}
    learn(skew, body, received, received)
    assert skew.estimate is before


@given(st.datetimes(timezones=st.none()))
def test_the_zone_has_no_summer_time(local: datetime) -> None:
    local = local.replace(year=2020 + local.year % 40, day=min(local.day, 28))
    read = read_local(local.strftime("%Y-%m-%d %H:%M:%S"), "Asia/Ho_Chi_Minh")
    assert read == (local.replace(microsecond=0) - timedelta(hours=7)).replace(tzinfo=UTC)
