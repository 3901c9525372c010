"""Transactions of one upload, one behind the other: the next is made ready while the one before is being written.

Each begins when the one before holds all of its locks, so that what both speak of comes in their order, and commits only after
it: a kill leaves the first so many of them. It must never let one be stored whose forerunner was not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hub.kernel.intake import Accepted


class OutOfTurn(ConnectionError):
    """Phần trước chưa ghi được; phần này lùi lại. / The part before could not be written yet: this one steps back and waits."""


class Forsaken(Exception):
    """Phần trước không nhận được, nên phần này cũng không. / The part before was not taken, so this one is not either."""


class Turn:
    """One transaction's place behind another's. Made in the order of the places, within the running loop."""

    def __init__(self, before: Turn | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._before = before
        self._locked: asyncio.Future[None] = loop.create_future()
        self._first: asyncio.Future[bool] = loop.create_future()
        self._ended: asyncio.Future[bool] = loop.create_future()

    async def take(self, once: Callable[[], Awaitable[list[Accepted]]]) -> list[Accepted]:
        """One try of this transaction, when its turn has come. Raises `Forsaken`, and whatever `once` does."""
        again = self._first.done()
        before = self._before
        if before is not None:
            await asyncio.shield(before._ended if again else before._locked)
            if before._ended.done() and not before._ended.result():
                raise Forsaken
        try:
            answers = await once()
        except BaseException:
            _say(self._first, False)
            raise
        # A conflict stores nothing of what was sent; what stands behind it was sent with it.
        _say(self._first, not any(a.conflict for a in answers))
        return answers

    def hold(self) -> None:
        """All that this transaction locks, it has locked."""
        if not self._locked.done():
            self._locked.set_result(None)

    async def follow(self) -> None:
        """Wait for the one before, just before this one's commit. Raises `OutOfTurn` when it has to be tried again."""
        before = self._before
        if before is None or await asyncio.shield(before._first):
            return
        if not (before._ended.done() and before._ended.result()):
            # Tried again, the one before may need what this one has locked.
            raise OutOfTurn

    def end(self, good: bool) -> None:
        """This transaction is tried no more; `good`: it is stored."""
        _say(self._first, good)
        _say(self._ended, good)
        self.hold()
        self._before = None


def _say(future: asyncio.Future[bool], good: bool) -> None:
    if not future.done():
        future.set_result(good)
