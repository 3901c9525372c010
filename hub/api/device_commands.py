"""Commands waiting for gates to ask for them.

One concern: a short queue per gate. It may be lost at any time: whoever asked asks again, and every command may be
carried out twice. It must never hold more than a few commands for a gate that does not come."""

from __future__ import annotations

from collections import deque
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

_MOST = 20
_DAY_S = 86_400


class Commands:
    """The queues: in Redis, so that every gateway sees them; without Redis in this process."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis: Any = redis
        self._own: dict[str, deque[bytes]] = {}

    async def put(self, device: str, command: dict[str, Any]) -> None:
        """Queue a command for a device's next poll. Raises `RedisError` or `OSError` when Redis is away."""
        line, name = orjson.dumps(command), f"lt:gate-commands:{device}"
        if self._redis is None:
            self._own.setdefault(device, deque(maxlen=_MOST)).append(line)
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            await pipe.rpush(name, line).ltrim(name, -_MOST, -1).expire(name, _DAY_S).execute()

    async def take(self, device: str) -> dict[str, Any] | None:
        """The oldest queued command, taken off the queue; None when there is none or Redis is away."""
        line: Any = None
        if self._redis is None:
            queue = self._own.get(device)
            line = queue.popleft() if queue else None
        else:
            try:
                line = await self._redis.lpop(f"lt:gate-commands:{device}")
            except (RedisError, OSError):
                return None
        return orjson.loads(line) if line else None
