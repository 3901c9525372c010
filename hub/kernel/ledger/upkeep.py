"""What the ledger needs done from time to time: ended leases, partitions, expiry, the journal's seal.

Every function may be run by several processes at once and at any time. It must never decide an outcome.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import date
from typing import Any

import asyncpg
import msgspec

from hub.kernel.failpoints import reach
from hub.kernel.leaves import carried_leaf, rooted
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.rows import JOURNAL_COLUMNS
from hub.kernel.lifecycle import State
from hub.kernel.store.db import patient, sql

_encode = msgspec.json.Encoder(order="deterministic").encode
_MANY = 2_000
"""Journal entries whose hashes would hold up everything else in the process: then a thread computes them."""
_WITH_BODIES = ("messages", "calls", "replies")
_PARTITION_TRIES, _PARTITION_REST_S = 10, 0.5
"""For what is being read, in all that is to be made."""
_RETIRE_TRIES = 5
"""For a day that is being read, before it is left to the next hour."""
_BITE = 5_000
"""Bodies erased in one transaction: what one statement that runs out of time can cost."""


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
    """Make the coming days' partitions. Returns how many were made, and how many rows stand in DEFAULT ones (an alarm).

    Each is made in a transaction of its own, which waits for nobody: what somebody is reading now is made in the next second or
    the next hour, and nobody who writes ever waits behind it.
    """
    made, tries = 0, _PARTITION_TRIES
    async with core.pool.acquire() as connection:
        while tries:
            try:
                name = await connection.fetchval(sql.make_partition, ahead_days, timeout=300)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                tries -= 1
                await asyncio.sleep(_PARTITION_REST_S)
                continue
            if name is None:
                break
            made += 1
        strays = await connection.fetchval(sql.default_rows, timeout=300)
    return made, int(strays)


async def today(core: Core) -> date:
    """The day in UTC by the database's clock: what is dropped for good must not hang on a worker's."""
    async with core.pool.acquire() as connection:
        day: date = await connection.fetchval(sql.today)
    return day


async def carry_current(core: Core, retention_class: int, before: date, *, batch: int = 2_000) -> int:
    """Copy the current versions of living entities out of a class's days before a date into today. Returns how many.

    Batch by batch, each whole or not at all: killed anywhere, the next run goes on with those that are still there. The
    copy is the same version with the same content under a new id; the journal's line, written with it, says which came from
    which and what each holds, so that the chain goes on proving it when the original's own line is gone.
    """
    carried, after = 0, 0
    async with core.pool.acquire() as connection:
        (end,) = await core.ids.take(connection, 1)
    while True:
        async with core.pool.acquire() as connection, connection.transaction():
            found = await connection.fetch(sql.carry_pick, retention_class, after, before, batch, end, timeout=300)
            if not found:
                return carried
            after = found[-1]["id"]
            columns = [r["type"] for r in found], [r["key"] for r in found], [r["id"] for r in found]
            # One that got a newer version meanwhile is let go; who adds versions takes these rows in the same order.
            old = [r["record"] for r in await connection.fetch(sql.carry_lock, *columns)]
            if old:
                note, *new = await core.ids.take(connection, len(old) + 1)
                await connection.execute(sql.carry_write, retention_class, old, new)
                held = {r["id"]: (r["message"], r["content"]) for r in found}
                leaves = [carried_leaf(n, o, *held[o]) for n, o in zip(new, old, strict=True)]
                await connection.execute(
                    sql.journal_note,
                    note,
                    retention_class,
                    core.worker,
                    "carried",
                    new,
                    *rooted(leaves, **{"from": old}),
                )
            reach("carry.inside")
        carried += len(old)


async def drop_partitions(core: Core, retention_class: int, before: date) -> list[str]:
    """Drop a class's whole days before a date, each in a transaction of its own. Returns what was dropped.

    Kept are days that open deliveries need, and the journal's until it is sealed. Current versions are carried into today
    first. A day somebody reads now is tried a few times, and else stays until the next hour: nobody who writes waits behind it for longer
    than its third of a second.
    """
    await carry_current(core, retention_class, before)
    async with core.pool.acquire() as connection:
        days = [r["day"] for r in await connection.fetch(sql.days_before, retention_class, before)]
    dropped: list[str] = []
    for day in days:
        for tried in range(_RETIRE_TRIES):
            if tried:
                await asyncio.sleep(_PARTITION_REST_S)
            try:
                dropped += await _retire(core, retention_class, day)
                break
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                # Somebody reads it, or writes to the tables in another order than they are dropped in.
                continue
    if dropped:
        async with core.pool.acquire() as connection:
            await connection.execute(sql.expired_forget, retention_class)
    return dropped


async def _retire(core: Core, retention_class: int, day: date) -> list[str]:
    async with core.pool.acquire() as connection, connection.transaction():
        gone = list(await connection.fetchval(sql.retire_day, retention_class, day, timeout=300))
        if gone:
            (note,) = await core.ids.take(connection, 1)
            said = {"class": retention_class, "day": day.isoformat(), "tables": gone}
            await connection.execute(sql.journal_note, note, 3, core.worker, "retired", None, said, None)
    return gone


async def expire_bodies(core: Core, retention_class: int, after_days: int) -> int:
    """Erase the bodies of messages, calls and replies older than that; hashes and metadata stay, and so does what an open
    delivery still needs. Returns how many bodies went.

    In bites, each a transaction of its own: broken off anywhere, what went is gone and the next run goes on with the rest.
    A day without any left is marked, and not read again. While another process is at it, this one leaves it alone.
    """
    gone = 0
    for what in _WITH_BODIES:
        async with core.pool.acquire() as connection:
            days = await connection.fetch(sql.expire_days, what, retention_class, after_days, timeout=300)
        for day in days:
            erased, kept = await _expire_day(core, what, retention_class, day["low"], day["high"])
            gone += erased
            if kept is None:
                return gone
            if not kept and day["past"]:
                async with core.pool.acquire() as connection:
                    await connection.execute(sql.expired_day, what, retention_class, day["day"])
    return gone


async def _expire_day(core: Core, what: str, retention_class: int, low: int, high: int) -> tuple[int, int | None]:
    """How many bodies of a day's went and how many had to stay; None: another process is at it."""
    find, erase = getattr(sql, f"expire_bite_{what}"), getattr(sql, f"expire_{what}")
    gone = kept = 0
    while True:
        async with core.pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(sql.expire_lock):
                return gone, None
            bite = await connection.fetchrow(find, retention_class, low, high, _BITE, timeout=300)
            if not bite["n"]:
                return gone, kept
            status = await connection.execute(erase, retention_class, low, bite["last"], timeout=300)
        erased = int(status.rpartition(" ")[2])
        gone, kept, low = gone + erased, kept + bite["n"] - erased, bite["last"] + 1


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
        # A push that comes later than a repeat would be known is not known either.
        await connection.execute(sql.gate_sightings_forget, after_days)
        while True:
            status = await connection.execute(sql.keys_expire, after_days)
            count = int(status.rpartition(" ")[2])
            gone += count
            if count < 10_000:
                return gone


async def seal(core: Core, wait_s: float = 0.0) -> int:
    """Chain the journal's finished transactions since the last seal. Returns how many entries were sealed. One process seals at
    a time: while another does, its end is waited for for `wait_s` seconds, and what is then left is sealed.

    Rows are taken by transaction id below the oldest one still running, so none can appear behind the seal. Each
    retention class and day among them gets a seal of its own: they go together when their day is dropped.
    """
    until = time.monotonic() + wait_s
    while True:
        try:
            sealed = await _seal(core)
        except asyncpg.UniqueViolationError:
            sealed = None  # another ended between what we see and our lock
        if sealed is not None:
            return sealed
        if time.monotonic() >= until:
            return 0
        await asyncio.sleep(0.05)


async def _seal(core: Core) -> int | None:
    """None: another process is at it."""
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        if not await connection.fetchval(sql.seal_lock):
            return None
        await patient(connection)
        last = await connection.fetchrow(sql.seal_last)
        start = last["to_tx"] if last else "0"
        rows = await connection.fetch(sql.seal_rows, start, timeout=300)
        if not rows:
            return 0
        horizon = await connection.fetchval(sql.seal_horizon)
        number, chain = (last["number"], last["chain"]) if last else (0, b"")
        parts: dict[tuple[int, date], list[Any]] = {}
        for r in rows:
            parts.setdefault((r["class"], r["day"]), []).append(r)
        for (klass, day), entries in sorted(parts.items()):
            root = await _root_of(entries)
            number += 1
            chain = _link(chain, number, root)
            await connection.execute(sql.seal_add, number, start, horizon, len(entries), root, chain, klass, day)
        return len(rows)


async def verify_seals(core: Core, days: int | None = None) -> list[int]:
    """The numbers of the seals whose entries were altered or removed, or whose place in the chain is broken.

    Every place in the chain is computed anew; the entries only of seals made in the last `days` days, or of all.
    Of a seal whose day retention has dropped only the place in the chain can still be looked at.
    """
    broken: list[int] = []
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await patient(connection)
        before = b""
        for s in await connection.fetch(sql.seals_all, days):
            whole = s["chain"] == _link(before, s["number"], s["root"])
            if whole and s["asked"] and not s["retired"]:
                entries = await connection.fetch(
                    sql.sealed_rows, s["from_tx"], s["to_tx"], s["class"], s["day"], timeout=300
                )
                whole = len(entries) == s["entries"] and await _root_of(entries) == s["root"]
            if not whole:
                broken.append(s["number"])
            before = s["chain"]
    return broken


async def _root_of(entries: list[Any]) -> bytes:
    """The root, computed beside the loop when it would stall it."""
    return await asyncio.to_thread(_root, entries) if len(entries) > _MANY else _root(entries)


def _root(entries: list[Any]) -> bytes:
    root = hashlib.sha256()
    for entry in entries:
        root.update(entry_hash(entry))
    return root.digest()


def _link(before: bytes, number: int, root: bytes) -> bytes:
    return hashlib.sha256(before + number.to_bytes(8, "big") + root).digest()


def entry_hash(row: Any) -> bytes:
    """SHA-256 over one journal entry's content, the same wherever it is computed."""
    return hashlib.sha256(entry_bytes(row)).digest()


def entry_bytes(row: Any) -> bytes:
    """One journal entry's content as it is hashed: a JSON array of its columns."""
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
    return _encode(parts)
