"""Spans that gates are asked to send again by command: one at a time per gate, kept until the gate has answered.

What a kill leaves: a command that stands as sent; when no answer comes it is sent again, which harms nothing: what the gate
sends is known by its names. It must never send anything itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.store.db import sql

TRIES = 5
"""A gate is asked so often for one span; after that it is known not to answer."""


class Command(Struct, frozen=True, kw_only=True):
    """One span to ask a gate for; both ends aware. `own_clock`: they are what the gate's own clock, which was lost, told."""

    id: int
    device: str
    span_start: datetime
    span_end: datetime
    tries: int
    own_clock: bool = False


async def add(core: Core, device: str, start: datetime, end: datetime, reason: str) -> int:
    """Ask a gate for a span; the number of the command: an open one's when it covers the span already, or one that grows to
    cover it because it waits or was never answered (with a number of its own from then on, where it was sent before: an answer to the
    narrower one is none to it). For the reason `offline` (the gate is back) its questions that nobody
    answered are asked again as well."""
    async with core.pool.acquire() as connection:
        if reason == "offline":
            await connection.execute(sql.gate_command_revive, device)
        return int(await connection.fetchval(sql.gate_command_add, device, start, end, reason))


async def follow(core: Core, device: str, start: datetime, end: datetime) -> None:
    """Ask a gate also for what it noted by a clock that was lost, a span by that clock: a question of its own, with a number
    of its own, given once the one on its way has ended. Asked for again while it is open it is the same one."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_command_follow, device, start, end)


async def take(core: Core, devices: Sequence[str], stale_s: float) -> list[Command]:
    """Commands to send now to these gates, at most one each; they stand as sent from here on. One that got no answer
    within `stale_s`, then twice that and so on, is among them again; after `TRIES` of them it has failed as `silent`."""
    async with core.pool.acquire() as connection:
        while True:
            try:
                rows = await connection.fetch(sql.gate_command_take, list(devices), stale_s, TRIES)
            except asyncpg.UniqueViolationError:
                continue  # another took another one of the same gate's in this moment: it is seen now
            return [Command(**dict(r)) for r in rows]


async def not_sent(core: Core, numbers: Sequence[int], again_s: float) -> None:
    """These were taken and could not be handed to the gates' broker: they wait again, and the try does not count."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_command_not_sent, list(numbers), again_s)


async def waiting(core: Core, stale_s: float) -> frozenset[str]:
    """The gates that have a command to be sent."""
    async with core.pool.acquire() as connection:
        return frozenset(r["device"] for r in await connection.fetch(sql.gate_command_waiting, stale_s))


async def end(core: Core, number: int, code: str, *, done: bool, again_s: float | None = None) -> str | None:
    """A gate's answer: done, or again after so many seconds, or (None) failed. The gate, None when nothing was open."""
    async with core.pool.acquire() as connection:
        device: str | None = await connection.fetchval(sql.gate_command_end, number, code[:40], done, again_s)
    return device


async def forget(core: Core, days: int) -> None:
    """Throw away what ended so many days ago, and what gates that are no longer in use were asked."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_command_forget, days)


async def one(core: Core, number: int) -> Any:
    """One command's row, or None."""
    async with core.pool.acquire() as connection:
        return await connection.fetchrow(sql.gate_command_one, number)
