"""Looking at the people sent to gates: what each gate has, what it lacks, and why.

One concern: those two questions. It must never change anything.
"""

from __future__ import annotations

from typing import Any

from hub.kernel.ledger.core import Core
from hub.kernel.store.db import sql


async def open_by_gate(core: Core, schools: list[str] | None) -> list[Any]:
    """Gates with people still to be told, by gate: how many, how many a person must help with, since when, why."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.gate_people_open, schools))


async def of_gate(
    core: Core, device: str, schools: list[str] | None, after: int | None, limit: int, *, only_open: bool = False
) -> list[Any]:
    """The people of one gate by their codes, beyond that of `after` (a record's number): each with the last that became of it."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.gate_people_of, device, schools, after, only_open, limit))
