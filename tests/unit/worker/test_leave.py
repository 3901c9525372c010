"""The breaker's leave within one dispatcher: none is taken for nothing, none goes unused."""

from __future__ import annotations

import asyncio

from connectors.policy.breaker import Breaker, BreakerSettings
from hub.worker.leave import Leave

RULES = BreakerSettings(
    failures=1, ratio=0.1, window_s=30, open_s=10, open_max_s=10, probes=1, close_after=1, probe_s=60
)


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


async def something() -> bool:
    return True


async def nothing() -> bool:
    return False


def half_open() -> tuple[Leave, Clock, Breaker]:
    clock = Clock()
    breaker = Breaker("x", RULES, None, clock, steady=clock)
    asyncio.run(breaker.trip())
    clock.now += 10.1
    assert breaker.state == "half_open"
    return Leave(breaker), clock, breaker


def test_where_there_is_nothing_to_do_the_only_ticket_stays_for_others() -> None:
    leave, _, breaker = half_open()

    async def go() -> None:
        for _ in range(5):
            assert await leave.take(nothing) is None
        assert (await breaker.allow()).probe, "another worker's, or the other half of this one"

    asyncio.run(go())


def test_a_probe_that_led_to_no_call_is_the_next_ones() -> None:
    leave, _, breaker = half_open()

    async def go() -> None:
        permit = await leave.take(something)
        assert permit is not None and permit.probe and await leave.take(something) is None
        leave.keep(permit)
        assert await leave.take(nothing) is None, "not yet"
        assert await leave.take(something) is permit
        await leave.told(permit, True)
        assert breaker.state == "closed"
        leave.keep(permit)
        after = await leave.take(nothing)
        assert after is not None and not after.probe, "of an epoch that is over nothing is left"

    asyncio.run(go())


def test_while_it_is_not_closed_only_a_probe_begins() -> None:
    clock = Clock()
    breaker = Breaker("x", RULES, None, clock, steady=clock)
    leave = Leave(breaker)

    async def go() -> None:
        before = await leave.take(nothing)
        first = await leave.take(something)
        before = before or first
        assert before is not None and leave.holds(before)
        await breaker.trip()
        assert not leave.holds(before) and await leave.take(something) is None
        clock.now += 10.1
        probe = await leave.take(something)
        assert probe is not None and leave.holds(probe) and not leave.holds(before)

    asyncio.run(go())
