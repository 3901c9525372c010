"""Saying which gates a process holds back: when that changes, and now and then.

One concern: that loop, the same for bridges and gateways. It must never hold up a message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from hub.kernel.ledger import gate_held
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.worker.gate_guard import alarms_of

LOOK_S = 5.0
_SAY_S = 60.0
_GOOD_FOR_S = 150.0


async def say(core: Core, standing: Callable[[], dict[str, list[str]]], look_s: float = LOOK_S) -> None:
    """Tell what stands, when it changes and every minute: also that nothing does, for one that is gone can no longer say so of its
    own. Told once more at the end."""
    said: dict[str, list[str]] | None = None
    loop = asyncio.get_running_loop()
    at = float("-inf")
    try:
        while True:
            now = standing()
            if now != said or loop.time() - at > _SAY_S:
                with contextlib.suppress(*TRANSIENT):
                    await gate_held.tell(core, core.worker, now, _GOOD_FOR_S, alarms_of)
                    said, at = now, loop.time()
            await asyncio.sleep(look_s)
    finally:
        if said and any(said.values()):
            with contextlib.suppress(*TRANSIENT):
                await gate_held.tell(core, core.worker, {kind: [] for kind in said}, _GOOD_FOR_S, alarms_of)
