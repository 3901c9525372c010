"""Reading once for many who ask: screens on walls, and whoever scrapes the metrics.

One concern: that watching never becomes the load. Whatever is slow is read by one at a time, and seldomer the slower it
is. It must never be asked for what a decision hangs on: an answer may be old.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from hub.kernel.ledger.accounting import Account, account
from hub.kernel.ledger.core import TRANSIENT, Core

log = logging.getLogger("hub.api")

_ACCOUNT_EVERY_S, _OFF_EVERY_S = 60.0, 5.0
_ACCOUNT_WAIT_S = 1.5


class Shared:
    """One reader for many who ask: an answer younger than `fresh_s` is given again, and two never ask at once.

    An answer that was slow to make is kept ten times as long as it took.
    """

    def __init__(self) -> None:
        self._found: dict[Any, tuple[float, Any]] = {}
        """Until when an answer is good, and the answer."""
        self._locks: dict[Any, asyncio.Lock] = {}
        self._forgotten = 0

    async def get(self, key: Any, fresh_s: float, make: Callable[[], Awaitable[Any]]) -> Any:
        """The answer for `key`, made anew when it is too old."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            until, found = self._found.get(key, (float("-inf"), None))
            began = time.monotonic()
            if began > until:
                if len(self._found) > 500:
                    self._found.clear()
                times = self._forgotten
                found = await make()
                ended = time.monotonic()
                if times == self._forgotten:  # else it may be of before, and is for who asked before alone
                    self._found[key] = (ended + max(fresh_s, 10 * (ended - began)), found)
            return found

    def forget(self) -> None:
        """What is asked for next is made anew: somebody has just changed it, and looks for what they did. What is being
        made is not kept."""
        self._forgotten += 1
        self._found.clear()


class Books:
    """The accounting identity, counted in the background at most once a minute, and seldomer where counting is slow: it
    takes one connection, for at most a twentieth of the time."""

    def __init__(self) -> None:
        self.found: Account | None = None
        self.at: datetime | None = None
        """When the last count that succeeded ended."""
        self._took_s = 0.0
        self._began = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def look(self, core: Core) -> Account | None:
        """The last count; waits a moment for the first. None: still counting, or the last one failed."""
        pause = max(_ACCOUNT_EVERY_S if self.found is None or self.found.balanced else _OFF_EVERY_S, 20 * self._took_s)
        if (self._task is None or self._task.done()) and time.monotonic() - self._began > pause:
            self._began = time.monotonic()
            self._task = asyncio.create_task(self._count(core))
        if self.found is None and self._task is not None:
            await asyncio.wait({self._task}, timeout=_ACCOUNT_WAIT_S)
        return self.found

    async def _count(self, core: Core) -> None:
        try:
            self.found = await account(core)
            self.at = datetime.now(UTC)
        except TRANSIENT as error:
            self.found = None
            log.warning("the accounts could not be counted: %s: %s", type(error).__name__, error)
        except Exception:
            self.found = None  # what was true a minute ago must not stand for what nobody can tell now
            log.exception("the accounts could not be counted")
        finally:
            self._took_s = time.monotonic() - self._began
