"""What an authentication scheme is.

One concern: the contract between a connector and its scheme. A scheme must never change what a call says, repeat a
call by itself, or let a secret into a log, an exception or a `repr`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from connectors.errors import LoginRefused, Refused
from connectors.transports.base import Request
from connectors.transports.xroad_faults import judge
from hub.kernel.ports import MaybeSent, NotSent, Reply

Exchange = Callable[[Request, float], Awaitable[Reply]]
"""The transport's exchange, for schemes that log in over the connector's own wire."""

Clock = Callable[[], float]
"""Seconds since the epoch."""


class Scheme(Protocol):
    """One way of being let in."""

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """A copy of the request with credentials. May log in first. Raises only `NotSent`: whatever happens to a
        log-in, the call itself has not been sent. A refused log-in is `CredentialsRefused`."""
        ...

    def lapsed(self, signed: Request, reply: Reply) -> bool:
        """True when the reply says the request was certainly not processed because what `sign` put on it is no longer
        valid, and a new `sign` would bring something new. Forgets it then. Called for every reply."""
        ...

    async def check(self, exchange: Exchange, deadline_s: float) -> bool:
        """For the live test: log in anew where the scheme has a log-in (True), else do nothing (False)."""
        ...


class Stateless:
    """Base of schemes whose credentials are the same every time: nothing lapses, nothing logs in."""

    def lapsed(self, signed: Request, reply: Reply) -> bool:
        """Never: signing again would bring the same."""
        return False

    async def check(self, exchange: Exchange, deadline_s: float) -> bool:
        """Nothing to log in to."""
        return False


_PASSES = frozenset({408, 425, 429})
"""What a client may be answered that says something of the moment."""


def turned_down(reply: Reply, where: str) -> Refused | None:
    """Why a log-in answered so fares no better until a person has acted; None where a later one may. `where` names the
    address to people.

    The address is asked for nothing but log-ins, always the same: what calls such a request wrong calls the settings wrong.
    """
    told = judge(reply.headers.get("x-road-error", ""), "")
    if told is not None:
        return told if isinstance(told, Refused) else None
    if 300 <= reply.status < 500 and reply.status not in _PASSES:
        return LoginRefused(f"{where} answered {reply.status} to the log-in")
    return None


class Ticket:
    """A credential that is fetched, kept until it ends, and fetched by one caller at a time.

    `fetch(exchange, deadline_s)` gives `(value, ends_at)` in the clock's seconds. A failed fetch is not kept: the
    next caller tries again. Others waiting behind a fetch use what it brought.
    """

    def __init__(self, fetch: Callable[[Exchange, float], Awaitable[tuple[str, float]]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._value: str | None = None
        self._ends = 0.0
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Ticket(held={self._value is not None})"

    async def get(self, exchange: Exchange, deadline_s: float) -> str:
        """The valid value. Raises `NotSent`."""
        if self._value is not None and self._clock() < self._ends:
            return self._value
        try:
            async with asyncio.timeout(max(deadline_s, 0)):
                async with self._lock:
                    if self._value is None or self._clock() >= self._ends:
                        self._value, self._ends = await self._fetch(exchange, deadline_s)
                    return self._value
        except TimeoutError:
            raise NotSent("logging in took longer than the deadline") from None
        except MaybeSent as error:
            # Only the log-in is in doubt; the call has not left.
            raise NotSent(f"logging in failed: {error}") from None

    def forget(self, value: str) -> bool:
        """Drop `value` if it is still the one held (another caller may have renewed already). True when a new `get`
        brings another value than this one, which is always so."""
        if self._value == value:
            self._value = None
        return True
