"""The ticker's recovery loop on a real PostgreSQL, with a worker made up and Airflow made up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from hub.kernel.ledger import recovery
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.recovery import NotLeader, Progress
from hub.settings import Settings
from hub.worker.recovery import Pace, Ramp, RecoveryLoop

DAG = "airflow:run-1"
QUICK = Pace(tick_s=0.02, lease_s=5.0, grace_s=0.3, trigger_again_s=0.1, canary_first_s=0.02, canary_longest_s=0.05)


class Airflow:
    """Takes triggers, or is away."""

    def __init__(self, away: bool = False) -> None:
        self.away = away
        self.runs: list[tuple[str, dict[str, Any]]] = []

    async def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> str:
        if self.away:
            raise OSError("away")
        self.runs.append((run_id, dict(conf)))
        return "created"


async def until(check: Callable[[], Awaitable[bool]], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.02)


async def idle(b: Any) -> bool:
    found = await recovery.find(b.core, "portal")
    return found is not None and found.state == "idle"


def go(bench: Any, use: Callable[..., Awaitable[None]], airflow: Airflow | None, pace: Pace = QUICK) -> None:
    async def run() -> None:
        async with bench() as b:
            stop = asyncio.Event()
            loop = RecoveryLoop(b.core, airflow, Settings(), pace=pace)
            task = asyncio.create_task(loop.run(stop))
            try:
                await use(b)
                assert not task.done() or task.result()
            finally:
                stop.set()
                await asyncio.wait_for(task, 10)

    asyncio.run(run())


def test_with_no_airflow_the_ticker_leads_to_the_end(bench: Any) -> None:
    async def use(b: Any) -> None:
        await b.wait(77)
        await recovery.open_recovery(b.core, "portal", "HTTP 503")
        tried = []

        async def worked() -> bool:
            # Down for the first three canaries, then up.
            if n := await b.work(up=len(tried) >= 3):
                tried.append(n)
            return await idle(b)

        await until(worked)
        assert tried[:4] == [1, 1, 1, 1], "canaries one at a time, until one is answered"
        assert tried[4] <= 10 and sum(tried[3:]) == 77
        assert await b.delivered() == 77 and await b.states() == {}

    go(bench, use, None)


def test_a_later_step_that_fails_goes_back_to_a_canary(bench: Any) -> None:
    async def use(b: Any) -> None:
        await b.wait(60)
        await recovery.open_recovery(b.core, "portal", "HTTP 503")
        tried: list[tuple[int, bool]] = []

        async def worked() -> bool:
            up = not (1 <= len(tried) <= 2)
            if n := await b.work(up=up):
                tried.append((n, up))
            return await idle(b)

        await until(worked)
        assert tried[0] == (1, True)
        assert tried[1][0] == 10 and not tried[1][1]
        assert tried[2][0] == 1, "after a step that failed whole, one at a time again"
        assert await b.delivered() + (await b.states()).get(4, 0) == 60

    go(bench, use, None)


def test_it_tells_airflow_once_and_leads_only_when_nobody_comes(bench: Any) -> None:
    airflow = Airflow()

    async def use(b: Any) -> None:
        await b.wait(30)
        await recovery.open_recovery(b.core, "portal", "HTTP 503")

        async def told() -> bool:
            found = await recovery.find(b.core, "portal")
            return bool(found and found.triggered)

        await until(told)
        assert airflow.runs == [("redeliver__portal__1", {"connector": "portal", "epoch": 1})]
        found = await recovery.find(b.core, "portal")
        assert found and found.owner is None, "not yet: Airflow has the first right"

        async def worked() -> bool:
            await b.work(up=True)
            return await idle(b)

        await until(worked)
        assert await b.delivered() == 30
        assert len(airflow.runs) == 1

    go(bench, use, airflow)


def test_airflow_is_told_again_when_it_was_away(bench: Any) -> None:
    airflow = Airflow(away=True)

    async def use(b: Any) -> None:
        await b.wait(1)
        await recovery.open_recovery(b.core, "portal", "HTTP 503")
        await asyncio.sleep(0.1)
        assert airflow.runs == []
        airflow.away = False

        async def told() -> bool:
            return len(airflow.runs) == 1

        await until(told)

    go(bench, use, airflow)


def test_hand_over_both_ways(bench: Any) -> None:
    async def use(b: Any) -> None:
        await b.wait(50)
        await recovery.open_recovery(b.core, "portal", "HTTP 503")
        await recovery.lead(b.core, "portal", DAG, 1, 30)
        await asyncio.sleep(0.5)  # longer than the grace
        assert await b.states() == {4: 50}, "while Airflow leads, nothing moves without it"
        assert (await recovery.release(b.core, "portal", DAG, 1, 1, 5, waiting_since_before=(await _now(b)))).count == 5
        await recovery.hand_over(b.core, "portal", DAG, 1)

        async def ticker_leads() -> bool:
            found = await recovery.find(b.core, "portal")
            return bool(found and found.owner and found.owner.startswith("ticker:"))

        await until(ticker_leads)
        await recovery.lead(b.core, "portal", DAG, 1, 30)  # comes back, and takes over at once
        found = await recovery.find(b.core, "portal")
        assert found and found.owner == DAG
        await asyncio.sleep(0.3)
        found = await recovery.find(b.core, "portal")
        assert found and found.owner == DAG, "the ticker keeps away"
        await b.work(up=True)
        before = await b.states()
        await asyncio.sleep(0.2)
        assert await b.states() == before
        await b.end_lease()  # Airflow is killed

        async def worked() -> bool:
            await b.work(up=True)
            return await idle(b)

        await until(worked)
        assert await b.delivered() == 50

    go(bench, use, Airflow())


async def _now(b: Any) -> Any:
    return await b.sql("SELECT now()")


def test_two_workers_and_one_leads(bench: Any) -> None:
    async def run() -> None:
        async with bench() as b:
            other = Core(b.core.pool, b.core.router, b.core.catalogue, b.core.hasher, worker="worker@second")
            other.connectors = b.core.connectors
            await b.wait(100)
            await recovery.open_recovery(b.core, "portal", "x")
            stop = asyncio.Event()
            tasks = [
                asyncio.create_task(RecoveryLoop(c, None, Settings(), pace=QUICK).run(stop)) for c in (b.core, other)
            ]

            async def worked() -> bool:
                await b.work(up=True)
                return await idle(b)

            try:
                await until(worked)
            finally:
                stop.set()
                await asyncio.gather(*tasks)
            assert await b.delivered() == 100
            leaders = await b.sql("SELECT array_agg(DISTINCT actor) FROM journal WHERE kind = 'recovery_released'")
            assert len(leaders) == 1

    asyncio.run(run())


def test_what_is_led_is_given_up_at_the_end(bench: Any) -> None:
    async def use(b: Any) -> None:
        await b.wait(5)
        await recovery.open_recovery(b.core, "portal", "x")

        async def led() -> bool:
            found = await recovery.find(b.core, "portal")
            return bool(found and found.owner)

        await until(led)

    async def run() -> None:
        async with bench() as b:
            stop = asyncio.Event()
            task = asyncio.create_task(RecoveryLoop(b.core, None, Settings(), pace=QUICK).run(stop))
            await use(b)
            stop.set()
            await task
            found = await recovery.find(b.core, "portal")
            assert found and found.owner is None
            with pytest.raises(NotLeader):
                await recovery.release(b.core, "portal", "ticker:worker@test", 1, 9, 1)

    asyncio.run(run())


def _seen(queued: int = 0, failed: int = 0) -> Progress:
    return Progress(
        waiting=100, waiting_due=0, ready=0, queued=queued, sending=0, uncertain=0, failed=failed, oldest=None
    )


def test_the_ramp_doubles_halves_waits_and_stops() -> None:
    ramp = Ramp(10, 35)
    assert (ramp.judge(_seen()), ramp.size) == ("go", 10)
    ramp.released = 10
    assert (ramp.judge(_seen(queued=6)), ramp.size) == ("wait", 10)
    assert (ramp.judge(_seen(queued=5)), ramp.size) == ("go", 20)
    ramp.released = 20
    assert (ramp.judge(_seen()), ramp.size) == ("go", 35)
    assert (ramp.judge(_seen(failed=3)), ramp.size) == ("go", 17)
    ramp.released = 4
    assert ramp.judge(_seen(failed=4)) == "stop"
