"""A quota as the counterparty sees it: calls of any second, calls of a day, with two workers at it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from adapters.twin import Ask, Say
from hub.bell import Bell
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router, load_flows
from hub.wiring import FLOWS, House
from hub.worker.main import Worker
from tests.scenario.dispatch.counting import counting_ministry


def busiest(times: list[float]) -> int:
    return max(sum(1 for t in times if start <= t < start + 1.0) for start in times)


def test_two_workers_keep_a_quota_together_and_a_days_calls_exactly(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            policy = {"concurrency": 4, "batch_max": 1, "quota": {"per_second": 20, "per_day": 70}}
            twin = await counting_ministry(s, policy)
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(90)))
            await s.work()
            core = Core(s.core.pool, Router(load_flows(FLOWS), {}), s.core.catalogue, s.core.hasher, worker="second")
            house = House(s.house.settings, s.house.keys, core, None, Bell(None))
            await house.refresh()
            second = Worker(house, None)
            task = asyncio.create_task(second.run())
            try:
                await s.until(lambda: len(twin.at) >= 70, 30)
                await asyncio.sleep(1.5)
            finally:
                second.stop()
                await asyncio.wait_for(task, 20)
                await s.rest()
            assert len(twin.at) == 70, "not one more than the day allows"
            assert busiest(twin.at) <= 20
            assert twin.at[-1] - twin.at[0] < 8.0, "and not much slower than it allows"
            assert await s.led.value("SELECT day_used FROM quotas") == 70
            assert await s.states() == {"delivered": 70, "ready": 20}
            assert await s.led.value("SELECT count(*) FROM quota_shares") == 0, "whoever ends gives its share back"

    asyncio.run(go())


def test_a_log_in_takes_a_permit_of_its_own(stage: Any, items: Any) -> None:
    """One call a second: the log-in, the call that finds the session ended, the next log-in and the call again are four of them."""

    async def go() -> None:
        async with stage() as s:
            twin = await s.portal({"concurrency": 2, "quota": {"per_second": 1, "per_day": 100}}, quota_per_s=None)
            at: list[float] = []
            answer = twin.answer

            def noted(ask: Ask) -> Say:
                at.append(time.monotonic())
                return answer(ask)

            twin.answer = noted
            await s.push("filing", items.filing())
            await s.work()
            await s.settled(delivered=1)
            assert len(at) == 2 and at[1] - at[0] > 0.95, "logged in, then told"
            twin.end_sessions()
            await s.push("filing", items.filing("000.00.12.H24-261122-0002"))
            await s.settled(delivered=2)
            assert len(at) == 5 and busiest(at) == 1
            assert await s.led.value("SELECT day_used FROM quotas") >= 5

    asyncio.run(go())
