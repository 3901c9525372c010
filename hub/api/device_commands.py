"""Commands waiting for gates to ask for them.

One concern: handing a gate that polls its next command, and taking its answer back. The queue is the ledger's
(`gate_commands`); what this process remembers is only who has something waiting. A command may be carried out twice: what
it brings is known by its names. It must never hold up a poll when the database is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from hub.kernel.ledger import gate_commands
from hub.kernel.ledger.core import TRANSIENT, Core
from iot.clock import zone

log = logging.getLogger(__name__)

_LOOK_S = 2.0
STALE_S = 120.0
"""A gate that has not answered a command by then is given it again."""
_AGAIN_S = 60.0


class Commands:
    """The gates' queues, as one gateway process sees them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._open: frozenset[str] = frozenset()
        self._looked_at = float("-inf")

    def told(self) -> None:
        """Something was queued: look at once."""
        self._looked_at = float("-inf")

    async def take(self, device: Mapping[str, Any]) -> dict[str, Any] | None:
        """The next command for a gate as its family has it, `{id, from, to}` in the gate's own time; None when there is
        none, or the database is away."""
        try:
            if time.monotonic() - self._looked_at > _LOOK_S:
                self._looked_at = time.monotonic()
                self._open = await gate_commands.waiting(self._core, STALE_S)
            if device["id"] not in self._open:
                return None
            self._looked_at = float("-inf")
            found = await gate_commands.take(self._core, [device["id"]], STALE_S)
        except TRANSIENT as error:
            log.warning("commands for gates wait: %s", type(error).__name__)
            return None
        here = zone(str(device.get("zone") or ""))
        for command in found:
            start, end = (f"{t.astimezone(here):%Y-%m-%d %H:%M:%S}" for t in (command.span_start, command.span_end))
            return {"id": command.id, "from": start, "to": end}
        return None

    async def answered(self, device: str, facts: Mapping[str, Any]) -> None:
        """A gate's word on a command: `id`, and `code` 0 when it was carried out. May be lost: then it is given again."""
        number = str(facts.get("id") or "")
        if not (number.isascii() and number.isdigit() and len(number) < 16):
            return
        try:
            row = await gate_commands.one(self._core, int(number))
            if row is None or row["device"] != device:
                return
            code = str(facts.get("code") or "")
            again = _AGAIN_S if row["tries"] < gate_commands.TRIES else None
            await gate_commands.end(self._core, int(number), code, done=code == "0", again_s=again)
        except TRANSIENT as error:
            log.warning("a gate's answer could not be noted: %s", type(error).__name__)
