"""What the bridge does beside its work for the registry: hearing of changes, and saying who is held back.

One concern: those two loops. It must never hold up a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from hub.kernel.ledger import alarms
from hub.kernel.ledger.core import TRANSIENT
from hub.wiring import House
from hub.worker.bridge import Bridge
from hub.worker.gate_guard import alarms_of

log = logging.getLogger("hub.gates")

_LOOK_S = 5.0
_SAY_S = 60.0


async def follow(house: House, bridge: Bridge) -> None:
    """Read the registry when somebody has changed it. Without the bell it is read every half minute anyway."""
    async for word in house.bell.heard():
        if word in ("devices", "lost"):
            await bridge.reload()


async def say(house: House, bridge: Bridge, look_s: float = _LOOK_S) -> None:
    """Start and end the alarms of gates that are held back: when that changes, and once a minute."""
    said: dict[str, list[str]] | None = None
    loop = asyncio.get_running_loop()
    at = float("-inf")
    while True:
        standing = bridge.guard.standing()
        if standing != said or loop.time() - at > _SAY_S:
            with contextlib.suppress(*TRANSIENT):
                for kind, found in alarms_of(standing).items():
                    await alarms.report(house.core, kind, found)
                said, at = standing, loop.time()
        await asyncio.sleep(look_s)
