"""Full ledger intake: keys, messages, records and deliveries, against a COPY of the same rows into tables without indexes."""

from __future__ import annotations

import asyncio
import os
import time

from benchmarks import bare, fill
from benchmarks.rig import Figure, Meter, Rig, Stage, alternate, short
from hub import lean
from hub.kernel.intake import Arrival
from hub.kernel.ledger.intake import accept

BATCH, LANES = 200, 4
"""As the gateway commits: up to 200 arrivals in a transaction, four transactions at a time."""


async def store(stage: Stage, arrivals: list[Arrival]) -> float:
    """Give arrivals to the ledger as the gateway does; seconds."""
    waiting = [arrivals[n : n + BATCH] for n in range(0, len(arrivals), BATCH)][::-1]

    async def lane() -> None:
        while waiting:
            await accept(stage.core, waiting.pop())

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(LANES)))
    return time.perf_counter() - started


async def measure(rig: Rig) -> list[Figure]:
    """One figure for learners (an entity's stream, order, one delivery), one for check-ins (events, one delivery)."""
    lean.seldom()  # as in a process of the hub
    figures = []
    count, rounds = short(3_000, 15_000), short(9, 7)
    for record_type in ("learner", "checkin"):
        async with rig.stage() as stage:
            await bare.prepare(stage)
            await stage.connector("ministry", *_ministry())
            cpu: dict[str, float] = {}

            async def ours(n: int) -> float:
                make = fill.learner if record_type == "learner" else fill.checkin  # noqa: B023
                items = [make(i, f"3{n}" if record_type == "learner" else f"c{n}") for i in range(count)]  # noqa: B023
                arrivals = fill.arrivals(stage, record_type, items, f"{record_type}{n}")  # noqa: B023
                since["id"] = await stage.value("SELECT coalesce(max(id), 0) FROM messages")  # noqa: B023
                meter = Meter(ledger=os.getpid(), postgres=rig.postgres_pid)
                seconds = await store(stage, arrivals)
                cpu.update(meter.stop())  # noqa: B023
                return count / seconds

            async def limit(_n: int) -> float:
                batches = await bare.written(stage, since["id"], BATCH)  # noqa: B023
                assert sum(len(b["deliveries"]) for b in batches) == count
                return count / await bare.copy(stage, batches, LANES)

            since = {"id": 0}
            value, copied = await alternate(rounds, ours, limit)
            figures.append(
                Figure(
                    path=f"ledger intake: {record_type}s, one delivery each", unit="messages/s", value=value, bare=copied,
                    bare_is="COPY of the same rows, no indexes", target="≥ 0.35", met=value / copied >= 0.35, cpu=cpu,
                    note="load: arrivals are made before the clock starts",
                )
            )  # fmt: skip
    return figures


def _ministry() -> tuple[dict[str, object], dict[str, str]]:
    from benchmarks.delivery import ministry

    return ministry("http://127.0.0.1:9", 100)
