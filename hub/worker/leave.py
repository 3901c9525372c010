"""The breaker's leave for what one dispatcher sends and asks, and what becomes of leave that led to nothing.

One concern: that leave. There are few for probes, over all workers: it must never take one for nothing, nor let one go unused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from connectors.policy.breaker import Breaker, Permit


class Leave:
    """One per dispatcher."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._spare: list[Permit] = []
        """For probes that led to no call: the next ones go by them."""

    async def take(self, anything: Callable[[], Awaitable[bool]]) -> Permit | None:
        """Leave for calls now; None: there is none. While the breaker is not closed only where there is `anything` to do with it."""
        if self._breaker.state != "closed" and not await anything():
            return None
        while self._spare:
            if self._breaker.stands(spare := self._spare.pop()):
                return spare
        permit = await self._breaker.allow()
        return permit if permit.ok else None

    def keep(self, permit: Permit) -> None:
        """Give back leave that was not used."""
        if permit.probe:
            self._spare.append(permit)

    def holds(self, permit: Permit) -> bool:
        """Whether a call may begin by it: while the breaker is not closed only a probe may."""
        return permit.probe or self._breaker.state == "closed"

    async def told(self, permit: Permit, ok: bool) -> None:
        """What became of a call that went by it."""
        await self._breaker.record(permit, ok)
