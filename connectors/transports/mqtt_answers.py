"""Answers to commands over MQTT: which publication answers which call, and how closely commands may follow each other.

One concern: that matching, and the pause each receiver needs. It must never take another receiver's word for an answer:
the topic counts, and the value the call named.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

_LANES_MOST = 20_000


class Wanted(Struct, frozen=True):
    """What a call waits for: a JSON object on `topic` whose member `key` has `value`."""

    topic: str
    key: str
    value: str
    gap_s: float


def wanted(headers: Mapping[str, str]) -> Wanted | None:
    """What a call's headers `reply-topic`, `reply-key`, `reply-value`, `gap-ms` ask for; None for a call that waits for
    the broker alone."""
    topic, key = headers.get("reply-topic"), headers.get("reply-key")
    if not topic or not key:
        return None
    gap = headers.get("gap-ms", "0")
    return Wanted(topic, key, headers.get("reply-value", ""), int(gap) / 1000 if gap.isdigit() else 0.0)


class Answers:
    """Calls that wait, by topic and value; one command at a time per receiver. For one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], asyncio.Future[bytes]] = {}
        self._keys: dict[str, str] = {}
        self._lanes: dict[str, asyncio.Lock] = {}
        self._free_at: dict[str, float] = {}

    def heard(self, topic: str, payload: bytes) -> None:
        """A publication came: hand it to the call that waits for it, if any does."""
        key = self._keys.get(topic)
        if key is None:
            return
        try:
            told: Any = json.loads(payload)
        except (ValueError, RecursionError):
            return
        if isinstance(told, dict) and isinstance(value := told.get(key), str | int):
            future = self._waiting.get((topic, str(value)))
            if future is not None and not future.done():
                future.set_result(payload)

    @asynccontextmanager
    async def turn(self, receiver: str, want: Wanted) -> AsyncIterator[asyncio.Future[bytes]]:
        """The receiver's turn, once the command before it is answered and its pause is over; gives the future answer."""
        if len(self._lanes) > _LANES_MOST:
            self._lanes = {name: lock for name, lock in self._lanes.items() if lock.locked()}
            self._free_at = {name: at for name, at in self._free_at.items() if at > time.monotonic()}
        async with self._lanes.setdefault(receiver, asyncio.Lock()):
            pause = self._free_at.get(receiver, 0.0) - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._waiting[want.topic, want.value] = future
            self._keys[want.topic] = want.key
            try:
                yield future
            finally:
                del self._waiting[want.topic, want.value]
                del self._keys[want.topic]
                self._free_at[receiver] = time.monotonic() + want.gap_s
