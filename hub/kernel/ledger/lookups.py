"""Look-ups of people: the log that is written first, and the conversations that go on later.

What a kill leaves: a line of the log without a look-up (never a look-up without its line); a conversation as it stood after
its last finished step. It must never hold or return what was looked up, only a keyed hash of it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.shapes import Conclusion, Exchange
from hub.kernel.lifecycle import FINAL
from hub.kernel.ports import Call
from hub.kernel.store.db import Connection, sql

COLUMNS = ("call", "connector", "delivery", "request_id", "officer", "purpose", "input_hash", "from_call")

_json = msgspec.json.Encoder().encode


class Unaccounted(Exception):
    """Tra cứu thiếu mục đích hoặc cán bộ chịu trách nhiệm. / A look-up without a purpose or an officer answerable for it."""


def is_lookup(call: Call) -> bool:
    """Whether a call that stores an intent looks somebody up. One sent again as it was has lost its input, not its purpose."""
    return "lookup_of" in call.meta or "purpose" in call.meta


def accounted(call: Call) -> bool:
    """Whether a look-up says why it is made and who answers for it."""
    return all(str(call.meta.get(name) or "").strip() for name in ("purpose", "officer", "request_id"))


async def write(core: Core, connection: Connection, exchanges: list[Exchange]) -> None:
    """Write the log's lines in the caller's transaction: who, for what, a keyed hash of the input, never the input.

    Raises `Unaccounted`: then nothing of the batch is stored, and nothing of it may be sent.
    """
    looking = [e for e in exchanges if is_lookup(e.call)]
    if not looking:
        return
    if not all(accounted(e.call) for e in looking):
        raise Unaccounted
    again = [str(e.call.meta["request_id"]) for e in looking if "lookup_of" not in e.call.meta]
    before = {r[0]: r[1] for r in await connection.fetch(sql.lookups_inputs, again)} if again else {}
    lines = []
    for e in looking:
        meta, request_id = e.call.meta, str(e.call.meta["request_id"])
        hashed = (
            bytes.fromhex(core.hasher(str(meta["lookup_of"]).encode())) if "lookup_of" in meta else before.get(request_id, b"")
        )  # fmt: skip
        lines.append(
            (e.id, e.connector, e.call.deliveries[0], request_id, str(meta["officer"]), str(meta["purpose"]), hashed, e.kept)
        )  # fmt: skip
    await connection.copy_records_to_table("lookups", records=lines, columns=COLUMNS)


async def recent(core: Core, schools: list[str] | None, before: int | None = None, limit: int = 100) -> list[Any]:
    """The log, latest first, without the inputs' hashes. `schools` None: all."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.lookups_recent, before or (1 << 62), schools, limit))


# ------------------------------------------------------------------------------------------ conversations


async def conversations(core: Core, deliveries: list[int]) -> dict[int, dict[str, str]]:
    """Where the conversations of these deliveries stand; those without one are left out."""
    async with core.pool.acquire() as connection:
        return {r["delivery"]: r["state"] for r in await connection.fetch(sql.conversations_of, deliveries)}


async def keep(connection: Connection, connector: int, conclusions: list[Conclusion], done: set[int]) -> None:
    """Keep what the conclusions that took effect say of their conversations, in their transaction."""
    going = [c for c in conclusions if c.conversation is not None and c.delivery.id in done]
    if going:
        await connection.execute(
            sql.conversations_put, [c.delivery.id for c in going], [connector] * len(going), [_json(c.conversation) for c in going],
            [c.reference for c in going],
        )  # fmt: skip
    ended = [c.delivery.id for c in conclusions if c.delivery.talking and c.target in FINAL and c.delivery.id in done]
    if ended:
        await connection.execute(sql.conversations_end, ended)


async def tidy(core: Core) -> None:
    """Forget conversations whose delivery somebody ended."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.conversations_tidy)
