"""Requests per second and client, counted in Redis over all gateways without a request ever waiting for it.

Each gateway adds up what came since it last spoke with Redis and hears the whole city's count in return; between two
such talks it knows its own requests exactly and the others' from a moment ago. It must never hold up a request, nor
refuse one because Redis is away.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

_GATHER_S = 0.05
_TALK_S = 0.2
_AGAIN_S = 2.0
_KEEP_S = 3


@dataclass
class _Second:
    """One client's requests in one second: `known` over all gateways, `unsent` of this one not yet told."""

    second: int
    known: int = 0
    unsent: int = 0


class Rates:
    """Counts for one gateway."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._seconds: dict[str, _Second] = {}
        self._dirty: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._again_at = 0.0

    def count(self, client: str) -> int | None:
        """Count a request; how many the client has made this second, None while nobody counts."""
        if self._redis is None or time.monotonic() < self._again_at:
            return None
        second = int(time.time())
        entry = self._seconds.get(client)
        if entry is None or entry.second != second:
            entry = self._seconds[client] = _Second(second)
        entry.unsent += 1
        self._dirty.add(client)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._tell())
        return entry.known + entry.unsent

    async def _tell(self) -> None:
        while self._dirty:
            await asyncio.sleep(_GATHER_S)
            clients, self._dirty = sorted(self._dirty), set()
            entries = [self._seconds[c] for c in clients]
            amounts = [e.unsent for e in entries]
            try:
                assert self._redis is not None
                async with asyncio.timeout(_TALK_S), self._redis.pipeline(transaction=False) as pipe:
                    for client, entry, amount in zip(clients, entries, amounts, strict=True):
                        name = f"lt:rate:{client}:{entry.second}"
                        pipe.incrby(name, amount)
                        pipe.expire(name, _KEEP_S)
                    answers = await pipe.execute()
            except (RedisError, OSError, TimeoutError):
                # Without Redis there is no limit: availability first. The next requests do not even count.
                self._again_at = time.monotonic() + _AGAIN_S
                self._dirty.clear()
                return
            for entry, amount, used in zip(entries, amounts, answers[::2], strict=True):
                entry.known, entry.unsent = int(used), entry.unsent - amount
