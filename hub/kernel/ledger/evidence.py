"""Everything the ledger holds about one record or one whole filing, gathered for a pack, and the chain's daily anchors.

One concern: reading, in one snapshot. It must never hand out a byte that speaks of a school outside the asker's scope:
where a stored body does, its hash goes in its place.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from msgspec import Struct, field

from hub.kernel.access import Scope
from hub.kernel.breath import breathing
from hub.kernel.ledger import upkeep
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.given_codes import kept_key
from hub.kernel.store.db import Connection, sql

RECORDS = 200
"""Most records of one filing in a pack."""
BYTES = 64 << 20
"""Bodies in a filing's pack: once so many are gathered, older records stay out."""
_EPOCH = date(2020, 1, 1)
_NAMING = frozenset({"intake", "decoded", "judged_again", "conclude"})
"""Kinds of lines that speak of all their `ids`."""


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
    withheld: set[str]
    entries: list[Any] = field(default_factory=list)
    chain: Chain = Chain(b"", [], None, [])

    @property
    def numbers(self) -> list[int]:
        """The records it tells of."""
        return [self.record["id"]]

    @property
    def subjects(self) -> set[int]:
        """What the journal's lines about it speak of."""
        return {self.record["message"], self.record["id"], *(d["id"] for d in self.deliveries)}

    @property
    def days(self) -> tuple[date, date]:
        """The days whose lines may speak of it: from, and before."""
        days = [_day(self.record["message"]), _day(self.record["id"]), *(a["at"].date() for a in self.attempts)]
        days += [d["closed_at"].date() for d in self.deliveries if d["closed_at"]]
        return min(days) - timedelta(days=1), max(days) + timedelta(days=2)

    @property
    def size(self) -> int:
        """Bytes of its bodies."""
        return sum(len(r["body"]) for r in (self.message, *self.calls, *self.replies) if r is not None and r["body"])


class Whole(Struct, frozen=True, kw_only=True):
    """A filing as a whole: its versions and the steps told of it, oldest first, and how many older ones are not there."""

    key: str
    records: list[Gathered]
    left_out: int

    @property
    def numbers(self) -> list[int]:
        """The records it tells of."""
        return [g.record["id"] for g in self.records]


async def find(core: Core, wanted: str, type_name: str | None = None) -> int | None:
    """The record a person means: a record's or delivery's number, or a business key of a type (its latest version). A learner's
    key may be any code of theirs but a temporary one without its school (`TAM-7@<school>`)."""
    async with core.pool.acquire() as connection:
        if type_name is None:
            if not wanted.isdigit() or int(wanted) >= 1 << 62:
                return None
            for query in (sql.evidence_record, sql.evidence_record_of_delivery):
                row = await connection.fetchrow(query, int(wanted))
                if row is not None:
                    return int(row["id"] if "id" in row else row["record"])
            return None
        key = await kept_key(connection, type_name, wanted)
        for query in (sql.evidence_record_of_key, sql.evidence_latest_of_key):
            found = await connection.fetchval(query, type_name, key)
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
        found = await _of(core, connection, record, scope)
        if found is not None:
            await _prove(connection, [found])
        return found


async def gather_whole(core: Core, record: int, scope: Scope) -> Gathered | Whole | None:
    """The same, but of a filing everything: each of its versions and each step told of it, of which `gather` gives the record's
    own alone. One snapshot; at most `RECORDS` of them and about `BYTES` of bodies, the newest, but the record itself always."""
    await upkeep.seal(core)
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        first = await _of(core, connection, record, scope)
        if first is None:
            return None
        key, found, total, room = first.record["key"], [first], 1, BYTES - first.size
        if first.record["type"] == "filing":
            schools = core.directory.schools_of(scope)
            others = await connection.fetch(sql.evidence_filing, key, schools, record, RECORDS - 1, timeout=120)
            total += others[0]["n"] if others else 0
            for r in others:
                one = await _of(core, connection, r["id"], scope) if room > 0 else None
                if one is not None:
                    found.append(one)
                    room -= one.size
        await _prove(connection, found)
    if total == 1:
        return first
    return Whole(key=key, records=sorted(found, key=lambda g: g.record["id"]), left_out=total - len(found))


async def _of(core: Core, connection: Connection, record: int, scope: Scope) -> Gathered | None:
    """What a record led to, without its proofs."""
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
    seen = {r["id"]: set(r["schools"]) for r in await connection.fetch(sql.evidence_schools, list(numbers), classes)}
    withheld = {f"calls/{c['id']}" for c in calls if not may_see(seen.get(c["id"], {None}))}
    # Rejected items belong to nobody known: only who may see everything may see a body that holds some.
    if not may_see({r["school"] for r in siblings} | ({None} if rejected else set())):
        withheld.add("message")
    return Gathered(
        record=row, message=message, siblings=[(r["id"], r["content"]) for r in siblings], rejected=rejected, deliveries=deliveries,
        attempts=attempts, calls=calls, replies=replies, withheld=withheld,
    )  # fmt: skip


async def _prove(connection: Connection, found: list[Gathered]) -> None:
    """Give each its lines of the journal and its chain. Days several of them need are read once, and seals too."""
    spans: list[tuple[int, date, date, list[Gathered]]] = []
    for one in sorted(found, key=lambda g: (g.record["class"], g.days)):
        klass, (since, until) = one.record["class"], one.days
        if spans and spans[-1][0] == klass and since <= spans[-1][2]:
            _, begun, ends, members = spans.pop()
            spans.append((klass, begun, max(ends, until), [*members, one]))
        else:
            spans.append((klass, since, until, [one]))
    sealed: dict[int, list[tuple[int, bytes]]] = {}
    for klass, since, until, members in spans:
        wanted = sorted(set().union(*(g.subjects for g in members)))
        entries = await connection.fetch(sql.evidence_entries, klass, since, until, wanted, timeout=120)
        for one in members:
            subjects = one.subjects
            one.entries = [e for e in entries if _speaks(e, subjects)]
            one.chain = await _chain(connection, klass, one.entries, sealed)


def _speaks(entry: Any, subjects: set[int]) -> bool:
    """Whether a line of the journal speaks of one of these: as `evidence_entries` asks it of all."""
    return entry["subject"] in subjects or (entry["kind"] in _NAMING and not subjects.isdisjoint(entry["ids"] or ()))


def _day(number: int) -> date:
    """The day an id carries."""
    return _EPOCH + timedelta(days=number >> 37)


async def _chain(
    connection: Connection, klass: int, entries: list[Any], sealed: dict[int, list[tuple[int, bytes]]]
) -> Chain:
    """The seals over the entries, and the chain from them to the first anchor after them. `sealed`: entries of seals read before."""
    found = await connection.fetch(sql.evidence_seals, klass, [e["tx"] for e in entries]) if entries else []
    wanted = {e["id"] for e in entries}
    seals: list[Seal] = []
    for s in found:
        if s["number"] not in sealed:
            rows = await connection.fetch(sql.sealed_rows, s["from_tx"], s["to_tx"], s["class"], s["day"], timeout=120)
            sealed[s["number"]] = [(r["id"], upkeep.entry_hash(r)) async for r in breathing(rows)]
        lines = sealed[s["number"]]
        holds = [(at, line) for at, (line, _) in enumerate(lines) if line in wanted]
        if holds:
            seals.append(Seal(s["number"], s["root"], [hashed for _, hashed in lines], holds))
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
