"""What the bridge does beside its work for the registry: hearing of changes.

One concern: that loop. It must never hold up a message.
"""

from __future__ import annotations

from hub.wiring import House
from hub.worker.bridge import Bridge


async def follow(house: House, bridge: Bridge) -> None:
    """Read the registry when somebody has changed it. Without the bell it is read every half minute anyway."""
    async for word in house.bell.heard():
        if word in ("devices", "lost"):
            await bridge.reload()
