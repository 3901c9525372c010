"""The bridge's lanes: bounded queues of publications, and how a failure of the ledger is told from one of the content.

One concern: waiting. It must never drop an item or reorder a lane.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from hub.worker import bridge_metrics as metrics

T = TypeVar("T")


class Lane(Generic[T]):
    """First in, first out, for one writer and few readers on one event loop."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._taken_at = float("-inf")
        self._depth = metrics.DEPTH.labels(name)

    @property
    def depth(self) -> int:
        """Items waiting."""
        return len(self._items)

    @property
    def room(self) -> int:
        """Items that fit without waiting."""
        return max(0, self._capacity - len(self._items))

    def idle_s(self) -> float:
        """Seconds since anything was taken; infinite before the first time."""
        return time.monotonic() - self._taken_at

    async def put(self, items: Sequence[T]) -> None:
        """Add items, waiting while the lane is full. A batch goes in whole, so the bound may be passed by one batch."""
        if not items:
            return
        while len(self._items) >= self._capacity:
            self._drained.clear()
            await self._drained.wait()
        self._items.extend(items)
        self._depth.set(len(self._items))
        self._filled.set()

    async def filled(self, at_least: int = 1) -> None:
        """Wait for so many items. One that waits for many lets those who wait for few go first."""
        while len(self._items) < at_least:
            self._filled.clear()
            await self._filled.wait()

    async def emptied(self, patience_s: float) -> None:
        """Wait until nothing waits here, at most so long."""
        try:
            async with asyncio.timeout(patience_s):
                while self._items:
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            return  # the caller has waited long enough

    async def take(self, limit: int, gap_s: float = 0.0, at_least: int = 1, usual: int | None = None) -> list[T]:
        """`at_least` items of what gathered since the last batch: at most `limit`, and with `usual` no more than that, or
        than half of what waits if that is more, so that others have their share. Batches that are not full follow each
        other at least `gap_s` apart: a transaction costs much the same for three items as for thirty."""
        full = limit if usual is None else usual
        while True:
            await self.filled(at_least)
            wait = self._taken_at + gap_s - time.monotonic()
            if wait <= 0 or len(self._items) >= full:
                break
            await asyncio.sleep(wait)
        self._taken_at = time.monotonic()
        most = min(limit, max(full, len(self._items) // 2))
        taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        self._depth.set(len(self._items))
        self._drained.set()
        return taken


def is_data_fault(error: BaseException) -> bool:
    """Whether storing failed because of what was to be stored, so that another try of the same cannot succeed: SQLSTATE
    classes 22 (data) and 23 (integrity), and values that cannot be encoded at all."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in ("22", "23")
    return isinstance(error, ValueError | TypeError | OverflowError)
