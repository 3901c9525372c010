"""Shares of schools at connectors: what one school owes one connector rests, until a person lets it go on.

One concern: that rest, its alarm and its end. The deliveries stay *ready*; claims pass over them. It must never judge
whether a share should rest (`hub.worker.guard` does), nor move a delivery from its state.

What a kill leaves: after a pause, a share without its alarm, or not yet set aside; after a resumption, some deliveries
still set aside. `watch`, which every worker calls every few seconds, makes both good.
"""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins

from hub.kernel.ledger import alarms
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import because, note
from hub.kernel.ports import Text
from hub.kernel.store.db import sql

ALARM = "share"
_STEP = 5_000


async def pause_share(core: Core, connector: int, school: str | None, cause: str, message: Text) -> bool:
    """Let a school's share rest. False when it rested already: one fault, one alarm."""
    async with core.pool.acquire() as connection, connection.transaction():
        done = bool(await connection.fetchval(sql.share_pause, connector, school or "", cause, to_builtins(message)))
        if done:
            data = {"school": school or "", "cause": cause, "message": to_builtins(message)}
            await note(core, connection, "hub", "pause_share", connector=connector, **data)
    await watch(core)
    return done


async def resume_share(core: Core, actor: str, connector: str, school: str, why: str = "") -> bool:
    """Let a school's share go on. False when it did not rest."""
    async with core.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(sql.connector_by_name, connector)
        cause = await connection.fetchval(sql.share_resume, row["id"], school) if row else None
        if cause is not None:
            told = because(why)
            await note(core, connection, actor, "resume_share", connector=row["id"], school=school, cause=cause, **told)
    if cause is not None:
        await watch(core)
        core.on_commit("ready")
    return cause is not None


async def paused(core: Core, connector: int | None = None) -> list[Any]:
    """Shares that rest, all or those at one connector: `connector`, `school`, `school_name`, `cause`, `message`,
    `paused_at`, and `ready`, how much of it waits (counted up to 10,001)."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.shares_paused, connector))


async def watch(core: Core) -> int:
    """Say which shares rest, set aside what is ready in them, take back what need not lie aside. Returns how many moved."""
    moved = 0
    for statement in (sql.shares_aside, sql.shares_back):
        async with core.pool.acquire() as connection:
            while step := len(await connection.fetch(statement, _STEP)):
                moved += step
    standing = [alarms.Alarm(ALARM, f"{r['connector']} {r['school']}".rstrip(), _said(r)) for r in await paused(core)]
    await alarms.report(core, ALARM, standing)
    return moved


def _said(row: Any) -> Text:
    who_vi, who_en = (
        row["school_name"] or row["school"] or "không thuộc trường nào",
        row["school_name"] or row["school"] or "no school",
    )
    message = row["message"]
    return Text(
        f"Kết nối {row['connector']}, phần của {who_vi} tạm nghỉ: {message['vi']}",
        f"Connector {row['connector']}, the share of {who_en} rests: {message['en']}",
    )
