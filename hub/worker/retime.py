"""Brings check-ins to their truth once it is known: clocks told, persons linked, late punches placed.

One concern: when. What is done is `hub.kernel.ledger.rejudge`'s. Any number of workers may call it; one at a time works. It
must never hold up a dispatcher: a batch, then leave to others.
"""

from __future__ import annotations

import asyncio
import logging

from hub.kernel.ledger import rejudge
from hub.kernel.ledger.core import Core

log = logging.getLogger("hub.retime")

_ROUNDS = 50
"""Batches in one go: what is left goes on at the next tick."""


async def find(core: Core) -> None:
    """Look what has become known."""
    told = await rejudge.sweep(core)
    if told:
        log.info("the clocks of %d gates can be told; what waited for them is judged again", told)


async def advance(core: Core) -> int:
    """Judge again what is due, batch after batch. Returns how many were looked at."""
    total = 0
    for _ in range(_ROUNDS):
        looked = await rejudge.advance(core)
        total += looked
        if looked < rejudge.BATCH:
            break
        await asyncio.sleep(0)
    return total
