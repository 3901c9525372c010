"""A counterparty's quota among workers: shares of calls per second, and the calls of a day.

One concern: granting. What a worker does with its share is the worker's (`hub.worker.quota`). The shares that stand at
any moment never add up to more than the quota, and a day's calls are counted before they are made.

What a kill leaves: a share that ends by itself within `SHARE_S`, and calls of the day that were counted and never made.
It must never grant what another still holds.
"""

from __future__ import annotations

from datetime import date, datetime

from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.store.db import Connection, sql

SHARE_S = 10.0
"""How long a share stands without being asked for again."""
_DAY_END_S = 1.0
"""A day's calls are used up to so long before its end: what is on the wire then still falls into it."""


class Ask(Struct, frozen=True, kw_only=True):
    """What a worker asks of a quota. `keep`: calls per second it may still be using; `spare`: calls of the day it was
    granted and has not made."""

    per_second: int | None
    per_day: int | None
    keep: int = 0
    spare: int = 0


class Grant(Struct, frozen=True, kw_only=True):
    """What was granted. `share`: calls per second this worker may have, `held`: what it had before; both None without a
    limit per second. `calls`: more calls of `day`, to be used within `day_left_s`; None without a limit per day."""

    share: int | None = None
    held: int | None = None
    calls: int | None = None
    day: date | None = None
    day_left_s: float = 0.0


async def grant(
    core: Core, connection: Connection, connector: int, ask: Ask, calls: int, holder: str | None = None
) -> Grant:
    """A share and up to `calls` calls of the day, within the caller's transaction; locks the quota's row.

    `holder`: whose share it is, where that is not this worker's dispatcher: two with one name would both send all of it.
    """
    row = await connection.fetchrow(sql.quota_lock, connector)
    share = held = None
    if ask.per_second is not None:
        found = await connection.fetchrow(
            sql.quota_share, connector, holder or core.worker, ask.per_second, ask.keep, SHARE_S
        )
        # Above its fair part it keeps no more than it still needs, and less the next time.
        share, held = min(found["share"], found["target"]), found["held"]
    if ask.per_day is None:
        return Grant(share=share, held=held)
    left_s = row["day_left_s"] - _DAY_END_S
    more = max(0, min(calls - ask.spare, ask.per_day - row["day_used"])) if left_s > 0 and share != 0 else 0
    if more:
        await connection.execute(sql.quota_spend, connector, more)
    return Grant(share=share, held=held, calls=more, day=row["day"], day_left_s=left_s)


async def renew(core: Core, connector: int, ask: Ask, calls: int = 0, holder: str | None = None) -> Grant:
    """Ask again for a share, or for `calls` more calls of the day, apart from a claim."""
    async with core.pool.acquire() as connection, connection.transaction():
        return await grant(core, connection, connector, ask, calls, holder)


async def leave(core: Core, connector: int, spare: int, day: date | None, holder: str | None = None) -> None:
    """Give back a share, and the calls of a day that were not made."""
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.quota_leave, connector, holder or core.worker)
        if spare and day is not None:
            await connection.execute(sql.quota_return, connector, spare, day)


async def anew_at(core: Core, connector: int, per_day: int) -> datetime | None:
    """When the day's calls begin anew, where all of today's are granted; None while some are left."""
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.quota_of_day, connector, per_day)
    return row["anew_at"] if row is not None and row["used_up"] else None


async def forget(core: Core) -> None:
    """Shares of workers that are long gone."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.quota_forget)
