"""Asking face terminals, over the bridge's own session, to send a span of records again.

One concern: when to ask, and what became of it. What is asked stands in the ledger (`gate_commands`), one at a time per
terminal; what comes back comes as records do. It must never hold up the bridge: hints are only noted, a task of its own
talks to the database. What a shared topic says is worth a question to the terminal itself, and no more than one in ten
minutes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from hub.kernel.ledger import gate_commands
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ports import Publication
from hub.worker.list_entries import by_its_clock
from iot.clock import Estimate
from iot.face_mqtt import commands
from iot.face_mqtt.commands import Answer
from iot.listing import Span

log = logging.getLogger("hub.gates")

_EVERY_S = 2.0
STALE_S = 120.0
"""A terminal that has not answered by then is asked again: it was offline."""
_UNSENT_S = 15.0
"""When the session to the broker took no question, the next round waits so long."""
_REST_S = 600.0
_BEFORE = timedelta(minutes=2)
_FORGET_DAYS = 30
_HINTS_MOST = 10_000


class GateAsks:
    """One per bridge. `hinted` is called by the bridge; `run` ends by cancellation only."""

    def __init__(self, core: Core, publish: Callable[[Publication], bool], every_s: float = _EVERY_S) -> None:
        """`publish`: hands a publication to the session; False when it was not taken."""
        self._core = core
        self._publish = publish
        self._every_s = every_s
        self._entries: dict[str, Mapping[str, Any]] = {}
        self._away: dict[str, datetime] = {}
        self._changed: set[str] = set()
        self._asked_at: dict[str, float] = {}
        self._spans: deque[tuple[str, datetime, datetime]] = deque(maxlen=_HINTS_MOST)
        self._answers: deque[tuple[str, Answer]] = deque(maxlen=_HINTS_MOST)

    def hinted(self, family: str, facts: dict[str, Any], entry: Mapping[str, Any]) -> None:
        """Note a presence or a command's result of a registered gate."""
        device = facts.get("device")
        if family != "face_mqtt" or not isinstance(device, str):
            return
        known = {**entry, "id": device}
        self._entries[device] = known
        if facts.get("kind") == "command":
            if (said := commands.answer(known, facts)) is not None:
                self._answers.append((device, said))
        elif facts.get("state") == "offline":
            self._away.setdefault(device, self._core.moment())
            self._changed.add(device)
        elif facts.get("state") == "online" and (since := self._away.pop(device, None)) is not None:
            self._changed.add(device)
            now = time.monotonic()
            if commands.takes(known) and now - self._asked_at.get(device, float("-inf")) >= _REST_S:
                self._asked_at[device] = now
                self._spans.append((device, since - _BEFORE, self._core.moment()))

    def restore(self, away: Mapping[str, datetime]) -> None:
        """Take up since when gates are away, as the process before noted it."""
        self._away = {**away, **self._away}

    def changed(self) -> dict[str, datetime | None]:
        """Since when gates are away (None: they are back), where that is new since the last call. One that is back is not noted
        so before the question for its time away is in the ledger: a kill between the two would leave nobody to ask."""
        owed = {device for device, _, _ in self._spans}
        names, self._changed = self._changed - owed, self._changed & owed
        return {name: self._away.get(name) for name in sorted(names)}

    def change(self, devices: Iterable[str]) -> None:
        """These are still to be noted."""
        self._changed.update(devices)

    async def run(self) -> None:
        """Ask and conclude, again and again."""
        beats = 0
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.step()
                if beats % 1800 == 0:
                    await gate_commands.forget(self._core, _FORGET_DAYS)
                beats += 1
            except TRANSIENT as error:
                log.warning("questions to gates wait: %s", type(error).__name__)

    async def step(self) -> int:
        """One round: answers into the ledger, new spans, then what is due to the terminals. How many were asked.

        What the database cannot be asked now is kept for the next round; what it refuses is dropped, and the rest goes on.
        """
        while self._answers:
            device, said = self._answers.popleft()
            try:
                await self._conclude(device, said)
            except TRANSIENT:
                self._answers.appendleft((device, said))
                raise
        while self._spans:
            span = self._spans[0]
            owed = False
            try:
                await gate_commands.add(self._core, *span, "offline")
            except BaseException as error:
                owed = isinstance(error, (asyncio.CancelledError, *TRANSIENT))
                raise
            finally:
                if not owed and self._spans and self._spans[0] is span:
                    self._spans.popleft()
        waiting = await gate_commands.waiting(self._core, STALE_S)
        # Also to those said to be away: whoever may write to the topic all gates share can say it of any of them.
        there = sorted(waiting & self._entries.keys())
        taken = await gate_commands.take(self._core, there, STALE_S) if there else []
        left = [c.id for c in taken if not self._ask(c)]
        if left:
            await gate_commands.not_sent(self._core, left, _UNSENT_S)
        for command in taken:
            for moved, _ in self._spans_of(command)[1:]:
                await gate_commands.follow(self._core, command.device, moved.start, moved.end)
        return len(taken) - len(left)

    def _ask(self, command: gate_commands.Command) -> bool:
        span, _ = self._spans_of(command)[0]
        return self._publish(commands.send_again(self._entries[command.device], command.id, span.start, span.end))

    def _spans_of(self, command: gate_commands.Command) -> list[tuple[Span, float | None]]:
        """A command's span by its terminal's clock, widened: what the terminal noted before that was set is in it as well. For a
        clock that was lost a second question follows, by that clock; a kill before it is in the ledger leaves the first as sent."""
        span = Span(command.span_start, command.span_end)
        known = self._entries[command.device].get("clock")
        if command.own_clock or not isinstance(known, Estimate):
            return [(span, None)]
        return by_its_clock(span, known.offset_s)

    async def _conclude(self, device: str, said: Answer) -> None:
        row = await gate_commands.one(self._core, said.number)
        if row is None or row["device"] != device:
            return
        again = said.after_s if said.verdict == "later" and row["tries"] < gate_commands.TRIES else None
        if said.verdict == "failed":
            log.warning("gate %s refused to send its records again: code %s", device, said.code)
        await gate_commands.end(self._core, said.number, said.code, done=said.verdict == "done", again_s=again)
