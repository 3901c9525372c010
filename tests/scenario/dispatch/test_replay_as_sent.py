"""What went out as one batch and is replayed as sent: every delivery of it is answered for, in as few calls as before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.kernel.ledger.replays import ReplayFilter, replay
from hub.kernel.lifecycle import State


@pytest.mark.parametrize("times", [1, 2])
def test_a_replayed_batch_is_one_call_again(stage: Any, items: Any, times: int) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(120)))
            await s.work()
            await s.settled(delivered=120)
            before, queued = twin.requests, 0
            for _ in range(times):
                wanted = ReplayFilter(connector="ministry", states=[State.DELIVERED])
                queued += (await replay(s.core, "test", wanted, "as_sent", "test")).queued
                await s.settled(delivered=120 + queued)
            assert len(twin.books.effects) == 120, "the Ministry knows the versions"
            assert twin.requests - before <= 24 * times, "in batches, as they were sent"

    asyncio.run(go())
