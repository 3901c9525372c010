"""A replay means what its plan showed: while what it queued is being delivered, and after it was cut off in the middle."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from hub.console.pages.replay import _first
from hub.kernel.ledger import dispatch, replays
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.replays import ReplayFilter
from hub.kernel.ledger.shapes import Conclusion
from hub.kernel.lifecycle import State

COUNT = 1_300


async def _work_off(led: Any, connector: int) -> int:
    """Deliver what is ready; how many."""
    total = 0
    while batch := (await dispatch.claim(led.core, connector, 400, 30.0)).deliveries:
        done = [
            Conclusion(delivery=d, target=State.DELIVERED, cause="receipt", outcome="Receipt", reference="R")
            for d in batch
        ]
        await dispatch.conclude(led.core, connector, done, [])
        total += len(batch)
    return total


async def _delivered(led: Any, make: Any) -> int:
    connector = int(await led.connector("ministry", "ministry"))
    await led.school(make.draft().school)
    await accept(led.core, [make.arrival(*(make.draft(f"HS{n:04d}") for n in range(COUNT)))])
    assert await _work_off(led, connector) == COUNT
    return connector


async def _each_once(led: Any) -> None:
    twice = "SELECT count(*) FROM (SELECT replay_of FROM deliveries_closed WHERE replay_of IS NOT NULL GROUP BY 1 HAVING count(*) > 1) x"
    assert await led.value(twice) == 0
    assert await led.value("SELECT count(*) FROM deliveries_closed WHERE replay_of IS NOT NULL") == COUNT
    assert (await account(led.core)).balanced


def test_what_a_replay_has_sent_again_is_not_asked_for_again(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            connector = await _delivered(led, make)
            wanted = ReplayFilter(connector="ministry", states=[State.DELIVERED])
            ordered = asyncio.create_task(replays.replay(led.core, "lan", wanted, "remap", "thử"))
            while not ordered.done():  # a worker, quick as light
                await _work_off(led, connector)
                await asyncio.sleep(0)
            assert (await ordered).queued == COUNT
            await _work_off(led, connector)
            await _each_once(led)

    asyncio.run(go())


def test_an_order_cut_off_goes_on_with_exactly_the_rest(ledger: Any, make: Any, monkeypatch: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            connector = await _delivered(led, make)
            wanted = ReplayFilter(connector="ministry", states=[State.DELIVERED])
            plan = await replays.plan_replay(led.core, wanted)
            assert plan.count == COUNT
            order = replace(wanted, until=plan.as_of)
            requeue, chunks = replays._requeue, 0
            monkeypatch.setattr(replays, "_CHUNK", 300)

            async def dying(*args: Any) -> int:
                nonlocal chunks
                chunks += 1
                if chunks == 3:  # inside the third chunk's transaction: the process is gone
                    raise KeyboardInterrupt
                return await requeue(*args)

            monkeypatch.setattr(replays, "_requeue", dying)
            try:
                await replays.replay(led.core, "lan", order, "as_sent", "thử")
                raise AssertionError("it was to be cut off")
            except KeyboardInterrupt:
                pass
            monkeypatch.setattr(replays, "_requeue", requeue)
            first = await led.value("SELECT count(*) FROM deliveries")
            assert 0 < first < COUNT
            await _work_off(led, connector)
            rest = await replays.replay(led.core, "lan", order, "as_sent", "thử")
            assert (rest.queued, rest.before, rest.done) == (COUNT - first, first, first)
            await _work_off(led, connector)
            await _each_once(led)
            assert (await replays.plan_replay(led.core, order)).count == 0
            told = await replays.replay(led.core, "lan", order, "as_sent", "thử")
            assert (told.asked, told.queued, told.before, told.done) == (0, 0, COUNT, COUNT)

    asyncio.run(go())


def test_the_first_shown_are_those_that_would_go(ledger: Any, make: Any) -> None:
    """Beside the plan's count: a few of what it counts, whatever of it was replayed before."""

    async def go() -> None:
        async with ledger() as led:
            connector = await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(*(make.draft(f"HS{n:04d}") for n in range(230)))])
            assert await _work_off(led, connector) == 230
            closed = [r["id"] for r in await led.rows("SELECT id FROM deliveries_closed ORDER BY id")]
            before = ReplayFilter(deliveries=closed[:225], states=[State.DELIVERED])
            await replays.replay(led.core, "lan", before, "remap", "thử")
            wanted = ReplayFilter(connector="ministry", states=[State.DELIVERED])
            plan = await replays.plan_replay(led.core, wanted)
            assert plan.count == 5
            shown = await _first(led.core, wanted, plan.as_of)
            assert [r["id"] for r in shown] == closed[225:]

    asyncio.run(go())
