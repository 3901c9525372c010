"""Commands waiting for gates to ask for them.

One concern: handing a gate that polls its next command, in the gate's own time, and taking its answer back. The queue is
the ledger's (`gate_commands`); what this process remembers is only who has something waiting. A command may be carried out
twice: what it brings is known by its names. It must never hold up a poll when the database is away, or let a wrong clock
hide what is asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from hub.kernel.ledger import gate_commands
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.worker.list_entries import by_its_clock
from iot.clock import zone
from iot.listing import Span
from iot.web import estimate_of, zone_of
from iot.zkteco.decode import PROFILES

log = logging.getLogger(__name__)

_LOOK_S = 2.0
STALE_S = 120.0
"""A gate that has not answered a command by then is given it again."""
_AGAIN_S = 60.0
_ON_ITS_WAY_S = 5.0
"""So much of what a clock seems to be off is what messages take on their way."""
LOST = "lost_s"
"""In a gate's entry: how far off a clock is that cannot be right, by the last event it told; None when it can be."""


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
        """The next command for a gate as its family has it, `{id, span: [from, to]}` in the gate's own time: its zone, and its
        clock as far as that is known; None when there is none, or the database is away. For a clock that was lost a second
        one follows, by that clock and with a number of its own, as each is answered by its number; a kill before it is in
        the ledger leaves the first as sent, to be given again."""
        try:
            if time.monotonic() - self._looked_at > _LOOK_S:
                self._looked_at = time.monotonic()
                self._open = await gate_commands.waiting(self._core, STALE_S)
            if device["id"] not in self._open:
                return None
            self._looked_at = float("-inf")
            found = await gate_commands.take(self._core, [device["id"]], STALE_S)
            if not found:
                return None
            (command,) = found
            span = Span(command.span_start, command.span_end)
            if not command.own_clock:
                (span, _), *lost = by_its_clock(span, _offset_s(device))
                for moved, _ in lost:
                    await gate_commands.follow(self._core, device["id"], moved.start, moved.end)
        except TRANSIENT as error:
            log.warning("commands for gates wait: %s", type(error).__name__)
            return None
        here = zone(zone_of(device, PROFILES.get(device.get("profile")).settings))
        return {
            "id": command.id,
            "span": [f"{t.astimezone(here):%Y-%m-%d %H:%M:%S}" for t in (span.start, span.end)],
        }

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


def _offset_s(device: Mapping[str, Any]) -> float:
    """How far ahead a gate's clock is: lost, as it was heard here, or as the registry has it from before this process."""
    if lost := device.get(LOST):
        return float(lost)
    heard = estimate_of(device)
    offset_s = heard.offset_s if heard is not None else float(device.get("offset_s") or 0.0)
    return offset_s if abs(offset_s) > _ON_ITS_WAY_S else 0.0
