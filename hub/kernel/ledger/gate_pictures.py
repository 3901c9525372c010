"""Pictures of gates that a deployment was told to keep: sealed, for hours, each view with its purpose in the journal.

One concern: that table. It is in no WAL, hence in no base backup and no standby; a crash of the database empties it. What a
kill of ours leaves: a picture that is not kept, never one that is kept longer. It must never see a picture in clear, store
one of a gate that is not switched on, or give one out before the view is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import note
from hub.kernel.store.db import sql

_LAST = (1 << 62) - 1


class Sealed(Struct, frozen=True, kw_only=True):
    """One picture on its way into the table. `message`: the one it came with; `size`: its bytes in clear."""

    device: str
    school: str | None
    message: int
    kind: str
    size: int
    sealed: bytes


def place_of(device: str, message: int) -> bytes:
    """What a sealed picture is tied to: it opens for no other gate and no other message."""
    return f"gate picture {device} {message}".encode()


async def switch(core: Core, actor: str, device: str, on: bool, why: str, basis: str, hours: int) -> int:
    """Keep a gate's pictures from now on, or keep none any more: then those there are go with the same transaction.

    Gives how many were deleted. `basis`, `hours`: what the settings say, for the journal. Repeating it changes nothing."""
    async with core.pool.acquire() as connection, connection.transaction():
        gone = 0
        if on:
            changed = await connection.fetchval(sql.gate_pictures_on, device, actor, why)
        else:
            changed = await connection.fetchval(sql.gate_pictures_off, device)
            gone = int(await connection.fetchval(sql.gate_pictures_drop, device))
        if changed:
            kind = "pictures_on" if on else "pictures_off"
            await connection.execute(
                sql.gate_note, [device], actor, kind, [{"why": why, "basis": basis, "hours": hours}]
            )
            await note(core, connection, actor, f"gate_{kind}", device=device, why=why, basis=basis, hours=hours)
    core.on_commit("devices")
    return gone


async def standing(core: Core, device: str) -> Any:
    """Who switched a gate's pictures on, why and when; None when they are off."""
    async with core.pool.acquire() as connection:
        return await connection.fetchrow(sql.gate_picture_gate, device)


async def add(core: Core, pictures: Sequence[Sealed], hours: float) -> int:
    """Keep pictures for so many hours; how many were taken: none of a gate that is switched off meanwhile."""
    columns = [
        [getattr(p, name) for p in pictures] for name in ("device", "school", "message", "kind", "size", "sealed")
    ]
    async with core.pool.acquire() as connection:
        return len(await connection.fetch(sql.gate_pictures_add, *columns, hours))


async def of_gate(
    core: Core, device: str, schools: list[str] | None, before: int | None = None, limit: int = 50
) -> list[Any]:
    """A gate's pictures without the pictures, newest first: when, how large, until when, how often seen."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.gate_pictures_of, device, schools, before or _LAST, limit))


async def see(core: Core, actor: str, device: str, number: int, purpose: str, schools: list[str] | None) -> Any:
    """One sealed picture, once its view stands in the journal; None when there is none (any more) within `schools`."""
    async with core.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(sql.gate_picture_see, number, device, schools)
        if row is not None:
            await note(
                core, connection, actor, "gate_picture_seen", subject=row["message"], device=device, picture=number,
                purpose=purpose, kept_at=row["kept_at"].isoformat(),
            )  # fmt: skip
    return row


async def sweep(core: Core, hours: float) -> int:
    """Delete what is past its time; with 0 hours, when nothing may be kept, everything. How many went."""
    async with core.pool.acquire() as connection:
        return int(await connection.fetchval(sql.gate_pictures_sweep, hours))
