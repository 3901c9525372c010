"""One breaker for all workers, over a real Redis: a sick counterparty is left alone by both, probed by few, and taken up again by both."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.twin import Fault
from hub.bell import Bell
from hub.embedded.redis import find_server as find_redis
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router, load_flows
from hub.wiring import FLOWS, House
from hub.worker.main import Worker
from tests.scenario.dispatch.counting import counting_ministry

OPEN_S, FAILURES, CONCURRENCY, LEARNERS = 1.5, 4, 4, 60
SICK_S = 7.0
BY = "SELECT count(DISTINCT worker) FROM attempts WHERE outcome = 'Receipt'"


@pytest.fixture
def redis_url(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("r") / "s"
    process = subprocess.Popen(
        [str(find_redis()), "--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path), "--save", ""],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 10
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    yield f"unix://{path}"
    process.terminate()
    process.wait(10)


def test_two_workers_leave_a_sick_counterparty_alone_together(stage: Any, items: Any, redis_url: str) -> None:
    async def go() -> None:
        async with stage() as s:
            policy = {
                "concurrency": CONCURRENCY, "batch_max": 1, "retry": {"base_s": 0.05, "cap_s": 0.1},
                "breaker": {"failures": FAILURES, "open_s": OPEN_S, "open_max_s": OPEN_S, "probes": 1, "close_after": 1},
            }  # fmt: skip
            twin = await counting_ministry(s, policy)
            twin.set_fault(Fault(kind="down_503"))
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(LEARNERS)))
            houses = []
            for name in ("first", "second"):
                core = Core(s.core.pool, Router(load_flows(FLOWS), {}), s.core.catalogue, s.core.hasher, worker=name)
                houses.append(House(s.house.settings, s.house.keys, core, Redis.from_url(redis_url), Bell(None)))
                await houses[-1].refresh()
            workers = [Worker(house, None) for house in houses]
            tasks = [asyncio.create_task(worker.run()) for worker in workers]
            try:
                await s.until(lambda: bool(twin.at))
                await asyncio.sleep(SICK_S)
                sick = list(twin.at)
                twin.set_fault(Fault(kind="none"))
                await s.settled(30, delivered=LEARNERS)
                # Whoever learnt of it first may have taken all that waited: the other is not shut out of what comes after.
                pushed = LEARNERS
                while await s.led.value(BY) < 2:
                    assert pushed < 20 * LEARNERS, "both take it up again"
                    await s.push("learner", *(items.learner(f"31{pushed + n:08d}") for n in range(LEARNERS)))
                    pushed += LEARNERS
                    await s.settled(30, delivered=pushed)
            finally:
                for worker in workers:
                    worker.stop()
                await asyncio.wait_for(asyncio.gather(*tasks), 20)
                for house in houses:
                    await house.redis.aclose()
            tripped = [t for t in sick if t < sick[0] + OPEN_S * 0.8]
            assert len(tripped) <= FAILURES + 2 * CONCURRENCY, (
                "what was under way when the first opened it, and no more"
            )
            probes = [t for t in sick if t >= sick[0] + OPEN_S * 0.8]
            assert 1 <= len(probes) <= SICK_S / OPEN_S + 1, f"one probe a time over both workers: {len(probes)}"
            assert all(b - a > OPEN_S * 0.8 for a, b in pairwise(probes)), probes
            assert len({e.key for e in twin.books.effects}) == len(twin.books.effects) == pushed

    asyncio.run(go())
