"""After an outage: the counterparty's own seconds, counted while the backlog comes back under a quota."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from adapters.twin import Fault
from hub.kernel.ledger import dispatch
from tests.scenario.dispatch.counting import counting_ministry

QUOTA = 20


def _within(times: list[float], start: float, seconds: float) -> int:
    return sum(1 for t in times if start <= t < start + seconds)


def test_the_backlog_of_an_outage_comes_back_at_the_quota_and_never_above_it(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims: list[tuple[float, int]] = []
    claim = dispatch.claim

    async def counted(*args: Any, **more: Any) -> Any:
        batch = await claim(*args, **more)
        claims.append((time.monotonic(), len(batch.deliveries)))
        return batch

    monkeypatch.setattr(dispatch, "claim", counted)

    async def go() -> None:
        async with stage() as s:
            policy = {
                "concurrency": 4, "batch_max": 1, "quota": {"per_second": QUOTA},
                "breaker": {"failures": 3, "open_s": 0.3, "open_max_s": 0.5},
            }  # fmt: skip
            twin = await counting_ministry(s, policy)
            twin.set_fault(Fault(kind="down_503"))
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(160)))
            await s.work()
            await s.until(lambda: s.led.value("SELECT count(*) > 0 FROM recoveries WHERE state = 'open'"))
            twin.set_fault(Fault(kind="none"))
            well = time.monotonic()
            await s.settled(40, delivered=160)
            at = twin.at
            assert max(_within(at, t, 1.0) for t in at) <= QUOTA, "in no second of the counterparty's, ramp and all"
            # Draining: from the first second that was full on. The last one is not whole.
            full = next(t for t in at if t > well and _within(at, t, 1.0) >= 0.9 * QUOTA)
            whole_s = int(at[-1] - full)
            assert whole_s >= 3, f"the ramp took all of it: {at[-1] - at[0]:.1f} s"
            assert _within(at, full, whole_s) >= 0.9 * QUOTA * whole_s
            # What the clock of a busy machine takes from the rate is no fault of the release: that the queue never ran dry
            # while any of it waited is counted.
            last = max(t for t, n in claims if n)
            assert [n for t, n in claims if full <= t < last and not n] == [], "the quota waited for the release"
            assert len({e.key for e in twin.books.effects}) == len(twin.books.effects) == 160

    asyncio.run(go())
