"""Gates that push nothing and are asked: each keeps a list of who passed, all on one server of this process.

One concern: those lists on the wire. Nobody acknowledges what stands in a list; whether it was stored is a question for
`hub.simulate.gates_books`. It must never listen where another machine could ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from aiohttp import web

from hub.simulate.gates_words import Spec, person
from iot.dahua.simulator import DahuaStore
from iot.simulator import Stored

_HELD = 20_000
"""Passages a gate remembers: hours of them here. What is older is written over, as in a real one."""

Noted = Callable[[Spec, str, str, float], None]
"""Told of every passage as it goes into a list: the gate, the person, the time as listed, and when (`time.time`)."""


class ListedGate:
    """One gate with a list of its own, and a password of its own before it."""

    def __init__(self, spec: Spec, run: int, noted: Noted) -> None:
        """`run` tells one run's records from another's."""
        self.spec = spec
        # Every other one gives its newest records first, as some firmware does.
        self.store = DahuaStore([], password=spec.secret, order="newest" if spec.number % 2 else "oldest")
        self.last: datetime | None = None
        """When somebody passed last."""
        self._first = run * 100_000
        self._noted = noted
        self._number = 0

    def send(self, due: float, picture: str = "") -> None:
        """Somebody passes, now; see `MqttGate.send`. It goes nowhere until the hub asks."""
        self._number += 1
        at, who = time.time(), person(self.spec.number, self._number)
        second = int(at)
        held = self.store.stored
        held.append(Stored(number=self._first + self._number, person=who, at=datetime.fromtimestamp(second, UTC)))
        if len(held) > _HELD:
            del held[: _HELD // 10]
        self.last = datetime.fromtimestamp(at, UTC)
        self._noted(self.spec, who, str(second), at)


class Lists:
    """The server of all lists, each under its gate's name."""

    def __init__(self, gates: Sequence[ListedGate]) -> None:
        self._gates = gates
        self._runner: web.AppRunner | None = None
        self.address = ""
        """`http://…` while it is open; empty: it is not, or there are no lists."""

    @property
    def last(self) -> dict[str, datetime]:
        """When somebody passed last, by gate; gates nobody passed are not in it."""
        return {gate.spec.device: gate.last for gate in self._gates if gate.last is not None}

    async def open(self) -> None:
        """Serve them at a free port of the loopback address."""
        if not self._gates:
            return
        app = web.Application()
        for gate in self._gates:
            gate.store.add_to(app, f"/{gate.spec.device}")
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Serve them no longer."""
        self.address = ""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
