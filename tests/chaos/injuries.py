"""What is done to the hub, its servers and its counterparties: each injury bounded in time, drawn by seed, written down.

One concern: hurting. It must never leave a process stopped or a fault on behind itself, nor judge what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapters.faults import FAULTS
from hub.kernel.ledger import operations, replays
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ledger.replays import ReplayFilter
from hub.kernel.lifecycle import State
from tests.chaos.comparing import EVERY_S
from tests.chaos.deck import Deck
from tests.chaos.disk import said_full
from tests.chaos.keeping import kept_up
from tests.chaos.verdict import HTTP, MQTT, PUSHES, Window
from tests.chaos.world import HUB, LEASE_S, SYSTEMS, World, now

_DAY_S = 86_400.0
GRACE_S = 10.0
"""How long a process may take to end when it is asked to."""
LONG_S = 30.0
"""How long a counterparty that is slow in earnest takes over an answer, which is waited for."""
_FULL_S, _FULL_MOST_S = 3.0, 15.0
"""How long the disk stays full at least, and at most when PostgreSQL has not asked for room meanwhile."""
_NOTICED_S = 2.0
"""Within which the last refusal of an account has paused its connector."""


class Injury(Struct, kw_only=True):
    """One thing done. `at_s`: seconds since the run began; `took_s`: until it was over."""

    name: str
    at_s: float
    took_s: float = 0.0
    failed: str | None = None
    """What was promised of the injury itself and not kept (a slow end on SIGTERM)."""


class Injuries:
    """Carries injuries out, one at a time: those it is told, or what a deck deals."""

    def __init__(self, world: World, seed: int, deck: Deck | None = None) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.log: list[Injury] = []
        self.windows: list[Window] = []
        self._began = time.monotonic()
        self._recovered_at = 0.0
        self.kinds: dict[str, Callable[[], Awaitable[str | None]]] = {
            **{f"kill {n}": self._kill(n) for n in (*HUB, "postgres", "redis", "mqtt", *SYSTEMS)},
            **{f"freeze {n}": self._freeze(n) for n in (*HUB, "postgres", "redis", "mqtt", *SYSTEMS)},
            **{f"end {n}": self._end(n) for n in HUB},
            **{f"end {n} while postgres stands still": self._end_unanswered(n) for n in HUB},
            **{f"fault {kind} at {system}": self._fault(system, kind) for kind in FAULTS for system in SYSTEMS},
            **{f"{system} slow for {LONG_S:g} s": self._slow(system) for system in SYSTEMS},
            **{f"wrong clock at {n}": self._clock(n) for n in ("gateway", "bridge", "worker-1")},
            "two owners": self._two_owners,
            "flush redis": self._flush,
            "replay during an outage": self._replay,
            "upkeep": lambda: kept_up(self.world),
            "kill both workers": self._both,
            **({"full disk": self._full} if world.disk is not None else {}),
        }
        # Those that are slow in earnest fill half a part: they are asked for by name.
        self.deck = deck or Deck((k for k in self.kinds if " slow for " not in k), seed)

    async def run(self, seconds: float, only: list[str] | None = None) -> None:
        """Injure: everything in `only`, however long it takes, else what the deck deals until the time is over."""
        end = time.monotonic() + seconds
        queue = list(only or [])
        while queue if only is not None else time.monotonic() < end:
            await self.inflict(queue.pop(0) if only is not None else self.deck.deal())
            await asyncio.sleep(self.rng.uniform(0.1, 0.6))

    async def inflict(self, name: str) -> None:
        """Carry one injury out and write it down."""
        injury = Injury(name=name, at_s=round(time.monotonic() - self._began, 2))
        self.log.append(injury)
        started = time.monotonic()
        try:
            injury.failed = await self.kinds[name]()
        finally:
            injury.took_s = round(time.monotonic() - started, 2)

    # ------------------------------------------------------------------ kinds

    def _kill(self, name: str) -> Callable[[], Awaitable[str | None]]:
        async def work() -> None:
            self._hurt(name)
            await asyncio.sleep(self.rng.uniform(0.2, 1.0))
            if self.rng.random() < 0.3:  # again while it starts
                self._hurt(name)
            await self._up(name)

        return work

    def _freeze(self, name: str) -> Callable[[], Awaitable[str | None]]:
        async def work() -> None:
            self.world.freeze(name)
            try:
                await self._window(f"freeze {name}", self.rng.uniform(1.0, 3.0), _healthy_without(name))
            finally:
                self.world.thaw(name)

        return work

    def _end(self, name: str) -> Callable[[], Awaitable[str | None]]:
        async def work() -> str | None:
            failed = await self._told_to_end(name)
            await self._up(name)
            return failed

        return work

    def _end_unanswered(self, name: str) -> Callable[[], Awaitable[str | None]]:
        async def work() -> str | None:
            self.world.freeze("postgres")
            try:
                await asyncio.sleep(self.rng.uniform(0.2, 1.0))
                failed = await self._told_to_end(name)
            finally:
                self.world.thaw("postgres")
            self._recovered_at = time.monotonic() + LEASE_S + 3.0
            await self._up(name)
            return failed

        return work

    async def _told_to_end(self, name: str) -> str | None:
        started = time.monotonic()
        pid = self.world.supervisor.pid(name)
        if pid is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        while self.world.supervisor.pid(name) == pid:
            if time.monotonic() - started > GRACE_S:
                self.world.kill(name)
                return f"{name} had not ended {GRACE_S:g} s after SIGTERM"
            await asyncio.sleep(0.02)
        return None

    def _clock(self, name: str) -> Callable[[], Awaitable[str | None]]:
        """A process that comes back believing it is yesterday, or tomorrow, works on, and is put right."""

        async def work() -> None:
            await self.world.supervisor.stop(name)
            try:
                await self.world.boot(name, clock_s=self.rng.choice((-_DAY_S, _DAY_S)))
                await asyncio.sleep(self.rng.uniform(2.0, 4.0))
                await self.world.supervisor.stop(name)
            finally:
                await self.world.boot(name, wait=False)
            self._recovered_at = time.monotonic() + LEASE_S + 3.0
            await self._up(name)

        return work

    def _fault(self, system: str, kind: str) -> Callable[[], Awaitable[str | None]]:
        async def work() -> None:
            for_s = self.rng.uniform(1.0, 3.0)
            delay = _DELAY_S.get(kind, 0.1)
            if system == "public_service" and kind == "slow":
                delay = 0.6  # a portal that carries an update out after the caller gave up has no order to keep: see README.md
            await self.world.fault(system, kind, for_s=for_s, delay_s=delay)
            await self._window(f"{kind} at {system}", for_s, _healthy_without(system))
            if kind == "expired_session":
                await self._let_in_again(system)

        return work

    async def _let_in_again(self, system: str) -> None:
        """Whose account is refused is paused until a person has seen to it: that person, once it is good again."""
        end = time.monotonic() + _NOTICED_S
        while time.monotonic() < end:
            with contextlib.suppress(*TRANSIENT):
                await operations.resume(self.world.house.core, "chaos", system)
            await asyncio.sleep(0.2)

    def _slow(self, system: str) -> Callable[[], Awaitable[str | None]]:
        """Every answer takes half a minute and is waited for: all that may be sent at once is on its way, and others go on."""

        async def work() -> None:
            await self.world.settings_of(system, timeouts={"connect_s": 0.8, "read_s": LONG_S + 10.0})
            try:
                await asyncio.sleep(1.0)  # so that the workers have heard
                await self.world.fault(system, "slow", for_s=LONG_S, delay_s=LONG_S)
                await self._window(f"{system} slow for {LONG_S:g} s", LONG_S, _healthy_without(system))
                await asyncio.sleep(LONG_S)  # what was asked last is answered last
            finally:
                await self.world.settings_of(system)

        return work

    async def _two_owners(self) -> None:
        """A worker stopped past its lease: another takes what it holds, then it wakes and believes in its claims."""
        name = self.rng.choice(("worker-1", "worker-2"))
        self.world.freeze(name)
        try:
            await self._window(f"{name} past its lease", LEASE_S + 2.0, (*_ASKED, *_WAYS_IN))
        finally:
            self.world.thaw(name)

    async def _both(self) -> None:
        self._hurt("worker-1")
        self._hurt("worker-2")
        await asyncio.sleep(0.1)
        await self._up("worker-1")
        await self._up("worker-2")

    async def _flush(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            redis = Redis.from_url(self.world.runner.env["LT_REDIS_URL"])
            await redis.flushall()
            await redis.aclose()

    async def _replay(self) -> str | None:
        """The Ministry is away while all it ever took is sent again: it knows the versions, so nothing is doubled."""
        wanted = ReplayFilter(connector="ministry", states=[State.DELIVERED])
        mode: Literal["as_sent", "remap"] = "remap" if self.world.expired else self.rng.choice(("as_sent", "remap"))
        await self.world.fault("ministry", "down_503", for_s=60.0)
        try:
            ordering = asyncio.create_task(
                self.world.patiently(lambda: replays.replay(self.world.house.core, "chaos", wanted, mode, "chaos"))
            )
            await self._window("replay during an outage", 2.0, _healthy_without("ministry"))
            queued: int = (await ordering).queued
        finally:
            await self.world.fault("ministry", "none")
        return None if queued else "there was nothing to replay"

    async def _full(self) -> str | None:
        """Not a byte is left for PostgreSQL, until it has met that; a while later there is room again."""
        assert self.world.disk is not None
        filler, began = self.world.disk / "filler", time.monotonic()
        said, met = said_full(self.world.folder), False
        try:
            while (passed := time.monotonic() - began) < _FULL_S or (not met and passed < _FULL_MOST_S):
                room = os.statvfs(self.world.disk)
                with contextlib.suppress(OSError), filler.open("ab") as file:
                    file.write(bytes(room.f_bavail * room.f_bsize))
                await asyncio.sleep(0.05)
                before, said = said, said_full(self.world.folder)
                met |= said > before  # at once: each start puts a log away, and the oldest is lost
        finally:
            filler.unlink(missing_ok=True)
        self._recovered_at = time.monotonic() + LEASE_S + 3.0
        await self._up("postgres")
        return None if met else f"PostgreSQL did not meet the full disk in {_FULL_MOST_S:g} s"

    # ------------------------------------------------------------------ helpers

    def _hurt(self, name: str) -> None:
        self.world.kill(name)
        # A worker has no sign of being ready, and what it held is another's only when its lease has ended.
        self._recovered_at = time.monotonic() + (LEASE_S + 3.0 if name in HUB or name == "postgres" else 1.0)

    async def _window(self, name: str, seconds: float, healthy: tuple[str, ...]) -> None:
        """Let an injury last, and ask of the oracle that others went on meanwhile (from a short while into it)."""
        start = now()
        await asyncio.sleep(seconds)
        # What was on its way when it began needs no healthy path; a short injury proves nothing, nor one upon another.
        if seconds >= 2.0 and time.monotonic() - seconds > self._recovered_at:
            # A few seconds may pass with little to do: there a moment after it counts as well. A long one has time enough of its own.
            after = timedelta(seconds=1.0 if seconds < EVERY_S else 0.0)
            begun = start + timedelta(seconds=0.3)
            self.windows.append(Window(name=name, start=begun, end=now() + after, healthy=healthy))

    async def _up(self, name: str) -> None:
        end = time.monotonic() + 15
        while self.world.supervisor.state(name) != "up" and time.monotonic() < end:
            await asyncio.sleep(0.05)


_DELAY_S = {"slow": 1.6, "commit_then_timeout": 0.05, "half_open": 0.05}
"""`delay_s` of faults, a tenth of a second for others; those that hold a connection hold it sixty times as long. Slow is longer
than an answer is waited for: for half a minute of it see `_slow`."""


_ASKED = ("ministry", "public_service")
"""Systems that are sent something without pause."""
_WAYS_IN = (PUSHES, MQTT, HTTP)
_HEALTHY: dict[str, tuple[str, ...]] = {
    "gateway": ("ministry", MQTT),
    "bridge": (*_ASKED, PUSHES, HTTP),
    "mqtt": (*_ASKED, PUSHES, HTTP),
    "redis": (*_ASKED, *_WAYS_IN),
    "worker-1": ("ministry", *_WAYS_IN),
    "worker-2": ("ministry", *_WAYS_IN),
}


def _healthy_without(name: str) -> tuple[str, ...]:
    """Systems and ways in to which a healthy path leads while `name` is hurt."""
    if name in SYSTEMS:
        return (*(s for s in _ASKED if s != name), *_WAYS_IN)
    return _HEALTHY.get(name, ())
