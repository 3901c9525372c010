"""Which gates of a vendor's account a list has spoken for: since when, and no longer.

One concern: those facts, as lines of the gates' own history. A list passes over gates that are not registered, so one that is new
to it is asked for from further back; that it was stands in the transaction that fixes the run's span (`gate_lists.begin`). What a
kill leaves is a gate that still counts as new, or the run that asks for it. It must never decide who belongs to an account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import note
from hub.kernel.store.db import Connection, sql

_json = msgspec.json.Encoder().encode
_ACTOR = "hub"


async def spoken_for(core: Core, lists: Sequence[str]) -> dict[str, dict[str, datetime]]:
    """By list (the gate that is asked): the gates it has spoken for, each with the time from which it was asked for it."""
    found: dict[str, dict[str, datetime]] = {}
    async with core.pool.acquire() as connection:
        for row in await connection.fetch(sql.gate_list_spoken, list(lists)):
            found.setdefault(row["list"], {})[row["device"]] = row["since"]
    return found


async def resting(core: Core, families: Sequence[str]) -> list[str]:
    """Lists of vendors' accounts that wait for their time: none is being read, at fault, or due."""
    async with core.pool.acquire() as connection:
        return [row["device"] for row in await connection.fetch(sql.gate_lists_resting, list(families))]


async def joined(core: Core, connection: Connection, device: str, gates: Sequence[str], since: datetime) -> None:
    """From `since` on the list of `device` is asked for these as well; within the caller's transaction, with its line of the
    journal."""
    await _lines(connection, gates, "listed", {"by": device, "since": since})
    await note(core, connection, _ACTOR, "gate_listed", device=device, gates=sorted(gates), since=since)


async def left(connection: Connection, device: str, gates: Sequence[str]) -> None:
    """The list of `device` speaks for these no longer; within the caller's transaction."""
    await _lines(connection, gates, "unlisted", {"by": device})


async def _lines(connection: Connection, gates: Sequence[str], kind: str, data: Mapping[str, Any]) -> None:
    names = sorted(gates)
    await connection.execute(sql.gate_note, names, _ACTOR, kind, [_json(data) for _ in names])
