"""Settling what is uncertain: asked about by business key when its time has come, and concluded by what is said.

One concern: those inquiries. They go by the breaker like calls, and where it wants a probe they are the best there is: they do
nothing there. A kill leaves a claim that ends, and the delivery is asked about then. It must never send what it asks about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from connectors.policy.breaker import Permit
from hub.kernel.ledger import dispatch as ledger
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.shapes import Claimed
from hub.kernel.ports import Text
from hub.worker import judge
from hub.worker.leave import Leave
from hub.worker.render import root_of
from hub.worker.target import Done, Target
from hub.worker.wire import Wire

log = logging.getLogger("hub.dispatch")


class Asker:
    """For one connector. `put`: takes what came of a delivery; `pause`: told (cause, message) when a person is needed first."""

    def __init__(
        self,
        core: Core,
        target: Target,
        wire: Wire,
        leave: Leave,
        put: Callable[[Done], None],
        pause: Callable[[str, Text], Awaitable[None]],
        poll_s: float,
    ) -> None:
        self._core, self._target, self._wire, self._leave = core, target, wire, leave
        self._put, self._pause, self._poll_s = put, pause, poll_s

    async def run(self, stopping: Callable[[], bool], paused: Callable[[], bool]) -> None:
        """Settle uncertain deliveries whose time has come, as many at a time as calls may be, until `stopping`."""
        while not stopping():
            found = False
            if not paused() and self._target.open_now():
                try:
                    found = await (self._ask() if self._target.inquires else self._give_up())
                except TRANSIENT as error:
                    log.warning("%s: settling failed: %s", self._target.name, error)
            if not found:
                await asyncio.sleep(self._poll_s)

    async def _claimed(self, most: int) -> list[Claimed]:
        return await ledger.claim_uncertain(self._core, self._target.number, most, self._target.policy.lease_s)

    async def _give_up(self) -> bool:
        """One that cannot be asked: one try, then a person."""
        found = await self._claimed(self._target.policy.concurrency)
        if found:
            self._put(Done([judge.conclude_unaskable(d, self._target.number) for d in found], []))
        return bool(found)

    async def _ask(self) -> bool:
        permit = await self._leave.take(lambda: ledger.anything_uncertain(self._core, self._target.number))
        if permit is None:
            return False
        used: list[Permit] = []
        try:
            found = await self._claimed(1 if permit.probe else self._target.policy.concurrency)
            await asyncio.gather(*(self._settle(d, permit, used) for d in found))
        finally:
            if not used:
                self._leave.keep(permit)
        return bool(found)

    async def _settle(self, d: Claimed, permit: Permit, used: list[Permit]) -> None:
        """Ask about one. `used`: takes the permit once something goes out by it."""
        number = self._target.number
        if d.intent is None:
            self._put(Done([judge.conclude_unaskable(d, number)], []))
            return
        stored = await ledger.stored_calls(self._core, {d.intent: d.klass})
        call, mapping = stored[d.intent]
        try:
            inquiry = self._target.adapter.inquire(root_of(call, d.id), call)  # type: ignore[attr-defined]
        except Exception:
            log.exception("%s: no inquiry could be made for %s", self._target.name, d.id)
            self._put(Done([judge.conclude_unaskable(d, number)], []))
            return
        if not await self._wire.permitted():
            return  # its claim ends, and it is asked about then
        (exchange,) = await self._wire.number([(inquiry, mapping, d)])
        used.append(permit)
        settlement, reason, stop, after_s = await self._wire.ask(exchange)
        await self._leave.told(permit, settlement is not None or stop is not None)
        if stop is not None:
            await self._pause(stop.cause, stop.message)
        conclusion = judge.conclude_settlement(
            d, settlement, reason, self._target.policy, number, call=exchange.id, elapsed_ms=exchange.elapsed_ms, after_s=after_s,
        )  # fmt: skip
        self._put(Done([conclusion], [exchange]))
