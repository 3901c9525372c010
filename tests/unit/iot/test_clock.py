"""Clock truth: errors found, backlogs not mistaken for them, impossible times quarantined."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot.clock import CLOCK, Estimate, Skew, judge, learn, read_epoch_ms, read_local

NOON = datetime(2026, 11, 20, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def lived(error_s: float, count: int = 30, seed: int = 1) -> Skew:
    """A gate whose clock is `error_s` off, after `count` live events with delays of up to three seconds."""
    skew, noise = Skew(), random.Random(seed)
    for i in range(count):
        device = (at(i * 10) + timedelta(seconds=error_s)).replace(microsecond=0)
        skew.observe(at(i * 10 + noise.random() * 3), device)
    return skew


@pytest.mark.parametrize("error_s", [0, 41, -41, 3 * 3600, -7000])
def test_the_error_is_found_within_the_clock_s_own_resolution(error_s: int) -> None:
    estimate = lived(error_s).estimate
    assert estimate is not None
    assert estimate.offset_s == pytest.approx(error_s, abs=1.1)
    judged = judge(at(1000) + timedelta(seconds=error_s), at(1001), True, estimate)
    assert judged.corrected is not None and judged.quarantine is None
    assert abs((judged.corrected - at(1000)).total_seconds()) <= 1.1


def test_a_backlog_labelled_live_does_not_move_the_estimate() -> None:
    skew = lived(0)
    before = skew.estimate
    for i in range(60):  # ten minutes of events, all arriving within half a minute after an outage
        skew.observe(at(1600 + i * 0.5), at(1000 + i * 10))
    assert before is not None and skew.estimate is not None
    assert skew.estimate.lag_s == pytest.approx(before.lag_s, abs=1.5)
    judged = judge(at(1100), at(1650), True, skew.estimate)
    assert judged.corrected is not None and abs((judged.corrected - at(1100)).total_seconds()) < 1.5


@pytest.mark.parametrize("error_s", [-5000, 5000])
def test_a_clock_that_was_set_is_noticed(error_s: int) -> None:
    skew = lived(0)
    for i in range(12):
        skew.observe(at(1000 + i * 20), at(1000 + i * 20 + error_s))
    assert skew.estimate is not None and skew.estimate.offset_s == pytest.approx(error_s, abs=1)


def test_one_wild_time_teaches_nothing() -> None:
    skew = lived(0)
    before = skew.estimate
    body = {"historical": False, "quarantine": CLOCK, "estimated_offset_s": -8e8}
    learn(skew, body, at(400), at(400))
    learn(skew, {**body, "historical": True, "quarantine": None}, at(-9999), at(400))
    assert skew.estimate is before


def test_learning_reads_the_device_time_back_out_of_a_body() -> None:
    skew = Skew()
    body = {"historical": False, "quarantine": None, "estimated_offset_s": 40.0}
    learn(skew, body, at(0), at(1))
    assert skew.estimate is not None and skew.estimate.lag_s == pytest.approx(-39)


@pytest.mark.parametrize(
    ("device", "live", "known"),
    [
        (datetime(2000, 1, 1, tzinfo=UTC), True, None),
        (datetime(2000, 1, 1, tzinfo=UTC), False, None),
        (at(90_000), True, None),
        (at(-90_000), True, None),
        (at(3_600), False, None),
        (at(3_600), False, Estimate(0.5, 1.0, 9)),
        (at(-500), False, Estimate(100_000.0, 1.0, 9)),
        (None, True, None),
        (None, False, None),
    ],
)
def test_what_cannot_be_right_is_quarantined(device: datetime | None, live: bool, known: Estimate | None) -> None:
    assert judge(device, NOON, live, known).quarantine == CLOCK


def test_history_may_be_old() -> None:
    judged = judge(at(-20 * 86_400), NOON, False, Estimate(2.0, 1.0, 9))
    assert judged.quarantine is None and judged.corrected == at(-20 * 86_400 + 2)
    assert judge(at(-100), NOON, False, None).uncertainty_s is None


def test_reading() -> None:
    assert read_local("2026-11-20 07:00:02", "Asia/Ho_Chi_Minh") == datetime(2026, 11, 20, 0, 0, 2, tzinfo=UTC)
    assert read_local("2026/11/20 07:00:02", "No/Such_Zone") == datetime(2026, 11, 20, 0, 0, 2, tzinfo=UTC)
    assert read_local("2026-11-20T07:00:02+08:00", "UTC") == datetime(2026, 11, 19, 23, 0, 2, tzinfo=UTC)
    assert read_local("0001-01-01 00:00:00", "Asia/Ho_Chi_Minh") is None
    assert read_epoch_ms(2**53) is None


MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(
    st.none() | MOMENTS,
    MOMENTS,
    st.booleans(),
    st.none() | st.builds(Estimate, st.floats(-1e12, 1e12), st.floats(1, 1e6), st.just(3)),
)
def test_judging_never_raises(device: datetime | None, received: datetime, live: bool, known: Estimate | None) -> None:
    judged = judge(device, received, live, known)
    assert judged.corrected is None or judged.corrected.tzinfo is not None


@given(st.text(max_size=40), st.text(max_size=20))
def test_reading_never_raises(raw: str, name: str) -> None:
    read_local(raw, name)


def test_a_warm_estimate_follows_at_once_what_is_less_late_and_soon_what_drifts() -> None:
    skew, at = Skew(), datetime(2026, 11, 20, tzinfo=UTC)

    def event(lag_s: float) -> float:
        nonlocal at
        at += timedelta(seconds=1)
        skew.observe(at, at - timedelta(seconds=lag_s))
        assert skew.estimate is not None
        return skew.estimate.lag_s

    for _ in range(64):
        event(5.0)
    assert event(3.0) == 3.0
    for _ in range(64 + 8):
        found = event(9.0)
    assert found == 9.0
