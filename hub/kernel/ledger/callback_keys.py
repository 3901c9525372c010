"""Which generations of a connector's callback address and signing key open now.

One concern: making a new one and ending the old, each with its line of the journal in one transaction. It must never hold an
address or a key: those are derived by whoever has the master key. A kill before the commit leaves nothing; one after it a new
generation nobody has seen: another is made, and what the counterparty uses goes on for as long as was said the first time.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import because, note
from hub.kernel.store.db import Connection, sql

OVERLAP = timedelta(hours=24)
"""How long the generation before still opens: time for the counterparty's operators to put in the new one."""


class Generation(Struct, frozen=True, kw_only=True):
    """`salt` goes into the derivation: a ledger brought back from a backup counts again, and makes other keys.

    `until`: when it ends; None for the present one."""

    number: int
    salt: bytes
    made_at: datetime | None = None
    until: datetime | None = None


FIRST = Generation(number=0, salt=b"")
"""What every connector has until somebody makes a new one."""


async def opening(connection: Connection, connectors: list[str]) -> dict[str, list[Generation]]:
    """The generations that open now, the present one first, by connector. Names need not be a connector's."""
    found: dict[str, list[Generation]] = {}
    for r in await connection.fetch(sql.callback_keys_open, connectors):
        one = Generation(number=r["generation"], salt=bytes(r["salt"]), made_at=r["made_at"], until=r["until"])
        found.setdefault(r["connector"], []).append(one)
    return {name: found.get(name, [FIRST]) for name in connectors}


async def make(core: Core, actor: str, connector: str, number: int, why: str = "") -> Generation:
    """A new generation for a connector (`number`: its own); the one before opens for `OVERLAP` longer."""
    async with core.pool.acquire() as connection, connection.transaction():
        # Two at once take turns: each sees its own.
        await connection.fetchval(sql.connector_lock, number)
        last = await connection.fetchval(sql.callback_keys_last, connector) or 0
        await connection.execute(sql.callback_keys_put_off, connector, last, OVERLAP)
        salt = os.urandom(16)
        made_at = await connection.fetchval(sql.callback_keys_add, connector, last + 1, salt)
        await note(core, connection, actor, "callback_made", connector=number, generation=last + 1, **because(why))
    return Generation(number=last + 1, salt=salt, made_at=made_at)


async def end_old(core: Core, actor: str, connector: str, number: int, why: str = "") -> int:
    """End what was before the present generation now. Returns how many ended."""
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.fetchval(sql.connector_lock, number)
        ended = [r["generation"] for r in await connection.fetch(sql.callback_keys_end, connector)]
        if ended:
            told = because(why)
            await note(core, connection, actor, "callback_ended", connector=number, generations=ended, **told)
    return len(ended)
