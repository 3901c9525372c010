"""Gates whose events overtake each other: a firmware with several senders, or a cellular router that repeats what it held.

One concern: the order in which a gate's own simulator says its events, drawn by seed. It must never drop one: what is held back is
said after its neighbour, after many more, or, where none follow, when its time is over.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass

from iot.face_mqtt.simulator import FaceGate
from iot.gate import Entry, Gate, GateOptions
from iot.native.simulator import NativeGate

SHARE = 0.15
"""Events held back, of all."""
_FAR_SHARE, _FAR, _FAR_S, _NEAR_S = 0.2, 12, 6.0, 1.0
"""Of those held back, so many wait for a dozen others instead of one; and how long each waits at most."""


@dataclass
class _Held:
    entry: Entry
    behind: int
    """Events that are still to go before it."""
    due: float
    far: bool
    overtaken: bool = False


class Overtaking(Gate):
    """Mixed into a family's simulator."""

    def __init__(self, options: GateOptions, dice: random.Random, share: float) -> None:
        super().__init__(options)
        self._dice = dice
        self._share = share
        self._held: list[_Held] = []
        self.overtaken: set[str] = set()
        """Events that were first said after a later one."""
        self.still = asyncio.Event()
        """It has all it wants, or has lost its patience."""
        self.enough = asyncio.Event()
        """Until then it stays connected, for whatever it is asked."""

    def _publish(self, entry: Entry) -> None:
        now = asyncio.get_running_loop().time()
        held = next((h for h in self._held if h.entry is entry), None)
        if held is not None:
            if now >= held.due:
                self._release(held)
            return
        first = entry.published == 0
        if first and self._dice.random() < self._share:
            far = self._dice.random() < _FAR_SHARE
            self._held.append(_Held(entry, _FAR if far else 1, now + (_FAR_S if far else _NEAR_S), far))
            return
        super()._publish(entry)
        if first:
            for held in list(self._held):
                held.overtaken = True
                held.behind -= 1
                if held.behind <= 0:
                    self._release(held)

    def _release(self, held: _Held) -> None:
        self._held.remove(held)
        if held.overtaken:
            self.overtaken.add(held.entry.event)
        held.entry.published += held.far  # what comes as late as that is said to be of earlier
        super()._publish(held.entry)

    async def _settled(self) -> None:
        await super()._settled()
        self.still.set()
        await self.enough.wait()


class OvertakingFace(Overtaking, FaceGate):
    """Record ids out of order."""


class OvertakingNative(Overtaking, NativeGate):
    """Numbers out of order; it sends again what it is asked for, as the contract has it."""

    def _heard(self, payload: bytes) -> None:
        super()._heard(payload)
        told = json.loads(payload)
        if (span := told.get("resend")) is None:
            return
        asked = [e for n, e in enumerate(self.books(), 1) if span["from"] <= n <= span["to"] and e.published]
        for entry in asked:
            self._publish(entry)
        self._say(f"{self._base}/res", json.dumps({"id": told["id"], "code": 0 if asked else 2}).encode(), 1)

    @property
    def last(self) -> int:
        """The last number it has given."""
        return self._seq
