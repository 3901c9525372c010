"""The bridge's lanes: bounded queues of publications, and how a failure of the ledger is told from one of the content.

One concern: waiting. It must never drop an item or reorder a lane.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from hub.worker import bridge_metrics as metrics

T = TypeVar("T")


class Lane(Generic[T]):
    """First in, first out, for one writer and one reader on one event loop."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    @property
    def depth(self) -> int:
        """Items waiting."""
        return len(self._items)

    async def put(self, items: Sequence[T]) -> None:
        """Add items, waiting while the lane is full. A batch goes in whole, so the bound may be passed by one batch."""
        if not items:
            return
        while len(self._items) >= self._capacity:
            self._drained.clear()
            await self._drained.wait()
        self._items.extend(items)
        metrics.DEPTH.labels(self.name).set(len(self._items))
        self._filled.set()

    async def take(self, limit: int) -> list[T]:
        """At least one item, at most `limit`: what gathered during the last commit is the next batch."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
        metrics.DEPTH.labels(self.name).set(len(self._items))
        self._drained.set()
        return taken


def is_data_fault(error: BaseException) -> bool:
    """Whether storing failed because of what was to be stored, so that another try of the same cannot succeed: SQLSTATE
    classes 22 (data) and 23 (integrity), and values that cannot be encoded at all."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in ("22", "23")
    return isinstance(error, ValueError | TypeError | OverflowError)
