"""The bridge's memory of gates, kept in the ledger: read before the first event, written every few seconds.

One concern: that loop. It must never hold up an event, nor keep the bridge from starting: without what was noted, counting begins
anew at the first number seen.
"""

from __future__ import annotations

import asyncio
import logging

from hub.kernel.ledger import gate_memory
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.worker.gate_asks import GateAsks
from hub.worker.gate_gaps import Gaps

log = logging.getLogger("hub.gates")

EVERY_S = 5.0
_FORGET_EACH = 720


class GateMemory:
    """One per bridge."""

    def __init__(self, core: Core, gaps: Gaps, asks: GateAsks, every_s: float = EVERY_S) -> None:
        self._core = core
        self._gaps = gaps
        self._asks = asks
        self._every_s = every_s

    async def restore(self) -> None:
        """Take up what the process before noted."""
        try:
            numbers, away = await gate_memory.load(self._core)
        except TRANSIENT as error:
            log.warning("what was noted of gates could not be read: %s", type(error).__name__)
            return
        self._gaps.restore(numbers)
        self._asks.restore(away)

    async def note(self) -> None:
        """Write down what is new. What could not be written is new the next time."""
        numbers, away = self._gaps.changed(), self._asks.changed()
        try:
            if numbers:
                await gate_memory.note_numbers(self._core, numbers)
            if away:
                await gate_memory.note_away(self._core, away)
        except TRANSIENT as error:
            self._gaps.change(n.device for n in numbers)
            self._asks.change(away)
            log.warning("what is known of %d gates is noted later: %s", len(numbers), type(error).__name__)

    async def run(self) -> None:
        """Note, again and again; once more when it is ended."""
        beats = 0
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.note()
                beats += 1
                if beats % _FORGET_EACH == 0:
                    try:
                        await gate_memory.forget(self._core)
                    except TRANSIENT as error:
                        log.warning("gates revoked are forgotten later: %s", type(error).__name__)
        finally:
            await self.note()
