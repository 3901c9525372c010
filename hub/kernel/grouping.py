"""Group commit: arrivals of many senders share one transaction, and each gets its own answer after the commit.

While one batch commits, the next gathers; a timer is waited for only where a gap between batches was asked for. It must
never answer before the commit, never let one sender's arrival spoil another's, and never hold more than `most_waiting`
arrivals: beyond that it refuses, so that senders keep what they have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from hub.kernel.intake import Accepted, Arrival, Overloaded
from hub.kernel.ledger.core import TRANSIENT


class GroupCommit:
    """Batches calls of `accept`."""

    def __init__(
        self,
        accept: Callable[[list[Arrival]], Awaitable[list[Accepted]]],
        *,
        batch: int = 200,
        committers: int = 4,
        most_waiting: int = 5000,
        gap_s: float = 0.0,
    ) -> None:
        """`gap_s`: batches that are not full are begun at least this far apart, as one of many small ones costs the machine
        much the same as a large one. Whoever comes alone does not wait."""
        self._accept = accept
        self._gap_s = gap_s
        self._begun = float("-inf")
        self._batch = batch
        self._most = most_waiting
        self._committers = committers
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[Arrival, asyncio.Future[Accepted]]] = []

    @property
    def waiting(self) -> int:
        """Arrivals whose batch has not been begun."""
        return len(self._waiting)

    async def put(self, arrival: Arrival) -> Accepted:
        """Store one arrival with whoever comes at the same time. Raises `Overloaded`, or the database's own error."""
        if len(self._waiting) >= self._most:
            raise Overloaded
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, future))
        # Another committer only for a full batch: two half-empty commits cost the machine nearly twice as much as one.
        if not self._running or (self._running < self._committers and len(self._waiting) >= self._batch):
            self._running += 1
            task = asyncio.create_task(self._commit())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _commit(self) -> None:
        try:
            while self._waiting:
                wait = self._begun + self._gap_s - time.monotonic()
                if wait > 0 and len(self._waiting) < self._batch:
                    await asyncio.sleep(wait)
                    continue  # who came meanwhile may have been a full batch, and gone with another committer
                self._begun = time.monotonic()
                taken, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
                await self._take(taken)
        finally:
            self._running -= 1

    async def _take(self, taken: list[tuple[Arrival, asyncio.Future[Accepted]]]) -> None:
        """Commit a batch. Where something in it cannot be stored, halves of it, until what cannot fails by itself."""
        try:
            answers = await self._accept([arrival for arrival, _ in taken])
        except BaseException as error:
            if len(taken) > 1 and isinstance(error, Exception) and not isinstance(error, TRANSIENT):
                middle = len(taken) // 2
                await self._take(taken[:middle])
                await self._take(taken[middle:])
                return
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), answer in zip(taken, answers, strict=True):
            if not future.done():
                future.set_result(answer)
