"""Connectors that one worker serves at a time: which of them are this worker's just now.

One concern: that question, asked of the ledger again and again. A transport that keeps one session (capability `single`) has
its receivers' answers in one process, and a broker ends the older of two sessions under one name. It must never believe in a
lease for longer than it certainly holds, nor give one back while its session may still stand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from connectors.settings import CAPABILITIES
from hub.kernel.ledger import serving
from hub.kernel.ledger.core import Core

LOOK_S = 1.5
LOST_LOOK_S = 0.2
_MARGIN_S = 2.0
"""So long before its end a lease is no longer relied on: time for a session to be ended."""


def alone(row: Mapping[str, Any]) -> bool:
    """Whether a connector, by its row, may be served by one worker only."""
    transport = row["settings"].get("transport")
    kind = transport.get("kind") if isinstance(transport, dict) else None
    return "single" in CAPABILITIES.get(str(kind), frozenset())


class Serving:
    """One per worker."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._wanted: frozenset[int] = frozenset()
        self._until: dict[int, float] = {}

    def mine(self, connector: int) -> bool:
        """Whether a connector is certainly this worker's still."""
        return self._until.get(connector, 0.0) > time.monotonic()

    async def want(self, connectors: frozenset[int]) -> None:
        """These are to be had; asks at once when there are new ones. Raises what the ledger raises."""
        new = connectors - self._wanted
        self._wanted = connectors
        if new:
            await self.look()

    async def look(self) -> None:
        """Ask for those wanted, and keep those held. Raises what the ledger raises; what is held then ends by itself."""
        if not self._wanted:
            self._until.clear()
            return
        asked_at = time.monotonic()
        taken = await serving.take(self._core, self._wanted)
        self._until = dict.fromkeys(taken, asked_at + serving.SERVING_S - _MARGIN_S)

    async def leave(self) -> None:
        """Give all back; only once nothing is sent over their sessions any more."""
        held, self._until, self._wanted = self._until, {}, frozenset()
        if held:
            await serving.leave(self._core)
