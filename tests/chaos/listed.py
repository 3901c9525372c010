"""Gates that are asked for their lists and push nothing meanwhile: Dahua's, HANET's and Hikvision's, with memories of their own.

One concern: those memories, and when the hub says that it has read them. It must never read anything of the hub's but its answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from hub.api.control import control_token
from hub.kernel.ledger import gate_lists
from iot.dahua.simulator import DahuaStore
from iot.hanet.simulator import HanetPlace
from iot.hikvision.simulator import HikvisionStore
from iot.simulator import ListGate, Stored
from tests.chaos.books import Passage
from tests.chaos.world import World

COUNT = 25
_PATIENCE_S = 100.0
"""Beyond the lease of a worker that was killed while it asked."""


_STORES: dict[str, Callable[[list[Stored], str], ListGate]] = {
    "dahua": lambda stored, _: DahuaStore(stored, slow_s=0.2, order="newest", most=15),
    "hanet": lambda stored, device: HanetPlace(stored, camera=device, slow_s=0.2),
    "hikvision": lambda stored, _: HikvisionStore(stored, size=10, slow_s=0.2),
}


class Listed:
    """One gate of each family that lists. Every passage is by a person who passes but once."""

    def __init__(self, world: World, *, prefix: str) -> None:
        self.world = world
        self._stack = AsyncExitStack()
        self._stores: dict[str, ListGate] = {}
        self._families = {f"{prefix}-{family}": family for family in _STORES}

    async def start(self) -> None:
        """Register them and have them asked, again and again, while whatever happens happens."""
        await self.world.install(*self._families.items())
        began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=20)
        for device, family in self._families.items():
            stored = [
                Stored(number=n + 1, person=f"L.{device}.{n}", at=began + timedelta(seconds=20 * n))
                for n in range(COUNT)
            ]
            store = _STORES[family](stored, device)
            self._stores[device] = store
            settings = list_settings(await self._stack.enter_async_context(store))
            await gate_lists.put(self.world.house.core, "chaos", device, settings, None, began - timedelta(minutes=10))

    async def finish(self) -> list[Passage]:
        """Wait until the hub says that it has read them all; what they know of their passages."""
        done = await read_to_end(self.world, {d: store.stored[-1].at for d, store in self._stores.items()})
        await self._stack.aclose()
        return [
            Passage(device=device, person=s.person, acked=device in done, clock_right=True)
            for device, store in self._stores.items()
            for s in store.stored
        ]


def list_settings(address: str) -> dict[str, Any]:
    """How a gate of these runs is asked."""
    return {
        "transport": {"kind": "rest", "base_url": address}, "network": "127.0.0.0/8", "every_s": 10, "place": "12345",
    }  # fmt: skip


async def read_to_end(world: World, lasts: dict[str, datetime]) -> set[str]:
    """Wait until the hub says of each gate that it has read its list beyond its last passage, or patience ends; those it
    says it of."""
    done: set[str] = set()
    end = asyncio.get_running_loop().time() + _PATIENCE_S
    headers = {"Authorization": f"Bearer {control_token(world.house.keys)}"}
    async with httpx.AsyncClient(base_url=world.url, headers=headers, timeout=5) as client:
        while len(done) < len(lasts) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.5)
            try:
                told: dict[str, Any] = (await client.get("/control/v1/gates/lists")).json()
            except (httpx.TransportError, ValueError):
                continue
            done = {
                r["device"] for r in told.get("items", ())
                if (last := lasts.get(r["device"])) and datetime.fromisoformat(r["done_to"]) > last
            }  # fmt: skip
    return done
