"""A replay by filter of everything a connector ever took: the plan, the order, a kill in its middle, and the way to the end.

The order is given as an operator gives it, `hub replay`, while a worker delivers what it queues. The counterparty's books say
whether each came exactly once more.
"""

from __future__ import annotations

import os
import signal
import time

from benchmarks import fill
from benchmarks.delivery import books, counterparty, ministry, worked_off
from benchmarks.rig import Figure, Meter, Proc, Rig, Stage, at_full_size, short, until
from hub.kernel.ledger import replays
from hub.kernel.ledger.replays import ReplayFilter
from hub.kernel.lifecycle import State

_REPLAYS = "SELECT (SELECT count(*) FROM deliveries WHERE replay_of IS NOT NULL) + (SELECT count(*) FROM deliveries_closed WHERE replay_of IS NOT NULL)"
_DONE = "SELECT count(*) FROM deliveries_closed WHERE replay_of IS NOT NULL AND state = 7"


def _order(stage: Stage, as_of: str) -> Proc:
    argv = [
        "-m",
        "hub.cli",
        "replay",
        "--connector",
        "ministry",
        "--state",
        "delivered",
        "--remap",
        "--yes",
        "--why",
        "Đo phát lại theo bộ lọc",
        "--until",
        as_of,
    ]
    return stage.rig.process("replay", argv, stage.env())


async def measure(rig: Rig) -> list[Figure]:
    """Fill, deliver, plan, order, kill, order again, wait."""
    await rig.redis()
    count = short(20_000, 100_000)
    other, url = await counterparty(rig, "ministry")
    async with rig.stage() as stage:
        number = await stage.connector("ministry", *ministry(url, 100))
        await fill.ready(stage, number, "learners-to-ministry", count, "55")
        await worked_off(stage, url, count, other, patience_s=120)
        await books(url)

        started = time.perf_counter()
        plan = await replays.plan_replay(stage.core, ReplayFilter(connector="ministry", states=[State.DELIVERED]))
        planned_s = time.perf_counter() - started
        assert plan.count == count, f"the plan says {plan.count:,}"
        as_of = f"{plan.as_of:%Y-%m-%dT%H:%M:%S.%f}"

        worker = rig.process("worker", ["-m", "hub.cli", "worker"], stage.env())
        meter = Meter(worker=worker.pid, postgres=rig.postgres_pid, counterparty=other.pid)
        began = time.perf_counter()
        first = _order(stage, as_of)

        async def underway() -> bool:
            return int(await stage.value(_REPLAYS)) > count * 0.3 or not first.alive

        await until(underway, 60, 0.01)
        killed = first.alive
        if killed:
            os.kill(first.pid, signal.SIGKILL)
        await first.stop()
        queued_before = int(await stage.value(_REPLAYS))
        again = time.perf_counter()
        second = _order(stage, as_of)

        async def queued() -> bool:
            return not second.alive

        await until(queued, 120, 0.02)
        queueing_s = time.perf_counter() - again
        rest = int(await stage.value(_REPLAYS)) - queued_before

        async def done() -> bool:
            return int(await stage.value(_DONE)) >= count

        await until(done, 180, 0.1)
        took = time.perf_counter() - began
        cpu = meter.stop()
        seen = await books(url)
        await worker.stop()
        assert seen["records"] == count == int(await stage.value(_REPLAYS)), (
            f"{seen['records']:,} came again for {count:,}; {int(await stage.value(_REPLAYS)):,} replays"
        )
    await other.stop()
    how = (
        f"killed with {queued_before:,} queued, ordered again: the other {rest:,}"
        if killed
        else "it was over before it could be killed"
    )
    return [
        Figure(
            path=f"replay of {count:,} by filter: asked, queued, done", unit="deliveries/s", value=count / took, target="resumable; each once",
            met=at_full_size(killed), cpu=cpu,
            note=f"plan in {planned_s * 1000:,.0f} ms; {how} in {queueing_s:.1f} s; all delivered again {took:.1f} s after the first order",
        )
    ]  # fmt: skip
