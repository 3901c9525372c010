"""What a recovery releases against what a quota takes: after the ramp the queue never runs dry, however late the leader is.

Time is counted, not measured: a leader looks when the simulated clock says so.
"""

from __future__ import annotations

import random

import pytest

from hub.kernel.ledger.recovery import RELEASE_MAX, Progress, step_most
from hub.worker.recovery import Ramp


def drained(per_s: int, most: int, looks: list[float], failing: float = 0.0) -> tuple[int, int]:
    """Taken and takeable from the moment the first full step was released to the last look, at `per_s` a second out of what
    was released by then. `looks`: how long the leader lets pass before each look. `failing`: the share that fails by itself."""
    ramp, queued, owed, full, failed = Ramp(10, most), 0, 0.0, False, 0.0
    taken = could = 0
    for pause in looks:
        owed += per_s * pause
        n = int(owed)
        owed -= n
        if full:
            could += n
            taken += min(n, queued)
        failed += min(n, queued) * failing
        queued -= min(n, queued)
        if ramp.judge(Progress(queued=queued, failed=int(failed))) == "go":
            ramp.released, failed = ramp.size, 0.0
            queued += ramp.size
            full = full or ramp.size >= most
    return taken, could


@pytest.mark.parametrize("per_s", [50, 500, 2_000, 8_000])
def test_the_quota_is_used_up_after_the_ramp_also_by_a_leader_that_is_late(per_s: int) -> None:
    dice = random.Random(7)
    # A tick and what its queries take: between one and two seconds.
    looks = [1.0 + dice.random() for _ in range(400)]
    taken, could = drained(per_s, step_most(float(per_s)), looks)
    assert could >= 200 * per_s, "the ramp did not take all of it"
    assert taken == could, f"{taken / could:.3f} of the quota"


@pytest.mark.parametrize("failing", [0.001, 0.01, 0.09])
def test_what_fails_by_itself_slows_nobody_down(failing: float) -> None:
    taken, could = drained(2_000, step_most(2_000.0), [1.0] * 300, failing)
    assert taken == could >= 200 * 2_000, f"{taken / max(could, 1):.3f} of the quota"


def test_a_counterparty_that_refuses_a_fifth_is_given_less_and_less() -> None:
    taken, could = drained(2_000, step_most(2_000.0), [1.0] * 300, 0.2)
    assert taken == could == 0, "no full step is ever released"


def test_a_step_of_the_old_size_would_leave_a_large_quota_short() -> None:
    taken, could = drained(2_000, 2_000, [1.3] * 200)
    assert taken < 0.98 * could, "else this file could not tell"


def test_the_largest_step_follows_the_quota_within_bounds() -> None:
    assert step_most(None) == 2_000
    assert [step_most(q) for q in (1.0, 500.0, 2_000.0, 200_000.0)] == [200, 2_000, 8_000, RELEASE_MAX]
