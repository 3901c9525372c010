"""What people see and order of deliveries that wait for something else to be delivered first.

One concern: the list, letting go, and resolving tasks whose prerequisite has come. It must never touch a delivery that a
worker holds.
"""

from __future__ import annotations

from typing import Any

from hub.kernel.ledger import dependencies
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import note, resolve_task
from hub.kernel.store.db import sql


async def waiting(core: Core, schools: list[str] | None, connector: int | None = None) -> list[Any]:
    """What is waited for, by how many since when, and where the delivery of that entity stands itself.

    `schools`: those to look at; None for all.
    """
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.waits_list, schools, connector, timeout=15))


async def send_anyway(core: Core, actor: str, connector: int, name: str, why: str, schools: list[str] | None) -> int:
    """Let go what waits for `name` without it. `schools`: those the person may act for; None for all. Returns how many."""
    async with core.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(sql.waits_send, connector, name, schools)
        if rows:
            await note(
                core, connection, actor, "send_anyway", connector=connector, waited_for=name, why=why, moved=len(rows)
            )
    core.on_commit("ready")
    return len(rows)


async def sweep(core: Core) -> int:
    """Release what was parked for a prerequisite that has been delivered by now. Returns how many deliveries."""
    moved = 0
    for task in await dependencies.overdue_met(core):
        moved += await resolve_task(core, "hub", task, "release", "the prerequisite has been delivered") or 0
    return moved
