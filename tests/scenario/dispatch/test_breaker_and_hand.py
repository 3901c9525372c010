"""What a worker has claimed when the breaker opens: given back, not sent after the rest."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from adapters.twin import Fault
from hub.worker.main import Worker
from tests.scenario.dispatch.counting import counting_ministry

FAILURES, CONCURRENCY, LEARNERS, OPEN_S = 4, 4, 600, 2.0


def test_what_is_in_hand_stays_there_when_the_breaker_opens(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            policy = {
                "concurrency": CONCURRENCY, "batch_max": 1, "retry": {"base_s": 0.05, "cap_s": 0.1}, "quick_tries": {"attempts": 1},
                "breaker": {"failures": FAILURES, "ratio": 0.001, "open_s": OPEN_S, "open_max_s": OPEN_S, "probes": 1, "close_after": 1},
            }  # fmt: skip
            twin = await counting_ministry(s, policy)
            worker = Worker(s.house, None)
            task = asyncio.create_task(worker.run())
            try:
                await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(LEARNERS)))
                await s.until(lambda: len(twin.at) > LEARNERS / 6)
                twin.set_fault(Fault(kind="down_503"))
                since = time.monotonic()
                await asyncio.sleep(OPEN_S * 0.7)
                futile = [t for t in twin.at if t > since]
                ready = await s.led.value("SELECT count(*) FROM deliveries WHERE state = 2")
                spent = await s.led.value("SELECT count(*) FROM deliveries WHERE attempts > 0 AND state = 2")
                twin.set_fault(Fault(kind="none"))
                await s.settled(40, delivered=LEARNERS)
            finally:
                worker.stop()
                await asyncio.wait_for(task, 20)
            assert len(futile) <= FAILURES + CONCURRENCY, "what was under way when it opened, and no more"
            assert ready > LEARNERS / 3 and spent <= FAILURES + CONCURRENCY, "what was given back has not been tried"
            assert len({e.key for e in twin.books.effects}) == len(twin.books.effects) == LEARNERS

    asyncio.run(go())
