"""What the bridge knows of gates beyond one process's life: the last number seen, the holes before it, since when one is away.

One concern: those facts, written now and then. What a kill leaves is some seconds old: events seen meanwhile look missing to the
next process and are asked for again, which harms nothing, for they are known by their names. It must never be written per event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.store.db import sql

_json = msgspec.json.Encoder().encode


class Numbers(Struct, frozen=True):
    """A gate's numbers. `holes`: [first, last, how often asked for]. `beyond`: how many were missing and never asked for, because
    one gate may have no more open; it only grows."""

    device: str
    school: str
    highest: int
    holes: Sequence[Sequence[int]] = ()
    beyond: int = 0


async def load(core: Core) -> tuple[list[Numbers], dict[str, datetime]]:
    """What was noted of active gates: their numbers, and since when those that are away are away."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.gate_memory_all)
    numbers = [
        Numbers(r["device"], r["school"], r["highest"], r["holes"], r["beyond"])
        for r in rows
        if r["highest"] is not None
    ]
    return numbers, {r["device"]: r["away_since"] for r in rows if r["away_since"] is not None}


async def note_numbers(core: Core, numbers: Sequence[Numbers]) -> None:
    """Note gates' numbers, in one statement."""
    columns = [n.device for n in numbers], [n.school for n in numbers], [n.highest for n in numbers]
    async with core.pool.acquire() as connection:
        await connection.execute(
            sql.gate_memory_numbers, *columns, [_json(n.holes) for n in numbers], [n.beyond for n in numbers]
        )


async def note_away(core: Core, away: Mapping[str, datetime | None]) -> None:
    """Note since when gates are away; None: they are back."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_memory_away, list(away), list(away.values()))


async def beyond(core: Core) -> dict[str, int]:
    """Gates that within a day skipped more numbers than one may have asked for, and how many that were so far."""
    async with core.pool.acquire() as connection:
        return {r["device"]: r["beyond"] for r in await connection.fetch(sql.gate_numbers_beyond)}


async def forget(core: Core) -> None:
    """Drop what is known of gates that are no longer let in."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_memory_forget)
