"""What the ledger keeps of a clock: for what was stored before, with its age said; never for what happens now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.worker.bridge_clocks import DRIFT, UNCERTAIN_S, kept
from iot.clock import CLOCK, PLAUSIBLE_S, Estimate, judge
from iot.web import is_prompt

AT = datetime(2026, 11, 20, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("entry", "lag_s", "uncertainty_s"),
    [
        ({"offset_s": 600.0, "offset_age_s": 0.0}, -600.0, UNCERTAIN_S),
        ({"offset_s": -3.5, "offset_age_s": 864_000.0}, 3.5, UNCERTAIN_S + DRIFT * 864_000),
        ({"offset_s": 0.0, "offset_age_s": None}, 0.0, UNCERTAIN_S),
        ({"offset_s": 1.0, "offset_age_s": -5.0}, -1.0, UNCERTAIN_S),
    ],
)
def test_its_age_is_part_of_how_sure_it_is(entry: dict[str, Any], lag_s: float, uncertainty_s: float) -> None:
    found = kept(entry)
    assert found is not None and found.kept and (found.lag_s, found.uncertainty_s) == (lag_s, uncertainty_s)


@pytest.mark.parametrize("entry", [{}, {"offset_s": None, "offset_age_s": None}, {"offset_s": PLAUSIBLE_S + 1}])
def test_where_there_is_none_or_the_clock_was_lost_nothing_is_taken_for_known(entry: dict[str, Any]) -> None:
    assert kept(entry) is None


def test_history_is_judged_by_it_and_a_live_event_is_not() -> None:
    known = Estimate(-600.0, 60.0, 0, kept=True)
    true = AT - timedelta(hours=3)
    stored = judge(true + timedelta(seconds=600), AT, False, known)
    assert stored.corrected == true and stored.offset_s == 600.0 and stored.uncertainty_s == 60.0
    assert judge(AT - timedelta(seconds=2), AT, True, known) == judge(AT - timedelta(seconds=2), AT, True, None)
    assert judge(AT + timedelta(hours=3), AT, False, known).quarantine == CLOCK


@pytest.mark.parametrize("ago_s", [0.0, 30.0, 899.0])
def test_a_clock_that_was_set_since_makes_no_passage_of_now_an_old_one(ago_s: float) -> None:
    known = Estimate(-3600.0, 60.0, 0, kept=True)
    assert is_prompt(AT - timedelta(seconds=ago_s), AT, known, 900.0)
    assert not is_prompt(AT - timedelta(seconds=ago_s), AT, Estimate(-3600.0, 1.0, 9), 900.0)
