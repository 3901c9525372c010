"""Gates over HTTP that ask too much or begin anew again and again: served one after the other, behind everybody else.

One concern: whose turn it is. Nothing a gate says is dropped: one that finds too many before it is told to come back, and it
keeps what it has. It must never let gates that are held back take more than their few places, one of them more than one, or a
place while its bytes are still on their way, nor hold back another for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from prometheus_client import Counter

from hub.kernel.intake import Overloaded
from hub.worker.gate_guard import FLAPPING, FLOOD, Guard, GuardOptions

PLACES = 2
"""Requests of gates held back that are worked on at once, all of them together."""
WAITING_MOST = 40
"""So many more may wait; a gate beyond them comes again."""

OPTIONS = GuardOptions(per_s=20.0, burst=200.0)
ACCOUNT_OPTIONS = GuardOptions(per_s=400.0, burst=4000.0)
"""For an account that speaks for many cameras through one address."""

HELD = Counter("gate_requests_held_total", "Requests of gates that are held back, by what became of them", ["outcome"])


class Sluice:
    """One per gateway. `accounts`: families whose entries speak for many devices."""

    def __init__(self, accounts: frozenset[str] = frozenset(), guard: Guard | None = None) -> None:
        self._accounts = accounts
        self.guard = guard or Guard(OPTIONS)
        self.account_guard = Guard(ACCOUNT_OPTIONS)
        self._places = asyncio.Semaphore(PLACES)
        self._waiting = 0
        self._in_turn: set[str] = set()
        self._addresses: dict[str, str] = {}  # of registered devices, hence bounded

    def standing(self) -> dict[str, list[str]]:
        """Gates held back now, by kind."""
        one, other = self.guard.standing(), self.account_guard.standing()
        return {kind: sorted(set(one[kind]) | set(other[kind])) for kind in (FLOOD, FLAPPING)}

    def began(self, device: str) -> None:
        """A gate begins anew (it asks for its options): it was off, or somebody else says its name."""
        self.guard.presence(device, False)
        self.guard.presence(device, True)

    def came_from(self, family: str, device: str, address: str) -> None:
        """A gate that comes from one address and then another is two devices with one credential, or one behind two lines
        or proxies: worth an alarm, no reason to hold it back."""
        if family in self._accounts:
            return
        if self._addresses.setdefault(device, address) != address:
            self._addresses[device] = address
            self.guard.presence(device, False, claimed=True)
            self.guard.presence(device, True, claimed=True)

    @asynccontextmanager
    async def turn(
        self, family: str, device: str, patience_s: float
    ) -> AsyncIterator[AbstractAsyncContextManager[None]]:
        """A gate's turn, and the place it is to be worked on in once all of it has come: at once, or behind all others when
        it is held back, and then one request of it after the other. Raises `Overloaded`, as the place does: let it come again."""
        guard = self.account_guard if family in self._accounts else self.guard
        if not guard.sent(device, True):
            yield nullcontext()
            return
        if device in self._in_turn:
            HELD.labels("put_off").inc()
            raise Overloaded
        self._in_turn.add(device)
        try:
            yield self._place(patience_s)
        finally:
            self._in_turn.discard(device)

    @asynccontextmanager
    async def _place(self, patience_s: float) -> AsyncIterator[None]:
        if self._waiting >= WAITING_MOST:
            HELD.labels("put_off").inc()
            raise Overloaded
        self._waiting += 1
        try:
            async with asyncio.timeout(patience_s):
                await self._places.acquire()
        except TimeoutError:
            HELD.labels("put_off").inc()
            raise Overloaded from None
        finally:
            self._waiting -= 1
        try:
            HELD.labels("served").inc()
            yield
        finally:
            self._places.release()

    def forget(self, known: Callable[[str], bool]) -> None:
        """Drop gates that are registered no longer."""
        self.guard.forget(known)
        self.account_guard.forget(known)
        self._addresses = {device: address for device, address in self._addresses.items() if known(device)}
