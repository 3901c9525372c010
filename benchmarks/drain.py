"""A backlog drained at the counterparty's quota: never above it in the counterparty's own seconds, and close below it.

Once it lies ready, as it does where only the quota held it back; once it waits behind an open recovery, as an outage leaves
it: then the worker's ticker releases it, canary, ramp and all, and what is released must never run out.
"""

from __future__ import annotations

import asyncio
import math
from statistics import mean
from typing import Any

from benchmarks import fill
from benchmarks.delivery import books, counterparty, ministry
from benchmarks.rig import Figure, Meter, Proc, Rig, at_full_size, short, until
from hub.kernel.ledger import recovery
from hub.kernel.lifecycle import State

QUOTA = 2_000
_FLOW = "learners-to-ministry"
_TARGET = "never above; ≥ 0.98 over five minutes"
_FULL_STEP = "SELECT extract(epoch FROM min(at))::float8 FROM journal WHERE kind = 'recovery_released' AND (data ->> 'count')::int >= $1"


async def measure(rig: Rig) -> list[Figure]:
    """Calls per second, one record each, as the counterparty counted them. The target is five minutes of a million: a short
    run shows a miss, never a hit."""
    await rig.redis()
    seconds = short(10, 300)
    figures = [await _ready(rig, seconds, quota, workers) for quota, workers in ((500, 1), (QUOTA, 1), (QUOTA, 2))]
    return [*figures, await _waiting(rig, seconds)]


async def _ready(rig: Rig, seconds: int, quota: int, workers: int) -> Figure:
    """What lies ready: the first and the last second are not whole."""
    other, url = await counterparty(rig, "ministry")
    async with rig.stage() as stage:
        number = await stage.connector("ministry", *ministry(url, 1, concurrency=32, per_second=quota))
        # Enough that it never runs dry; a million where the time allows it.
        await fill.ready(
            stage, number, _FLOW, short(quota * (seconds + 8), max(quota * (seconds + 8), 1_000_000)), "60"
        )
        await books(url)
        running = [rig.process("worker", ["-m", "hub.cli", "worker"], stage.env()) for _ in range(workers)]
        # Two workers share a quota fairly once each has asked a few times.
        await asyncio.sleep(3.0 if workers == 1 else 6.0)
        await books(url)
        meter = _meter(rig, other, running)
        await asyncio.sleep(seconds + 1)
        cpu = meter.stop()
        seen = _seconds(await books(url))
        for worker in running:
            await worker.stop()
    await other.stop()
    whole = list(seen.values())[1:-1]
    how = ", two workers" if workers == 2 else ""
    return Figure(
        path=f"ready backlog drained at quota {quota:,}/s, one record a call{how}", unit="calls/s", value=mean(whole),
        bare=float(quota), bare_is=f"the quota; {_told(whole)}",
        target=_TARGET, met=at_full_size(max(whole) <= quota and mean(whole) >= 0.98 * quota), cpu=cpu,
    )  # fmt: skip


async def _waiting(rig: Rig, seconds: int) -> Figure:
    """What waits behind an open recovery: from the first whole second after the ramp's first full step; no second of the ramp
    may be above the quota either."""
    other, url = await counterparty(rig, "ministry")
    async with rig.stage() as stage:
        number = await stage.connector("ministry", *ministry(url, 1, concurrency=32, per_second=QUOTA))
        count = short(QUOTA * (seconds + 20), max(QUOTA * (seconds + 20), 1_000_000))
        await fill.ready(stage, number, _FLOW, count, "61", state=State.WAITING)
        await recovery.open_recovery(stage.core, "ministry", "bench")
        await books(url)
        worker = rig.process("worker", ["-m", "hub.cli", "worker"], stage.env())
        most = recovery.step_most(float(QUOTA))

        async def full_step() -> bool:
            return await stage.value(_FULL_STEP, most) is not None or not worker.alive

        await until(full_step, 90, 0.1)
        meter = _meter(rig, other, [worker])
        stock = []
        for _ in range(2 * (seconds + 1)):
            stock.append(int(await stage.value("SELECT count(*) FROM deliveries WHERE state = 2")))
            await asyncio.sleep(0.5)
        cpu = meter.stop()
        full = float(await stage.value(_FULL_STEP, most))
        left = int(await stage.value("SELECT count(*) FROM deliveries WHERE state = 4"))
        seen = _seconds(await books(url))
        await worker.stop()
    await other.stop()
    if not left:
        raise RuntimeError("the backlog ran dry")
    last = max(seen)
    steady = [seen.get(s, 0) for s in range(math.ceil(full), last)]
    return Figure(
        path=f"after an outage: {count:,} waiting, released and drained at quota {QUOTA:,}/s, one record a call", unit="calls/s",
        value=mean(steady), bare=float(QUOTA), bare_is=f"the quota; {_told(steady)}", target=_TARGET,
        met=at_full_size(max(seen.values()) <= QUOTA and mean(steady) >= 0.98 * QUOTA), cpu=cpu,
        note=f"ramp of {math.ceil(full) - min(seen)} s before it, highest second of all {max(seen.values()):,}; "
        f"never fewer than {min(stock):,} lay ready",
    )  # fmt: skip


def _meter(rig: Rig, other: Proc, workers: list[Proc]) -> Meter:
    names = {"worker" if len(workers) == 1 else f"worker {n}": w.pid for n, w in enumerate(workers, 1)}
    return Meter(**names, postgres=rig.postgres_pid, counterparty=other.pid)


def _seconds(page: dict[str, Any]) -> dict[int, int]:
    """Calls by second of the counterparty's clock, in order."""
    return {int(s): n for s, n in sorted(page["per_second"].items(), key=lambda item: int(item[0]))}


def _told(whole: list[int]) -> str:
    return f"highest second {max(whole):,}, lowest {min(whole):,}, {len(whole)} seconds"
