"""Intake, claim and transition with a long history and many held followers in the same tables, against the empty ledger."""

from __future__ import annotations

import os
import time

from benchmarks import fill
from benchmarks.intake import store
from benchmarks.rig import Figure, Meter, Rig, Stage, alternate, at_full_size, short
from hub.kernel.ledger import dispatch
from hub.kernel.ledger.shapes import Conclusion, Exchange
from hub.kernel.lifecycle import State
from hub.kernel.ports import Call, Reply

FOLLOWERS = 200_000
_CLAIM = 200


async def _intake(stage: Stage, mark: str, count: int) -> float:
    arrivals = fill.arrivals(stage, "learner", [fill.learner(i, mark) for i in range(count)], mark)
    return count / await store(stage, arrivals)


async def _claimed(stage: Stage, connector: int, count: int) -> tuple[float, float]:
    """Claims and transitions per second: batches claimed and concluded as a worker does, nothing sent."""
    claiming = concluding = 0.0
    done = 0
    while done < count:
        started = time.perf_counter()
        batch = await dispatch.claim(stage.core, connector, _CLAIM, 60.0)
        claiming += time.perf_counter() - started
        if not batch.deliveries:
            raise RuntimeError("nothing left to claim")
        async with stage.core.pool.acquire() as connection:
            (number,) = await stage.core.ids.take(connection, 1)
        ids = tuple(d.id for d in batch.deliveries)
        call = Call(operation="push", deliveries=ids, body=b"{}", content_type="application/json", idempotent=True)
        exchange = Exchange(
            id=number, klass=2, connector=connector, call=call, mapping="bench", reply=Reply(status=200, body=b"{}")
        )
        conclusions = [
            Conclusion(delivery=d, target=State.DELIVERED, cause="receipt", outcome="Receipt", call=number)
            for d in batch.deliveries
        ]
        started = time.perf_counter()
        await dispatch.conclude(stage.core, connector, conclusions, [exchange])
        concluding += time.perf_counter() - started
        done += len(ids)
    return done / claiming, done / concluding


async def measure(rig: Rig) -> list[Figure]:
    """Two ledgers side by side, measured in turns: an empty one, and one that has held a lot for long."""
    from benchmarks.delivery import ministry

    history = short(1_000_000, 10_000_000)
    count, rounds = short(4_000, 20_000), 3
    async with rig.stage() as full, rig.stage() as empty:
        numbers = {}
        for stage in (full, empty):
            numbers[stage.name] = await stage.connector("ministry", *ministry("http://127.0.0.1:9", 100))
        started = time.perf_counter()
        await fill.history(full, history)
        # A parked head with its row of followers behind it: what a locked school year leaves.
        await fill.ready(
            full,
            numbers[full.name],
            "learners-to-ministry",
            FOLLOWERS,
            "70",
            state=1,
            same_order=200,
            parked_heads=True,
        )
        filled = time.perf_counter() - started
        await rig.checkpoint()
        rates: dict[str, dict[str, list[float]]] = {"claim": {}, "transition": {}}
        cpu: dict[str, dict[str, float]] = {}

        async def one(stage: Stage, n: int) -> float:
            meter = Meter(ledger=os.getpid(), postgres=rig.postgres_pid)
            rate = await _intake(stage, f"8{n}", count)
            intake = meter.stop()
            meter = Meter(ledger=os.getpid(), postgres=rig.postgres_pid)
            claims, moves = await _claimed(stage, numbers[stage.name], count)
            in_turns = meter.stop()
            if stage is full:
                cpu.update({"intake": intake, "claim": in_turns, "transition": in_turns})
            rates["claim"].setdefault(stage.name, []).append(claims)
            rates["transition"].setdefault(stage.name, []).append(moves)
            return rate

        for stage in (full, empty):  # the first round fills caches and prepares statements
            await one(stage, 9)
        for found in rates.values():
            found.clear()
        value, limit = await alternate(rounds, lambda n: one(full, n), lambda n: one(empty, n))
        pairs = {"intake": (value, limit)}
        for name, found in rates.items():
            middle = {key: sorted(v)[len(v) // 2] for key, v in found.items()}
            pairs[name] = (middle[full.name], middle[empty.name])
        return [
            Figure(
                path=f"{name} with {history:,} messages and {FOLLOWERS:,} held followers", unit="deliveries/s" if name != "intake" else "messages/s",
                value=ours, bare=bare, bare_is="the empty ledger", target="≥ 0.9", met=at_full_size(ours / bare >= 0.9), cpu=cpu[name],
                note=f"filled in {filled:.0f} s" if name == "intake" else "shares over claims and transitions in turn",
            )
            for name, (ours, bare) in pairs.items()
        ]  # fmt: skip
