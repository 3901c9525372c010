"""Holes in what gates of the hub's own tree number: seen, asked for again, and in the end told.

One concern: the numbers. It must never hold up the bridge (hints are only noted), ask a gate without end, or take an event
that is merely late for a lost one. What is known of a gate's numbers outlives the process in the ledger (`gate_memory`), some seconds
old: what came in those seconds is asked for again, and known again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import Counter

from hub.kernel.ledger.gate_memory import Numbers
from hub.kernel.ports import Publication
from iot.native.host import resend

log = logging.getLogger("hub.gates")

_GRACE_S = 5.0
_AGAIN_S = 60.0
_TRIES = 3
_HOLES_MOST = 100
_SPAN_MOST = 1_000_000
"""A jump by so many is a gate that counts anew; and of all holes of one gate together no more numbers are asked for."""
_EVERY_S = 1.0
_ASKS_MOST = 100
"""Requests made in one go: what is missing is late already, and the events of all other gates would wait behind them."""

MISSING = Counter("gate_numbers_missing_total", "Events missing by a gate's numbers that it could not send again")
ASKED = Counter("gate_resend_requests_total", "Requests to gates to send numbered events again")


class _Hole:
    __slots__ = ("due", "first", "last", "tries")

    def __init__(self, first: int, last: int, due: float) -> None:
        self.first, self.last, self.due, self.tries = first, last, due, 0


class _Gate:
    __slots__ = ("beyond", "highest", "holes", "school")

    def __init__(self, school: str, highest: int, beyond: int = 0) -> None:
        self.school, self.highest = school, highest
        self.holes: list[_Hole] = []
        self.beyond = beyond
        """How many missing numbers were never asked for: more than one gate may have open."""


class Gaps:
    """One per bridge. `seen` and `hinted` are called by it; `run` ends by cancellation only."""

    def __init__(
        self, publish: Callable[[Publication], bool], *, grace_s: float = _GRACE_S, again_s: float = _AGAIN_S
    ) -> None:
        """`publish`: hands a publication to the session; False when it was not taken. `grace_s`: how long a hole may be
        merely late."""
        self._publish = publish
        self._grace_s, self._again_s = grace_s, again_s
        self._gates: dict[str, _Gate] = {}  # of registered devices, hence bounded
        self._waiting: set[str] = set()
        self._asked = 0
        self._changed: set[str] = set()

    def restore(self, numbers: Iterable[Numbers]) -> None:
        """Take up what the process before noted; holes are asked for anew after the grace."""
        due = time.monotonic() + self._grace_s
        for one in numbers:
            gate = self._gates[one.device] = _Gate(one.school, one.highest, one.beyond)
            for first, last, tries in list(one.holes)[:_HOLES_MOST]:
                hole = _Hole(first, last, due)
                hole.tries = tries
                gate.holes.append(hole)
            if gate.holes:
                self._waiting.add(one.device)

    def changed(self) -> list[Numbers]:
        """What is new since the last call."""
        names, self._changed = self._changed, set()
        known = [(name, self._gates[name]) for name in sorted(names)]
        return [
            Numbers(n, g.school, g.highest, [(h.first, h.last, h.tries) for h in g.holes], g.beyond) for n, g in known
        ]

    def change(self, devices: Iterable[str]) -> None:
        """These are still to be noted."""
        self._changed.update(devices)

    def seen(self, device: str, school: str, number: int) -> None:
        """An event with this number came."""
        self._changed.add(device)
        gate = self._gates.get(device)
        if gate is None or gate.school != school:
            self._gates[device] = _Gate(school, number)
            self._waiting.discard(device)
        elif number > gate.highest:
            if number > gate.highest + 1:
                self._open(device, gate, gate.highest + 1, number - 1)
            gate.highest = number
        elif gate.holes:
            self._fill(device, gate, number)

    def hinted(self, family: str, facts: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        """A birth tells the last number given: what lies between is missing, or on its way. A lower one than was seen is a gate
        that counts anew, or a birth that was overtaken, or brought again to the next bridge: what it leaves open below its number
        is still asked for, and what came above it counts as unseen, to be known again if it is sent."""
        device, number, school = facts.get("device"), facts.get("seq"), entry.get("school")
        if family != "native" or not isinstance(device, str) or type(number) is not int or not isinstance(school, str):
            return
        self._changed.add(device)
        gate = self._gates.get(device)
        if gate is None or gate.school != school:
            self._gates[device] = _Gate(school, number)
            self._waiting.discard(device)
        elif number > gate.highest:
            self._open(device, gate, gate.highest + 1, number)
            gate.highest = number
        elif number < gate.highest:
            gate.highest = number
            gate.holes = [hole for hole in gate.holes if hole.first <= number]
            for hole in gate.holes:
                hole.last = min(hole.last, number)
            if not gate.holes:
                self._waiting.discard(device)

    def _open(self, device: str, gate: _Gate, first: int, last: int) -> None:
        if last - first >= _SPAN_MOST:
            log.warning("gate %s jumps from number %d to %d: it counts anew", device, first, last)
            return
        full = len(gate.holes) >= _HOLES_MOST
        more = last - gate.holes[-1].last if full else last - first + 1
        if more + sum(hole.last - hole.first + 1 for hole in gate.holes) > _SPAN_MOST:
            if not gate.beyond:
                log.warning(
                    "gate %s: events numbered %d to %d are missing, more than are asked for", device, first, last
                )
            MISSING.inc(last - first + 1)
            gate.beyond += last - first + 1
            return
        if full:
            gate.holes[-1].last = last  # what lies between came already: sent again it is known again
            return
        gate.holes.append(_Hole(first, last, time.monotonic() + self._grace_s))
        self._waiting.add(device)

    def _fill(self, device: str, gate: _Gate, number: int) -> None:
        for place, hole in enumerate(gate.holes):
            if not hole.first <= number <= hole.last:
                continue
            if hole.first == hole.last:
                del gate.holes[place]
            elif number == hole.first:
                hole.first += 1
            elif number == hole.last:
                hole.last -= 1
            elif len(gate.holes) < _HOLES_MOST:
                rest = _Hole(number + 1, hole.last, hole.due)
                rest.tries, hole.last = hole.tries, number - 1
                gate.holes.insert(place + 1, rest)
            break
        if not gate.holes:
            self._waiting.discard(device)

    def ask(self) -> None:
        """Ask for what is due, for so much at a time; give up, and say so, what was asked for often enough."""
        now, most = time.monotonic(), self._asked + _ASKS_MOST
        for device in list(self._waiting):
            gate = self._gates[device]
            for hole in list(gate.holes):
                if hole.due > now:
                    continue
                self._changed.add(device)
                if hole.tries >= _TRIES:
                    gate.holes.remove(hole)
                    MISSING.inc(hole.last - hole.first + 1)
                    log.warning("gate %s: events numbered %d to %d are missing", device, hole.first, hole.last)
                    continue
                if self._asked >= most:
                    return
                self._asked += 1
                if self._publish(resend(gate.school, device, f"r{self._asked}", hole.first, hole.last)):
                    ASKED.inc()
                    hole.tries += 1
                hole.due = now + self._again_s
            if not gate.holes:
                self._waiting.discard(device)

    async def run(self) -> None:
        """Ask, once a second."""
        while True:
            await asyncio.sleep(min(_EVERY_S, self._grace_s))
            self.ask()
