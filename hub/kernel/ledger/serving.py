"""Which worker serves a connector that only one may serve at a time.

One concern: that lease. It is by the database's clock. What a kill leaves: a lease that ends by itself within `SERVING_S`. It
must never name two workers at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from hub.kernel.ledger.core import Core
from hub.kernel.store.db import sql

SERVING_S = 6.0
"""How long a connector stays a worker's without being asked for again."""


async def take(core: Core, connectors: Iterable[int]) -> set[int]:
    """Ask for connectors, or keep them: those that are this worker's for `SERVING_S` seconds from before this call returned."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.serving_take, sorted(connectors), core.worker, SERVING_S)
    return {row["connector"] for row in rows}


async def leave(core: Core) -> None:
    """Give back all that are this worker's: the next one need not wait for their end."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.serving_leave, core.worker)
