"""Gates that come over HTTP, one of each family and packing: they send again until the gateway says yes.

One concern: playing them and keeping their books. It must never read anything of the hub's but its answers.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from iot.face_http.simulator import FaceHttpGate
from iot.gate import GateOptions, PlannedCheckin
from iot.hanet.simulator import HanetCamera
from iot.hikvision.simulator import HikvisionGate
from iot.webgate import WebGate
from iot.zkteco.simulator import ZkTecoGate
from tests.chaos.books import Passage
from tests.chaos.verdict import HTTP
from tests.chaos.world import SCHOOL, SIGNING, World

_KINDS = ("zkteco", "hikvision", "hanet", "hikvision", "zkteco", "face_http")
_SHAPES = ("multipart", "xml", "json", "untyped")


class Doors:
    """ADMS, ISAPI and webhook gates. Every passage is by a person who passes but once."""

    def __init__(self, world: World, seed: int, *, prefix: str) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.families = {f"{prefix}-{n}-{family}": family for n, family in enumerate(_KINDS)}
        self._gates: list[WebGate] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, seconds: float, per_s: float, patience_s: float) -> None:
        """Register them and begin to play."""
        await self.world.install(*self.families.items())
        address = urlsplit(self.world.url)
        assert address.hostname is not None and address.port is not None
        for n, (device, family) in enumerate(self.families.items()):
            options = GateOptions(
                device=device, school=SCHOOL, host=address.hostname, port=address.port, password=self.world.devices[device].secret,
                image_bytes=3_000, resend_s=0.7, patience_s=patience_s,
            )  # fmt: skip
            if family == "zkteco":
                gate: WebGate = ZkTecoGate(options, photos=n == 0)
            elif family == "hikvision":
                gate = HikvisionGate(options, shape=_SHAPES[n % len(_SHAPES)], honest=n < 3)  # type: ignore[arg-type]
            elif family == "face_http":
                gate = FaceHttpGate(options)
            else:
                gate = HanetCamera(options, client_secret=SIGNING)
            self._gates.append(gate)
            self._tasks.append(asyncio.create_task(gate.run(self._plan(device, seconds, int(seconds * per_s)))))

    def _plan(self, device: str, seconds: float, count: int) -> list[PlannedCheckin]:
        began = datetime.now(UTC)
        whens = sorted(self.rng.uniform(0, seconds) for _ in range(count))
        return [
            PlannedCheckin(
                at_s=at_s, person=f"W.{device}.{n}", happened=began + timedelta(seconds=at_s), copies=1 + (self.rng.random() < 0.1)
            )
            for n, at_s in enumerate(whens)
        ]  # fmt: skip

    async def finish(self) -> list[Passage]:
        """Wait until they have all they want, or their patience is over; what they know of their passages."""
        await asyncio.gather(*self._tasks)
        return [
            Passage(
                device=g.options.device,
                person=e.plan.person,
                acked=e.acked,
                clock_right=True,
                way=HTTP,
                acked_at=e.acked_at,
            )
            for g in self._gates
            for e in g.books()
        ]
