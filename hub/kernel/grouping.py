"""Group commit: arrivals of many senders share one transaction, and each gets its own answer after the commit.

While one batch commits, the next gathers; a timer is waited for only where a gap between batches was asked for. A batch that
waits for something of its own (a key that somebody holds who stands still) is not waited for by others. It must
never answer before the commit, never let one sender's arrival spoil another's, and never hold more than `most_waiting`
arrivals: beyond that it refuses, so that senders keep what they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator

from hub.kernel.intake import Accepted, Arrival, Overloaded
from hub.kernel.ledger.core import TRANSIENT


class Gap:
    """How far apart batches that are not full are begun: `least_s`, and twice what commits take of late, up to `most_s`.

    A commit costs the machine much the same for three arrivals as for thirty. Where they take long it has no core to spare:
    fewer and larger ones give it back a quarter of its time, which all that waits for a core gains from.
    """

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s, self._most_s = least_s, most_s
        self._usual_s = 0.0

    def took(self, seconds: float) -> None:
        """Hear how long a commit took."""
        self._usual_s += (seconds - self._usual_s) / 8

    @property
    def seconds(self) -> float:
        """The gap as things are."""
        return min(self._most_s, max(self._least_s, 2 * self._usual_s))

    @property
    def strained(self) -> bool:
        """Whether commits take so long that no gap makes up for it: what can wait is to wait now."""
        return 1.5 * self._usual_s > self._most_s


_NOW_S = 1.0
_LATE_S = 0.25
"""A commit that takes longer is left to itself: the next one begins as if it were not there."""


class GroupCommit:
    """Batches calls of `accept`."""

    def __init__(
        self,
        accept: Callable[[list[Arrival]], Awaitable[list[Accepted]]],
        *,
        batch: int = 200,
        committers: int = 4,
        second: int | None = None,
        most_waiting: int = 5000,
        gap: Gap | None = None,
    ) -> None:
        """`gap`: how far apart batches that are not full are begun. Whoever comes alone does not wait. `second`: with so many
        waiting a second committer begins, so that the next batch is placed while the database writes this one; further ones,
        and without it the second as well, begin for full batches alone."""
        self._accept = accept
        self._gap = gap
        self._begun = float("-inf")
        self._batch = batch
        self._most = most_waiting
        self._committers = committers
        self._second = batch if second is None else min(second, batch)
        self._running = 0
        self._late = 0
        """Of these, commits that take long."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[Arrival, asyncio.Future[Accepted]]] = []

    @property
    def strained(self) -> bool:
        """Whether arrivals come here, and `Gap.strained`: one commit a long time ago says nothing about now."""
        return self._gap is not None and self._gap.strained and time.monotonic() - self._begun < _NOW_S

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
        self._begin()
        return await future

    def _begin(self) -> None:
        if self._running < self._committers and self._worth(self._running):
            self._running += 1
            task = asyncio.create_task(self._commit())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _worth(self, others: int) -> bool:
        """Whether what waits is worth a commit beside so many: two half-empty ones cost the machine nearly twice as much as one."""
        others -= self._late
        enough = 1 if others <= 0 else self._second if others == 1 else self._batch
        return len(self._waiting) >= enough

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Around a commit: once it takes long, whoever waits behind it need not any more."""
        noticed = False

        def late() -> None:
            nonlocal noticed
            noticed = True
            self._late += 1
            self._begin()

        timer = asyncio.get_running_loop().call_later(_LATE_S, late)
        try:
            yield
        finally:
            timer.cancel()
            self._late -= noticed

    async def _commit(self) -> None:
        try:
            while self._worth(self._running - 1):
                wait = self._begun + self._gap.seconds - time.monotonic() if self._gap is not None else 0.0
                if wait > 0 and len(self._waiting) < self._batch:
                    await asyncio.sleep(wait)
                    continue  # who came meanwhile may have been a full batch, and gone with another committer
                begun = self._begun = time.monotonic()
                taken, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
                with self._watched():
                    await self._take(taken)
                if self._gap is not None:
                    self._gap.took(time.monotonic() - begun)
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
