"""Everything the ledger holds about one record, gathered for a pack, and the chain's daily anchors.

One concern: reading, in one snapshot. It must never hand out a byte that speaks of a school outside the asker's scope:
where a stored body does, its hash goes in its place.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from msgspec import Struct, field

from hub.kernel.access import Scope
from hub.kernel.ledger import upkeep
from hub.kernel.ledger.core import Core
from hub.kernel.store.db import Connection, sql

_EPOCH = date(2020, 1, 1)


class Seal(Struct, frozen=True):
    """One seal: all its entries' hashes, and which of the pack's entries stand where among them."""

    number: int
    root: bytes
    entries: list[bytes]
    holds: list[tuple[int, int]]


class Chain(Struct, frozen=True):
    """From the value before the first seal needed to an anchor (or to the head, when none was set since)."""

    before: bytes
    links: list[tuple[int, bytes]]
    anchor: dict[str, Any] | None
    seals: list[Seal]


class Gathered(Struct, kw_only=True):
    """Rows about one record; bodies that are not the asker's to see are None, with `withheld` naming them."""

    record: Any
    message: Any | None
    siblings: list[tuple[int, bytes]]
    rejected: int
    deliveries: list[Any]
    attempts: list[Any]
    calls: list[Any]
    replies: list[Any]
    entries: list[Any]
    chain: Chain
    withheld: set[str] = field(default_factory=set)


async def find(core: Core, wanted: str, type_name: str | None = None) -> int | None:
    """The record a person means: a record's or delivery's number, or a business key of a type (its latest version)."""
    async with core.pool.acquire() as connection:
        if type_name is None:
            if not wanted.isdigit() or int(wanted) >= 1 << 62:
                return None
            for query in (sql.evidence_record, sql.evidence_record_of_delivery):
                row = await connection.fetchrow(query, int(wanted))
                if row is not None:
                    return int(row["id"] if "id" in row else row["record"])
            return None
        for query in (sql.evidence_record_of_key, sql.evidence_latest_of_key):
            found = await connection.fetchval(query, type_name, wanted)
            if found is not None:
                return int(found)
    return None


class Exchanged(Struct, kw_only=True):
    """One stored call (with its connector's row), its answered replies, and its deliveries' records in the call's order."""

    call: Any
    replies: list[Any]
    deliveries: list[Any]
    about: Exchanged | None = None
    """Of an inquiry: the call it asks about."""


async def exchange(core: Core, wanted: int) -> Exchanged | None:
    """A call by its number, or the last answered one of a delivery; None when there is neither."""
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        call = await connection.fetchrow(sql.evidence_call, wanted)
        if call is None:
            number = await connection.fetchval(sql.evidence_call_of_delivery, wanted)
            call = await connection.fetchrow(sql.evidence_call, number) if number is not None else None
        if call is None:
            return None
        found = await _exchanged(connection, call)
        number = await connection.fetchval(sql.evidence_asked_about, call["id"], call["deliveries"])
        if number is not None and (before := await connection.fetchrow(sql.evidence_call, number)) is not None:
            found.about = await _exchanged(connection, before)
        return found


async def _exchanged(connection: Connection, call: Any) -> Exchanged:
    replies = [r for r in await connection.fetch(sql.evidence_replies, [call["id"]]) if r["status"] is not None]
    found = {r["delivery"]: r for r in await connection.fetch(sql.evidence_exchange, call["deliveries"], call["id"])}
    return Exchanged(call=call, replies=replies, deliveries=[found[d] for d in call["deliveries"] if d in found])


async def heard(core: Core, message: int) -> Any | None:
    """What a counterparty told outside a delivery (a page of a list, an event), with its connector's row; None for any other."""
    async with core.pool.acquire() as connection:
        return await connection.fetchrow(sql.evidence_heard, message)


async def gather(core: Core, record: int, scope: Scope) -> Gathered | None:
    """All about a record within the asker's scope; None when there is none such. What is not sealed yet is sealed first."""
    await upkeep.seal(core)
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(sql.evidence_record, record)
        if row is None or not (scope.whole or core.directory.permits(scope, row["school"])):
            return None

        def may_see(schools: set[str | None]) -> bool:
            return scope.whole or all(core.directory.permits(scope, s or None) for s in schools)

        klass = row["class"]
        message = await connection.fetchrow(sql.evidence_message, row["message"], klass)
        siblings = await connection.fetch(sql.evidence_siblings, row["message"], klass)
        rejected = await connection.fetchval(sql.evidence_rejects, row["message"])
        deliveries = await connection.fetch(sql.evidence_deliveries, record)
        attempts = await connection.fetch(sql.evidence_attempts, [d["id"] for d in deliveries])
        numbers = {r["call"] for r in (*deliveries, *attempts) if r["call"] is not None}
        classes = list({d["class"] for d in deliveries} | {klass})
        calls = await connection.fetch(sql.evidence_calls, list(numbers), classes)
        replies = await connection.fetch(sql.evidence_replies, list(numbers))
        seen = {
            r["id"]: set(r["schools"]) for r in await connection.fetch(sql.evidence_schools, list(numbers), classes)
        }
        withheld = {f"calls/{c['id']}" for c in calls if not may_see(seen.get(c["id"], {None}))}
        # Rejected items belong to nobody known: only who may see everything may see a body that holds some.
        if not may_see({r["school"] for r in siblings} | ({None} if rejected else set())):
            withheld.add("message")
        subjects = [row["message"], record, *(d["id"] for d in deliveries)]
        days = [_day(row["message"]), _day(record), *(a["at"].date() for a in attempts)]
        days += [d["closed_at"].date() for d in deliveries if d["closed_at"]]
        entries = await connection.fetch(
            sql.evidence_entries,
            klass,
            min(days) - timedelta(days=1),
            max(days) + timedelta(days=2),
            subjects,
            timeout=120,
        )
        return Gathered(
            record=row, message=message, siblings=[(r["id"], r["content"]) for r in siblings], rejected=rejected,
            deliveries=deliveries, attempts=attempts, calls=calls, replies=replies, entries=entries,
            chain=await _chain(connection, klass, entries), withheld=withheld,
        )  # fmt: skip


def _day(number: int) -> date:
    """The day an id carries."""
    return _EPOCH + timedelta(days=number >> 37)


async def _chain(connection: Connection, klass: int, entries: list[Any]) -> Chain:
    """The seals over the entries, and the chain from them to the first anchor after them."""
    found = await connection.fetch(sql.evidence_seals, klass, [e["tx"] for e in entries]) if entries else []
    wanted = {e["id"] for e in entries}
    seals: list[Seal] = []
    for s in found:
        rows = await connection.fetch(sql.sealed_rows, s["from_tx"], s["to_tx"], s["class"], s["day"], timeout=120)
        holds = [(at, r["id"]) for at, r in enumerate(rows) if r["id"] in wanted]
        if holds:
            seals.append(Seal(s["number"], s["root"], [upkeep.entry_hash(r) for r in rows], holds))
    if not seals:
        return Chain(b"", [], None, [])
    first, last = seals[0].number, seals[-1].number
    end = await connection.fetchrow(sql.evidence_anchor_after, last)
    anchored = end is not None
    end = end or await connection.fetchrow(sql.evidence_head)
    anchor = {"seal": end["seal"], "chain": end["chain"].hex(), "at": end["at"].isoformat(), "anchored": anchored}
    links = [
        (r["number"], r["root"]) for r in await connection.fetch(sql.evidence_links, first, end["seal"], timeout=120)
    ]
    before = await connection.fetchval(sql.evidence_before, first - 1)
    return Chain(before or b"", links, anchor, seals)


async def anchor(core: Core) -> dict[str, Any] | None:
    """Set the day's anchor (UTC) when there is none yet: the chain's head, to be kept outside. None: there was one."""
    await upkeep.seal(core)
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.anchor_add)
    return dict(row) if row is not None else None


async def anchors(core: Core, limit: int = 400) -> list[Any]:
    """The latest anchors, newest first: day, seal, chain, at."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.anchors_latest, limit))
