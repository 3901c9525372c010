"""The circuit breaker: stop calling a counterparty that keeps failing, and try it carefully before going on.

One concern: whether a call may be made now, agreed between all workers through Redis. It must never be the only
keeper of anything: Redis may be gone or flushed at any moment. Each worker remembers what it knows; a flushed Redis is
told again by whoever knows, and a worker that knows nothing finds no gate open: it starts with probes, as after a trip.

Every change of state raises the epoch; the higher epoch is the newer knowledge. Counters and probe tickets carry the
epoch in their name, so a new epoch starts clean. No scripting: MULTI, and WATCH where a change depends on what stands.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct
from pydantic import model_validator
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from connectors.declare import Declared, setting, wrong
from hub.kernel.ports import Text

State = Literal["closed", "open", "half_open"]

_KEEP_S = 7 * 86400
_REDIS_S = 0.5
_REDIS_AGAIN_S = 1.0
_BUCKETS = 6
_HALF_OPEN_S = 0.25
_MAX_STREAK = 6


class BreakerSettings(Declared):
    """When to stop calling and how to come back."""

    ABOUT = Text("Ngắt mạch", "Circuit breaker")
    failures: int = setting("Số lỗi để ngắt", "Failures that trip it", default=10, ge=1, le=100_000)
    ratio: float = setting("Tỷ lệ lỗi để ngắt", "Share of failures that trips it", default=0.5, gt=0, le=1)
    window_s: float = setting("Cửa sổ đếm (giây)", "Counting window (seconds)", default=30.0, ge=1, le=3600)
    open_s: float = setting("Thời gian ngắt (giây)", "Time open (seconds)", default=10.0, ge=0.1, le=3600)
    open_max_s: float = setting("Thời gian ngắt tối đa (giây)", "Longest time open (seconds)", default=300.0, ge=0.1)
    probes: int = setting("Lời gọi thăm dò", "Probes when half-open", default=2, ge=1, le=100)
    close_after: int = setting("Thăm dò đạt để mở lại", "Probe successes to close", default=1, ge=1, le=100)
    probe_s: float = setting("Chờ một thăm dò (giây)", "Wait for a probe (seconds)", default=60.0, ge=0.1, le=3600)

    @model_validator(mode="after")
    def _enough_probes(self) -> BreakerSettings:
        if self.close_after > self.probes:
            raise wrong("probes", "cần ít thăm dò đạt hơn số thăm dò", "needs no more successes than there are probes")
        return self


class Permit(Struct, frozen=True):
    """The answer to `allow`. `probe` and `epoch` go back into `record`. `after_s`: when to ask again."""

    ok: bool
    probe: bool = False
    epoch: int = 0
    after_s: float = 0.0


class _Known(Struct):
    """What a worker knows, and what stands in Redis. `until` in the clock's seconds."""

    state: Literal["closed", "open", "unknown"]
    epoch: int = 0
    until: float = 0.0
    streak: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Known).decode


class Breaker:
    """One connector's breaker in one worker. `redis` None: this worker decides alone. `clock`: epoch seconds, by a clock all
    workers share; `steady`: seconds that pass evenly, whatever that clock is set to."""

    def __init__(
        self,
        name: str,
        settings: BreakerSettings,
        redis: Redis | None,
        clock: Callable[[], float],
        *,
        steady: Callable[[], float] = time.monotonic,
        prefix: str = "lt:breaker",
        refresh_s: float = 0.2,
    ) -> None:
        self._key = f"{prefix}:{name}"
        self._s = settings
        self._redis = redis
        self._clock = clock
        self._steady = steady
        self._refresh_s = refresh_s
        self._known = _Known("unknown")
        self._until = 0.0
        """How long this worker takes an open breaker for open: never longer than the settings allow, whatever another's clock said.
        Like all that is this worker's alone in time that is measured, not read: a clock that is set must shut nobody out."""
        self._own: deque[tuple[float, bool]] = deque(maxlen=max(settings.failures * 4, 1024))
        self._unsent = [0, 0]  # successes and failures not yet added to the shared counters
        self._shared = [0, 0]  # the shared counters when last read
        self._synced_at = float("-inf")
        self._redis_again_at = float("-inf")
        self._tickets: deque[float] = deque()
        self._won = 0
        self._syncing = asyncio.Lock()

    @property
    def state(self) -> State:
        """As this worker knows it now."""
        if self._known.state == "closed":
            return "closed"
        return "open" if self._known.state == "open" and self._steady() < self._until else "half_open"

    async def allow(self) -> Permit:
        """Whether a call may be made now. In the closed state usually no input or output."""
        await self._sync()
        now, state = self._steady(), self.state
        if state == "closed":
            return Permit(True, epoch=self._known.epoch)
        if state == "open":
            return Permit(False, epoch=self._known.epoch, after_s=self._until - now)
        if await self._ticket(now):
            return Permit(True, probe=True, epoch=self._known.epoch)
        return Permit(False, epoch=self._known.epoch, after_s=min(_HALF_OPEN_S, self._s.probe_s))

    def stands(self, permit: Permit) -> bool:
        """Whether a probe's leave that was not used may be used now."""
        return self.state == "half_open" and permit.epoch == self._known.epoch

    async def record(self, permit: Permit, ok: bool) -> None:
        """What became of an allowed call. Failures are those of the counterparty's reachability (`NotSent`,
        `MaybeSent`, 5xx), not refusals of content or credentials. Late news of an earlier epoch is ignored."""
        if permit.epoch != self._known.epoch:
            return
        now = self._steady()
        if permit.probe or self._known.state != "closed":
            await self._probed(ok)
            return
        self._own.append((now, ok))
        if self._redis is not None:
            self._unsent[0 if ok else 1] += 1
        if not ok:
            await self._sync(force=True)
            if self._known.state == "closed" and self._too_many(now):
                await self._change(self._opened(1))

    async def trip(self) -> None:
        """Open now, whatever was counted."""
        await self._change(self._opened(self._known.streak + 1))

    # -- deciding

    def _too_many(self, now: float) -> bool:
        while self._own and self._own[0][0] < now - self._s.window_s:
            self._own.popleft()
        own_bad = sum(not ok for _, ok in self._own)
        # The shared counters hold this worker's own as well; alone, only its own speak.
        good = max(self._shared[0] + self._unsent[0], len(self._own) - own_bad)
        bad = max(self._shared[1] + self._unsent[1], own_bad)
        return bad >= self._s.failures and bad / (bad + good) >= self._s.ratio

    def _opened(self, streak: int) -> _Known:
        length = min(self._s.open_s * 2.0 ** min(streak - 1, _MAX_STREAK), self._longest_s)
        return _Known("open", self._known.epoch + 1, self._clock() + length, streak)

    async def _probed(self, ok: bool) -> None:
        if not ok:
            await self._change(self._opened(self._known.streak + 1))
            return
        self._won += 1
        won = await self._count(f"{self._key}:won:{self._known.epoch}")
        if max(self._won, won or 0) >= self._s.close_after:
            await self._change(_Known("closed", self._known.epoch + 1))

    async def _ticket(self, now: float) -> bool:
        """One of the epoch's few probes, over all workers; tickets come back when their time is up."""
        while self._tickets and self._tickets[0] <= now - self._s.probe_s:
            self._tickets.popleft()
        if len(self._tickets) >= self._s.probes:
            return False
        taken = await self._count(f"{self._key}:probe:{self._known.epoch}")
        if taken is not None and taken > self._s.probes:
            return False
        self._tickets.append(now)
        return True

    @property
    def _longest_s(self) -> float:
        return max(self._s.open_max_s, self._s.open_s)

    def _adopt(self, known: _Known) -> None:
        if known.epoch != self._known.epoch or known.state != self._known.state:
            self._own.clear()
            self._tickets.clear()
            self._unsent, self._shared, self._won = [0, 0], [0, 0], 0
        self._known = known
        self._until = self._steady() + min(known.until - self._clock(), self._longest_s)

    # -- speaking with Redis

    async def _change(self, wanted: _Known) -> None:
        """Take a new state, unless Redis holds newer knowledge, which is taken instead."""
        before = self._known.epoch
        stands = await self._talk(lambda redis: self._put(redis, wanted))
        if self._known.epoch == before:
            self._adopt(stands or wanted)

    async def _sync(self, force: bool = False) -> None:
        if self._redis is None:
            if self._known.state == "unknown":
                # Nobody to have known better: a worker alone starts closed.
                self._adopt(_Known("closed", self._known.epoch + 1))
            return
        if not force and self._steady() - self._synced_at < self._refresh_s:
            return
        if self._syncing.locked() and not force:
            return
        async with self._syncing:
            await self._talk(self._exchange)

    async def _exchange(self, redis: Redis) -> None:
        """Add what was counted here, read what is known there; tell it what it has forgotten."""
        now, epoch = self._clock(), self._known.epoch
        good, bad = self._unsent
        length = self._s.window_s / _BUCKETS
        bucket = int(now // length)
        names = [f"{self._key}:{epoch}:{b}" for b in range(bucket - _BUCKETS + 1, bucket + 1)]
        async with redis.pipeline(transaction=True) as pipe:
            for name, amount in (("ok", good), ("bad", bad)):
                if amount:
                    pipe.hincrby(names[-1], name, amount)
            if good or bad:
                pipe.expire(names[-1], int(self._s.window_s) + 5)
            pipe.get(self._key)
            for name in names:
                pipe.hmget(name, "ok", "bad")
            answers = await pipe.execute()
        self._synced_at = self._steady()
        if self._known.epoch != epoch:
            return
        self._unsent = [self._unsent[0] - good, self._unsent[1] - bad]
        counts = answers[-_BUCKETS:]
        self._shared = [sum(int(c[i] or 0) for c in counts) for i in (0, 1)]
        there = _read(answers[-_BUCKETS - 1])
        if there is not None and _newer(there, self._known):
            self._adopt(there)
        elif self._known.state != "unknown" and (there is None or _newer(self._known, there)):
            self._adopt(await self._put(redis, self._known))

    async def _put(self, redis: Redis, wanted: _Known) -> _Known:
        """Store `wanted` unless something newer stands; gives what stands then."""
        async with redis.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(self._key)
                    there = _read(await pipe.get(self._key))
                    if there is not None and not _newer(wanted, there):
                        return there
                    pipe.multi()
                    pipe.set(self._key, _encode(wanted), ex=_KEEP_S)
                    await pipe.execute()
                    return wanted
                except WatchError:
                    continue

    async def _count(self, key: str) -> int | None:
        async def count(redis: Redis) -> int:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.set(key, 0, nx=True, px=max(int(self._s.probe_s * 1000), 1))
                pipe.incr(key)
                return int((await pipe.execute())[-1])

        taken: int | None = await self._talk(count)
        return taken

    async def _talk(self, say: Callable[[Redis], Any]) -> Any:
        """Speak with Redis; None when it cannot be spoken with, and then not again for a moment."""
        if self._redis is None or self._steady() < self._redis_again_at:
            return None
        try:
            async with asyncio.timeout(_REDIS_S):
                return await say(self._redis)
        except (RedisError, OSError, TimeoutError):
            self._redis_again_at = self._steady() + _REDIS_AGAIN_S
            self._synced_at = self._steady()
            # What was shared is no longer known and grows old; from here on this worker's own window speaks alone.
            self._unsent, self._shared = [0, 0], [0, 0]
            return None


def _newer(one: _Known, other: _Known) -> bool:
    """Whether `one` is to be believed over `other`: the higher epoch; at the same epoch the careful one."""
    return (one.epoch, one.state == "open", one.until) > (other.epoch, other.state == "open", other.until)


def _read(raw: bytes | str | None) -> _Known | None:
    if raw is None:
        return None
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        return None
