"""A worker's part of a connector's quota: when the next call may leave.

One concern: never more calls in any second of the counterparty's than this worker's share, whatever happens on the way.
A call is counted over there somewhere between its leaving and its answer. So it takes a permit when it leaves, and the
permit comes back a second after its *answer*: then no second that holds one call can hold a call of that permit again.
Nothing is left free for delays, because none can do harm. It must never be asked to guess: without a share that
certainly stands, nothing leaves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import date

from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ledger.quotas import SHARE_S, Ask, Grant

_log = logging.getLogger(__name__)

WINDOW_S = 1.001
"""A second of the counterparty's, and what two clocks may differ by meanwhile."""
_STANDS_S = SHARE_S - 2.0
_RENEW_S = 3.0
_CATCH_UP_S = 0.25
_LOOK_S, _TICK_S = 0.05, 0.001
_MORE_CALLS = 8


class Quota:
    """Permits of one dispatcher. `more`: asks the ledger for a share or for calls of the day, apart from a claim."""

    def __init__(
        self,
        per_second: int | None,
        per_day: int | None,
        more: Callable[[Ask, int], Awaitable[Grant]],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.per_second = per_second
        self.per_day = per_day
        self._more = more
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._share = 0
        self._stands_until = self._asked_at = float("-inf")
        self._first = True
        self._not_before = self._next_at = float("-inf")
        self._out = 0
        self._back: deque[float] = deque()
        """When permits of answered calls come back, in order."""
        self.spare = 0
        """Calls of the day granted and not made."""
        self.day: date | None = None
        self._day_until = float("-inf")

    def ask(self) -> Ask:
        """What to ask the ledger for. From here until `granted` no more is sent than was asked to keep."""
        now = self._clock()
        if now >= self._day_until:
            self.spare = 0
        return Ask(
            per_second=self.per_second, per_day=self.per_day, keep=max(self._share, self._used(now)), spare=self.spare
        )

    def granted(self, grant: Grant, asked_at: float) -> None:
        """Take what the ledger granted to `ask`, asked for at `asked_at` of the clock."""
        if grant.share is not None and asked_at >= self._asked_at:
            self._share, self._asked_at = grant.share, asked_at
            self._stands_until = asked_at + _STANDS_S
            if self._first and grant.held:
                # This very worker had a share before, under other settings: what it sent last is not known here.
                self._not_before = self._clock() + WINDOW_S
            self._first = False
        if grant.calls is not None:
            if grant.day != self.day:
                self.spare = 0
            self.spare += grant.calls
            self.day, self._day_until = grant.day, asked_at + grant.day_left_s

    def stale(self) -> bool:
        """Whether a share in use should be asked for again."""
        return self.per_second is not None and self._clock() - self._asked_at > _RENEW_S

    @property
    def stands(self) -> bool:
        """Whether there is a share to take permits from."""
        return self.per_second is None or (self._share > 0 and self._clock() < self._stands_until)

    @property
    def idle(self) -> bool:
        """Whether nothing of the share is in use."""
        return self._used(self._clock()) == 0

    @property
    def holds(self) -> bool:
        """Whether there is anything to give back."""
        return self._share > 0 or self.spare > 0

    def forget(self) -> None:
        """Everything was given back."""
        self._share, self._stands_until, self.spare = 0, float("-inf"), 0

    def _used(self, now: float) -> int:
        back = self._back
        while back and back[0] <= now:
            back.popleft()
        return self._out + len(back)

    async def take(self) -> bool:
        """Wait for a permit; `answered` gives it back. False: the day's calls are used up, or the share has ended."""
        async with self._turn:
            if self.per_day is not None and not await self._of_the_day():
                return False
            if self.per_second is not None and not await self._of_the_second():
                return False
            if self.per_day is not None:
                self.spare -= 1
            return True

    async def _of_the_second(self) -> bool:
        while True:
            now = self._clock()
            if now >= self._stands_until or not self._share:
                return False
            at = max(self._next_at, self._not_before)
            if self._used(now) >= self._share:
                at = max(
                    at, self._back[0] if self._back and len(self._back) + self._out <= self._share else now + _LOOK_S
                )
            if at <= now:
                break
            await self._sleep(max(min(at - now, _LOOK_S), _TICK_S))
        # Evenly where it can be, and what came late may catch up: the permits are the bound, this is only courtesy.
        self._next_at = max(self._next_at + 1.0 / self._share, now - _CATCH_UP_S)
        self._out += 1
        return True

    async def _of_the_day(self) -> bool:
        now = self._clock()
        if self.spare > 0 and now < self._day_until:
            return True
        self.granted(await self._more(self.ask(), _MORE_CALLS), now)
        return self.spare > 0 and self._clock() < self._day_until

    async def another(self) -> bool:
        """The permit held has served a call made on the way to the one it was taken for (a log-in): wait for another for that.

        False: there is none, or the ledger cannot say, and the first stays with its holder, who gives it back as ever."""
        self.answered()
        taken = False
        try:
            taken = await self.take()
        except TRANSIENT:
            _log.warning("no answer about the quota: the call behind the log-in waits")
        finally:
            if not taken and self.per_second is not None:
                self._out += 1
        return taken

    def unused(self) -> None:
        """The permit taken is given back: the call did not leave."""
        if self.per_second is not None:
            self._out -= 1
        if self.per_day is not None:
            self.spare += 1

    def answered(self) -> None:
        """The call was answered, or will not be: its permit comes back a second from now."""
        if self.per_second is not None:
            self._out -= 1
            self._back.append(self._clock() + WINDOW_S)
