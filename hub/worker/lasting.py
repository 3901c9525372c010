"""Loops that go on beside a process's work: one that breaks off is told of and begun anew.

One concern: that none of them ends unseen, nor takes the others with it. It must never hold what a loop is about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("hub.loops")

_REST_S = 5.0


async def lasting(name: str, loop: Callable[[], Awaitable[None]], rest_s: float = _REST_S) -> None:
    """Run `loop` until it ends by itself or is cancelled; after a fault again, `rest_s` seconds later."""
    while True:
        try:
            await loop()
            return
        except Exception:
            log.exception("%s broke off and begins anew", name)
            await asyncio.sleep(rest_s)
