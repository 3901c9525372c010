"""The forecast of a backlog: measured, by quota, over midnight, or honestly none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.console.forecast import Forecast, forecast
from hub.console.times import ZONE

NOON = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def ask(**given: Any) -> Forecast | None:
    plain: dict[str, Any] = {
        "backlog": 600, "delivered": 0, "over_s": 300.0, "oldest_s": 10.0, "stopped": False, "per_second": None, "per_day": None,
        "day_used": 0, "batch_max": 1,
    }  # fmt: skip
    return forecast(NOON, **(plain | given))


def test_nothing_open_is_nothing_to_say() -> None:
    assert ask(backlog=0) is None


def test_the_measured_rate_clears_it() -> None:
    found = ask(delivered=300, oldest_s=9000.0)
    assert found is not None and (found.word, found.rate, found.per_minute) == ("clears", 1.0, 60.0)
    assert found.clears_at == NOON + timedelta(minutes=10)


def test_with_nothing_delivered_the_quota_speaks_only_for_what_is_young() -> None:
    found = ask(per_second=2.0)
    assert found is not None and (found.word, found.rate, found.clears_at) == (
        "clears",
        0.0,
        NOON + timedelta(minutes=5),
    )
    assert [getattr(ask(**more), "word", None) for more in ({}, {"per_second": 2.0, "oldest_s": 301.0})] == [
        "unmeasured",
        "stuck",
    ]


def test_a_stopped_connector_is_not_moving_whatever_it_did_before() -> None:
    found = ask(delivered=300, stopped=True)
    assert found is not None and (found.word, found.clears_at) == ("stuck", None)


def test_the_days_quota_carries_the_rest_over_midnight_in_vietnam() -> None:
    found = ask(delivered=300, per_day=1000, day_used=900)
    assert found is not None and found.clears_at is not None
    midnight = datetime(2026, 11, 23, tzinfo=ZONE)
    assert found.clears_at == midnight + timedelta(seconds=500)


def test_a_quota_of_calls_carries_many_deliveries_each() -> None:
    found = ask(delivered=300, per_day=1000, day_used=990, batch_max=60)
    assert found is not None and found.clears_at == NOON + timedelta(minutes=10)


def test_what_takes_weeks_gets_no_hour() -> None:
    found = ask(delivered=300, backlog=10_000, per_day=10, day_used=10)
    assert found is not None and (found.word, found.clears_at) == ("later", None)


@given(
    backlog=st.integers(1, 10**7),
    delivered=st.integers(0, 10**5),
    over_s=st.floats(0, 300),
    per_second=st.none() | st.floats(0.01, 1000),
    per_day=st.none() | st.integers(1, 10**6),
    day_used=st.integers(0, 10**6),
    batch_max=st.integers(1, 1000),
)
def test_never_earlier_than_the_rate_and_the_quota_allow(**given: Any) -> None:
    found = ask(**given)
    assert found is not None
    if found.clears_at is not None:
        seconds = (found.clears_at - NOON).total_seconds()
        assert seconds >= found.backlog / found.expected - 1e-3
        if given["per_day"] is not None and seconds < 3600:
            assert found.backlog <= max(0, given["per_day"] - given["day_used"]) * given["batch_max"]
