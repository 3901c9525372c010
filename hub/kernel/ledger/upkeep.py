"""What the ledger needs done from time to time: ended leases, partitions, expiry, the journal's seal.

Every function may be run by several processes at once and at any time. It must never decide an outcome.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Any

import msgspec

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.intake import JOURNAL_COLUMNS
from hub.kernel.lifecycle import State
from hub.kernel.store.db import sql

_encode = msgspec.json.Encoder(order="deterministic").encode


async def end_leases(core: Core) -> int:
    """Put back what lost its worker: ready when nothing had been sent, uncertain after an intent. Returns how many."""
    async with core.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(sql.leases_lost)
        await connection.execute(sql.leases_lost_uncertain)
        uncertain = [r for r in rows if r["state"] == int(State.UNCERTAIN)]
        if uncertain:
            ids = await core.ids.take(connection, len(uncertain))
            await connection.copy_records_to_table(
                "journal",
                records=[
                    (
                        i,
                        r["class"],
                        core.worker,
                        "uncertain",
                        r["connector"],
                        r["id"],
                        None,
                        {"cause": "lease_lost_intent", "call": r["intent"]},
                    )
                    for i, r in zip(ids, uncertain, strict=True)
                ],
                columns=JOURNAL_COLUMNS,
            )
    if rows:
        core.on_commit("ready")
    return len(rows)


async def make_partitions(core: Core, ahead_days: int) -> tuple[int, int]:
    """Make the coming days' partitions. Returns how many were made, and how many rows stand in DEFAULT ones (an alarm)."""
    async with core.pool.acquire() as connection:
        made = await connection.fetchval(sql.make_partitions, ahead_days, timeout=300)
        strays = await connection.fetchval(sql.default_rows, timeout=300)
    return int(made), int(strays)


async def drop_partitions(core: Core, retention_class: int, before: date) -> list[str]:
    """Drop a class's whole days before a date. Days that open deliveries still need are kept. Returns what was dropped."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetchval(sql.drop_partitions, retention_class, before, timeout=300))


async def expire_bodies(core: Core, retention_class: int, after_days: int) -> int:
    """Erase the bodies of messages, calls and replies older than that; hashes and metadata stay, and so does what an open
    delivery still needs. Returns how many bodies went."""
    gone = 0
    async with core.pool.acquire() as connection:
        floor = await connection.fetchval(sql.id_floor, after_days)
        for statement in (sql.expire_messages, sql.expire_calls, sql.expire_replies):
            status = await connection.execute(statement, retention_class, floor, timeout=600)
            gone += int(status.rpartition(" ")[2])
    return gone


async def promote_orphans(core: Core) -> int:
    """The safety net under promotion: heads for keys that have followers and nothing before them. More than none is a defect."""
    async with core.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(sql.promote_orphans, timeout=300)
        if not rows:
            return 0
        await connection.fetchval(sql.order_locks, sorted({r["order_key"] for r in rows}))
        promoted = await connection.fetch(
            sql.promote_checked, [r["connector"] for r in rows], [r["order_key"] for r in rows]
        )
    core.on_commit("ready")
    return len(promoted)


async def forget_keys(core: Core, after_days: int) -> int:
    """Forget intake keys older than their own retention, in small bites. Returns how many went."""
    gone = 0
    async with core.pool.acquire() as connection:
        while True:
            status = await connection.execute(sql.keys_expire, after_days)
            count = int(status.rpartition(" ")[2])
            gone += count
            if count < 10_000:
                return gone


async def seal(core: Core) -> int:
    """Chain the journal's finished transactions since the last seal. Returns how many entries were sealed.

    Rows are taken by transaction id below the oldest one still running, so none can appear behind the seal.
    """
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        if not await connection.fetchval(sql.seal_lock):
            return 0
        last = await connection.fetchrow(sql.seal_last)
        start = last["to_tx"] if last else "0"
        rows = await connection.fetch(sql.seal_rows, start, timeout=300)
        if not rows:
            return 0
        horizon = await connection.fetchval(sql.seal_horizon)
        root = hashlib.sha256()
        for r in rows:
            root.update(entry_hash(dict(r)))
        number = last["number"] + 1 if last else 1
        before = last["chain"] if last else b""
        chain = hashlib.sha256(before + number.to_bytes(8, "big") + root.digest()).digest()
        await connection.execute(sql.seal_add, number, start, horizon, len(rows), root.digest(), chain)
        return len(rows)


async def verify_seals(core: Core) -> list[int]:
    """Compute every seal anew. Returns the numbers of those whose entries were altered or removed, or whose chain is broken."""
    broken: list[int] = []
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        before = b""
        for seal_row in await connection.fetch(sql.seals_all):
            root = hashlib.sha256()
            rows = await connection.fetch(sql.sealed_rows, seal_row["from_tx"], seal_row["to_tx"], timeout=300)
            for r in rows:
                root.update(entry_hash(dict(r)))
            chain = hashlib.sha256(before + seal_row["number"].to_bytes(8, "big") + seal_row["root"]).digest()
            if root.digest() != seal_row["root"] or len(rows) != seal_row["entries"] or chain != seal_row["chain"]:
                broken.append(seal_row["number"])
            before = seal_row["chain"]
    return broken


def entry_hash(row: dict[str, Any]) -> bytes:
    """SHA-256 over one journal entry's content, the same wherever it is computed."""
    parts = [
        row["id"],
        row["tx"],
        row["at"].isoformat(),
        row["actor"],
        row["kind"],
        row["connector"],
        row["subject"],
        row["ids"],
        row["data"],
    ]
    return hashlib.sha256(_encode(parts)).digest()
