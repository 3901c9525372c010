"""Writing down what came of calls, in batches: the last stage of a dispatcher.

One concern: an outcome in hand is kept until the database takes it, however long that is. It must never judge one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from hub.kernel.ledger import dispatch as ledger
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.lifecycle import State
from hub.worker.policy import Pace
from hub.worker.target import Done, InHand, Target

log = logging.getLogger("hub.dispatch")

_MOST, _FEW = 500, 100
_GATHER_S = 0.01
"""How long a small batch waits for more while calls are out: a transaction costs the same for few as for many."""
_BROUGHT_BACK = frozenset({State.WAITING, State.UNCERTAIN})
"""Where a fault of the counterparty's leaves what somebody has to bring back."""
_START = (1, _MOST)
"""How many conclusions each of the writers waits for: the second begins only where there is a full batch beside the first's."""


class Concluder:
    """One per dispatcher. `hand`: what the dispatcher holds, from which the concluded goes; `more_coming`: whether calls
    are out; `after`: told after every batch that there is room again; `on_fault`: told (connector, reason) when deliveries begin to
    wait, or are in doubt, for a fault of the connector's own."""

    def __init__(
        self,
        core: Core,
        target: Target,
        hand: dict[int, InHand],
        pace: Pace,
        *,
        more_coming: Callable[[], bool],
        after: Callable[[], None],
        on_fault: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._core = core
        self._target = target
        self._hand = hand
        self._pace = pace
        self._more_coming = more_coming
        self._after = after
        self._on_fault = on_fault
        self._done: list[Done] = []
        self._pending = 0
        """Conclusions among `_done`."""
        self._writing = 0
        self._enough = [asyncio.Event() for _ in _START]
        self._empty = asyncio.Event()
        self._empty.set()
        self._ending = False

    def put(self, done: Done) -> None:
        """Hand over what came of a call."""
        self._done.append(done)
        self._pending += len(done.conclusions)
        self._empty.clear()
        self._look()

    async def finish(self, patience_s: float) -> None:
        """Wait until everything handed over is written, for so long at most."""
        self._ending = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), patience_s)

    def _look(self) -> None:
        """Tell each writer whether there is enough for it. The first also takes what concludes nothing."""
        for start, enough in zip(_START, self._enough, strict=True):
            if self._pending >= start or (start == 1 and self._done):
                enough.set()
            else:
                enough.clear()

    async def run(self) -> None:
        """Write without end. Raises what a writer raises."""
        async with asyncio.TaskGroup() as writers:
            for enough in self._enough:
                writers.create_task(self._writer(enough))

    async def _writer(self, enough: asyncio.Event) -> None:
        while True:
            await enough.wait()
            if not self._ending and self._pending < _FEW and self._more_coming():
                await asyncio.sleep(_GATHER_S)
            taken = self._taken()
            if not taken:
                continue
            self._writing += 1
            try:
                await self._write(taken)
            finally:
                self._writing -= 1
            if not self._done and not self._writing:
                self._empty.set()

    def _taken(self) -> list[Done]:
        count = place = 0
        for place, done in enumerate(self._done, 1):  # noqa: B007 - how many are taken is what is wanted
            count += len(done.conclusions)
            if count >= _MOST:
                break
        taken, self._done = self._done[:place], self._done[place:]
        self._pending -= count
        self._look()
        return taken

    async def _write(self, taken: list[Done]) -> None:
        conclusions = [c for t in taken for c in t.conclusions]
        exchanges = [e for t in taken for e in t.exchanges]
        arrivals = [a for t in taken for a in t.arrivals]
        while True:
            try:
                await ledger.conclude(self._core, self._target.number, conclusions, exchanges, arrivals)
                break
            except TRANSIENT as error:
                log.warning("%s: conclusion waits for the database: %s", self._target.name, error)
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("%s: conclusion of %d failed; leases will end", self._target.name, len(conclusions))
                break
        for c in conclusions:
            self._hand.pop(c.delivery.id, None)
        self._pace.note(len(conclusions), time.monotonic())
        # Only now: a leader that looks finds what it is to bring back.
        fault = next((t.fault for t in taken if t.fault), None)
        if fault is not None and any(c.target in _BROUGHT_BACK for c in conclusions):
            await self._on_fault(self._target.name, fault)
        self._after()
