"""A worker's permits: never above its share in any second of the counterparty's, whatever happens on the way."""

from __future__ import annotations

import asyncio
import heapq
import random
from bisect import bisect_left
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hub.kernel.ledger.quotas import Ask, Grant
from hub.worker.quota import WINDOW_S, Quota

DAY = date(2026, 11, 22)


class World:
    """Virtual time: calls leave when a permit is had, and are counted somewhere between leaving and answer."""

    def __init__(self, seed: int, rtt: Any, concurrency: int) -> None:
        self.now = 1000.0
        self.dice = random.Random(seed)
        self.rtt = rtt
        self.concurrency = concurrency
        self.answers: list[float] = []
        self.counted: list[float] = []
        self.quota: Quota | None = None

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.until(self.now + seconds)

    def until(self, at: float) -> None:
        assert self.quota is not None
        while self.answers and self.answers[0] <= at:
            self.now = max(self.now, heapq.heappop(self.answers))
            self.quota.answered()
        self.now = max(self.now, at)

    async def send(self) -> bool:
        assert self.quota is not None
        while len(self.answers) >= self.concurrency:
            self.until(self.answers[0])
        if not await self.quota.take():
            return False
        took = self.rtt(self.dice)
        # Anywhere on its way, and often late: that is how calls of two seconds meet in one.
        self.counted.append(self.now + took * self.dice.choice((0.0, 0.5, 1.0, self.dice.random())))
        heapq.heappush(self.answers, self.now + took)
        return True


def busiest(times: list[float]) -> int:
    """The most calls in any second, wherever it begins."""
    times = sorted(times)
    return max((bisect_left(times, t + 1.0) - n for n, t in enumerate(times)), default=0)


async def _no_more(ask: Ask, calls: int) -> Grant:
    raise AssertionError("nothing more is asked for")


def grant(share: int, held: int = 0) -> Grant:
    return Grant(share=share, held=held)


RTTS = {
    "quick": lambda dice: dice.uniform(0.0005, 0.003),
    "stalls": lambda dice: 0.6 if dice.random() < 0.02 else 0.002,
    "slow": lambda dice: dice.uniform(0.1, 0.9),
}


@pytest.mark.parametrize("rtt", RTTS)
@pytest.mark.parametrize(("share", "concurrency"), [(1, 4), (7, 2), (50, 8), (500, 32), (2000, 64)])
def test_no_second_ever_holds_more_than_the_share(share: int, concurrency: int, rtt: str) -> None:
    async def go() -> list[float]:
        world = World(7, RTTS[rtt], concurrency)
        world.quota = quota = Quota(share, None, _no_more, world.clock, world.sleep)
        ends, asked = world.now + 6.0, float("-inf")
        while world.now < ends:
            if world.now - asked > 2.0:
                asked = world.now
                quota.granted(grant(share), asked)
            assert await world.send()
        return world.counted

    counted = asyncio.run(go())
    assert busiest(counted) <= share
    if rtt == "quick" and share >= 50:
        steady = [t for t in counted if 1001 <= t < 1006]
        assert len(steady) / 5 >= 0.98 * share


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 80),
    st.lists(st.tuples(st.floats(0.05, 1.5), st.integers(1, 80)), min_size=1, max_size=6),
    st.integers(0, 10**6),
)
def test_a_share_that_shrinks_and_grows_is_never_overrun(
    first: int, changes: list[tuple[float, int]], seed: int
) -> None:
    """What is asked to be kept covers every second that still holds calls of the larger share."""

    async def go() -> None:
        world = World(seed, RTTS["stalls"], 16)
        world.quota = quota = Quota(200, None, _no_more, world.clock, world.sleep)
        quota.granted(grant(first), world.now)
        granted, stood = first, first
        spans: list[tuple[float, int]] = [(world.now, first)]
        for wait, target in changes:
            ends = world.now + wait
            while world.now < ends:
                assert await world.send()
            ask = quota.ask()
            assert ask.keep <= stood, "never asks to keep what it was not granted"
            stood = max(ask.keep, target)
            granted = min(stood, target)
            quota.granted(grant(granted), world.now)
            spans.append((world.now, stood))
        most = max(s for _, s in spans)
        assert busiest(world.counted) <= most

    asyncio.run(go())


def test_without_a_share_that_stands_nothing_leaves() -> None:
    async def go() -> None:
        world = World(1, RTTS["quick"], 4)
        world.quota = quota = Quota(10, None, _no_more, world.clock, world.sleep)
        assert not quota.stands and not await quota.take()
        quota.granted(grant(10), world.now)
        assert quota.stands and await quota.take()
        quota.answered()
        world.until(world.now + 9.0)
        assert not quota.stands and not await quota.take(), "asked for too long ago: it may be another's by now"
        quota.granted(grant(0), world.now)
        assert not await quota.take()
        quota.granted(grant(4), world.now)
        quota.granted(grant(10), world.now - 5.0)
        assert quota.ask().keep == 4, "an older answer changes nothing"

    asyncio.run(go())


def test_new_settings_of_a_worker_that_was_sending_wait_a_second() -> None:
    async def go() -> float:
        world = World(1, RTTS["quick"], 4)
        world.quota = quota = Quota(10, None, _no_more, world.clock, world.sleep)
        quota.granted(grant(10, held=10), world.now)
        before = world.now
        assert await quota.take()
        return world.now - before

    assert asyncio.run(go()) >= WINDOW_S - 1e-6


def test_a_days_calls_are_counted_one_by_one() -> None:
    async def go() -> tuple[int, int]:
        left = 25
        world = World(1, RTTS["quick"], 4)

        async def more(ask: Ask, calls: int) -> Grant:
            nonlocal left
            given = max(0, min(calls - ask.spare, left))
            left -= given
            return Grant(calls=given, day=DAY, day_left_s=100.0)

        world.quota = quota = Quota(None, 25, more, world.clock, world.sleep)
        assert await quota.take()
        quota.unused()
        sent = 0
        while await quota.take():
            sent += 1
            quota.answered()
        world.until(world.now + 200.0)
        assert quota.ask().spare == 0, "calls of a day that is over are not calls of the next"
        return sent, left

    assert asyncio.run(go()) == (25, 0)


def test_a_permit_not_used_serves_the_next() -> None:
    async def go() -> None:
        world = World(1, RTTS["quick"], 4)
        world.quota = quota = Quota(1, None, _no_more, world.clock, world.sleep)
        quota.granted(grant(1), world.now)
        assert await quota.take()
        quota.unused()
        assert quota.idle and quota.holds
        assert await quota.take()
        assert not quota.idle
        quota.forget()
        assert not quota.holds

    asyncio.run(go())


def test_a_fault_while_another_permit_is_asked_for_costs_none() -> None:
    """Between a log-in and its call the ledger does not answer: the call does not leave, and the share stays what it was."""

    async def go() -> None:
        async def more(_ask: Ask, _calls: int) -> Grant:
            raise ConnectionResetError

        quota = Quota(2, 10, more, clock=lambda: 1000.0)
        quota.ask()
        quota.granted(Grant(share=2, held=0, calls=1, day=date(2026, 9, 5), day_left_s=1000.0), 1000.0)
        before = quota._out
        assert await quota.take()
        assert not await quota.another()
        quota.answered()
        assert quota._out == before

    asyncio.run(go())


def test_another_permit_comes_only_after_the_first_has_served() -> None:
    """With a share of one, a log-in and its call are a second apart; where nothing comes, the first is still given back once."""

    async def go() -> None:
        now = [1000.0]

        async def sleep(seconds: float) -> None:
            now[0] += max(seconds, 0.001)

        async def more(_ask: Ask, _calls: int) -> Grant:
            raise AssertionError

        quota = Quota(1, None, more, clock=lambda: now[0], sleep=sleep)
        quota.ask()
        quota.granted(Grant(share=1, held=0), now[0])
        assert await quota.take()
        began = now[0]
        assert await quota.another() and now[0] - began >= WINDOW_S - 1e-6
        quota.answered()
        assert not quota.idle
        now[0] += 100.0  # the share has ended
        assert quota.idle

        quota.granted(Grant(share=1, held=0), now[0])
        assert await quota.take()
        now[0] += 100.0
        assert not await quota.another()
        quota.answered()  # its holder's, as ever
        now[0] += 100.0
        assert quota.idle

    asyncio.run(go())
