"""The bell: "there is work" between processes, through Redis, coalesced. It may be lost; every listener polls anyway.

It must never carry anything but the word for what changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger("hub.bell")

_CHANNEL = "lt:bell"
_READY_CHANNEL = "lt:bell:ready"
"""For the one word that is rung at every commit: only workers hear it."""
_READY = "ready"
_COALESCE_S = 0.005
_GAP_S = 0.02
"""Between two rings under load: ringing and hearing cost as much as a small commit."""


class Bell:
    """Rings and listens. Without Redis it rings only for listeners in its own process."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._pending: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._rung = float("-inf")
        self.local: list[Callable[[str], None]] = []

    def ring(self, what: str) -> None:
        """Say that `what` changed (`ready`, `connectors`, `codes`). Returns at once; several rings become one."""
        for listener in self.local:
            listener(what)
        if self._redis is None:
            return
        self._pending.add(what)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._publish())

    async def _publish(self) -> None:
        while self._pending:
            await asyncio.sleep(max(_COALESCE_S, self._rung + _GAP_S - time.monotonic()))
            words, self._pending = self._pending, set()
            self._rung = time.monotonic()
            for word in sorted(words):
                with contextlib.suppress(RedisError, OSError):
                    assert self._redis is not None
                    await self._redis.publish(_READY_CHANNEL if word == _READY else _CHANNEL, word)

    async def heard(self, *, ready: bool = False) -> AsyncIterator[str]:
        """What other processes rang; `ready` only for those who ask for it. Reconnects by itself; ends never. Yields `lost`
        after a gap, when anything may have changed."""
        channels = (_CHANNEL, _READY_CHANNEL) if ready else (_CHANNEL,)
        while self._redis is not None:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(*channels)
                    yield "lost"
                    while True:
                        # Shorter than the client's own socket timeout.
                        message = await channel.get_message(ignore_subscribe_messages=True, timeout=2.0)
                        if message is not None:
                            yield message["data"].decode()
            except (RedisError, OSError) as error:
                log.warning("bell: %s", error)
                await asyncio.sleep(1.0)
