"""A HANET camera at the broker, which nobody ever answers: what it loses on the way is found by its vendor's list.

One concern: playing it, and having its list read once nothing of it is on its way any more. It looks into the hub for one thing
alone, whether the camera's last sighting has come, for nobody tells the camera.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from datetime import UTC, datetime, timedelta

from hub.kernel.ledger import gate_lists
from hub.kernel.store.db import sql
from iot.gate import GateOptions, PlannedCheckin
from iot.hanet.simulator import HanetAtBroker, HanetPlace
from iot.simulator import Stored
from tests.chaos.books import Sighting
from tests.chaos.listed import list_settings, read_to_end
from tests.chaos.world import SCHOOL, World

_LONGEST_S = 3600.0
_ARRIVES_S = 30.0
_COPIES = (0, *[1] * 8, 2)
"""How often a sighting is published."""


class Unheard:
    """One camera. Every sighting is of somebody who passes but once; one in ten never leaves the camera, as when its own line
    is down, and the vendor's cloud has them all."""

    def __init__(self, world: World, seed: int, *, prefix: str) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.device = f"{prefix}-hanet-mqtt"
        self._camera: HanetAtBroker
        self._playing: asyncio.Task[None]

    async def start(self, per_s: float) -> None:
        """Register it and have it see people until `finish`."""
        await self.world.install((self.device, "hanet"))
        mqtt = self.world.broker
        self._camera = HanetAtBroker(
            GateOptions(
                device=self.device, school=SCHOOL, host=mqtt.host, port=mqtt.port, username=self.device,
                password=self.world.devices[self.device].secret,
            )
        )  # fmt: skip
        began = datetime.now(UTC)
        plan = [
            self._sees(n, n / per_s, began + timedelta(seconds=n / per_s), self.rng.choice(_COPIES))
            for n in range(int(_LONGEST_S * per_s))
        ]
        self._playing = asyncio.create_task(self._play(plan))

    def _sees(self, number: int, at_s: float, happened: datetime, copies: int) -> PlannedCheckin:
        return PlannedCheckin(at_s=at_s, person=str(23_904_000_000 + number), happened=happened, copies=copies)

    async def _play(self, plan: list[PlannedCheckin]) -> None:
        while True:
            try:
                await self._camera.run(plan)
                return
            except ConnectionError:  # the broker was away just when it wanted to log in
                await asyncio.sleep(0.3)

    async def finish(self, *, ask: bool = True) -> list[Sighting]:
        """End it, wait until what it has said has come, have the list read to its end; everybody it has seen. `ask` False: the
        list is left alone."""
        self._playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._playing
        now = datetime.now(UTC)
        await self._play([self._sees(int(_LONGEST_S * 100), 0.0, now, 1)])
        seen = self._camera.books()
        await self._has_come(f"hanet:{seen[-1].plan.person}", now)
        stored = [Stored(number=n, person=e.plan.person, at=e.plan.happened) for n, e in enumerate(seen)]
        if ask:
            async with HanetPlace(stored, camera=self.device, aliases=False) as address:
                since = stored[0].at - timedelta(minutes=1)
                await gate_lists.put(self.world.house.core, "chaos", self.device, list_settings(address), None, since)
                await read_to_end(self.world, {self.device: stored[-1].at})
        return [Sighting(device=self.device, person=f"hanet:{s.person}") for s in stored]

    async def _has_come(self, person: str, at: datetime) -> None:
        """The broker keeps one camera's publications in order, so with the last one all have come that are still on their way."""
        end = time.monotonic() + _ARRIVES_S
        while time.monotonic() < end:
            if person in await self.world.patiently(lambda: self._there(at)):
                return
            await asyncio.sleep(0.1)

    async def _there(self, at: datetime) -> set[str]:
        around = timedelta(minutes=10)
        async with self.world.house.core.pool.acquire() as connection:
            rows = await connection.fetch(sql.gate_seen, [self.device], at - around, at + around)
        return {row["person"] for row in rows}
