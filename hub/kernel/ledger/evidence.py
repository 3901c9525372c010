"""Everything the ledger holds about one record or one whole filing, gathered for a pack, and the chain's daily anchors.

One concern: reading, in one snapshot. It must never hand out a byte that speaks of a school outside the asker's scope:
where a stored body does, its hash goes in its place.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, timedelta
from typing import Any

from msgspec import Struct, field

from hub.kernel.access import Scope
from hub.kernel.breath import breathing
from hub.kernel.ledger import upkeep
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.given_codes import kept_key
from hub.kernel.ledger.mappings import digest_of, kept
from hub.kernel.ledger.shapes import Chain, Seal
from hub.kernel.store.db import Connection, patient, sql

RECORDS = 200
"""Most records of one filing in a pack."""
BYTES = 64 << 20
"""What goes into a filing's pack, bodies and proofs: once so much is gathered, older records stay out."""
_LINK, _HASH, _NUMBER = 80, 67, 22
"""Bytes in a pack of a link of the chain, of the hash of an entry beside those shown, of an id in an entry's content. A record
told of on a busy day leads through thousands of links to its anchor, and many times that when it was delivered days later."""
_AT_ONCE = 25  # records read in one go, with all their bodies
_SEALED_WITHIN_S = 10.0  # so long somebody who asks for evidence waits for another process's seal
_ROWS = 5_000  # rows of the journal or the chain read in one go
_COPY = 4  # disposition of a copy kept when its record's day was dropped: the same version under another number
_NAMING = frozenset({"intake", "decoded", "judged_again", "conclude", "carried"})
"""Kinds of lines that speak of all their `ids`."""


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
    mappings: dict[bytes, dict[str, bytes]] = field(default_factory=dict)
    """Files of what its calls were mapped by, by the hash their mapping ends with."""
    copies: list[int] = field(default_factory=list)
    """Numbers it had later, when days were dropped, up to the last one anything was sent under: their lines say that it is the same."""
    entries: list[Any] = field(default_factory=list)
    chain: Chain = Chain(b"", [], None, [])

    @property
    def numbers(self) -> list[int]:
        """The records it tells of."""
        return [self.record["id"]]

    @property
    def subjects(self) -> set[int]:
        """What the journal's lines about it speak of."""
        return {self.record["message"], self.record["id"], *self.copies, *(d["id"] for d in self.deliveries)}

    @property
    def days(self) -> tuple[date, date]:
        """The days whose lines may speak of it: from, and before."""
        days = [_day(self.record["message"]), _day(self.record["id"]), *(a["at"].date() for a in self.attempts)]
        days += [_day(c) for c in self.copies]
        days += [d["closed_at"].date() for d in self.deliveries if d["closed_at"]]
        return min(days) - timedelta(days=1), max(days) + timedelta(days=2)

    @property
    def size(self) -> int:
        """Bytes of its bodies and mappings."""
        bodies = sum(len(r["body"]) for r in (self.message, *self.calls, *self.replies) if r is not None and r["body"])
        return bodies + sum(len(data) for files in self.mappings.values() for data in files.values())


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
    """All about a record within the asker's scope; None when there is none such. What is not sealed yet is sealed first. Of a
    copy kept when a day was dropped: about the record it was made of, while that is there; else what remains of it."""
    await upkeep.seal(core, _SEALED_WITHIN_S)
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await patient(connection)
        record = await connection.fetchval(sql.evidence_original, record) or record
        found = await _of(core, connection, [record], scope)
        return (await _prove(connection, found))[0] if found else None


async def gather_whole(core: Core, record: int, scope: Scope) -> Gathered | Whole | None:
    """The same, but of a filing everything: each of its versions and each step told of it, of which `gather` gives the record's
    own alone. One snapshot; at most `RECORDS` of them and about `BYTES`, the newest, but the record itself always."""
    await upkeep.seal(core, _SEALED_WITHIN_S)
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await patient(connection)
        record = await connection.fetchval(sql.evidence_original, record) or record
        found = await _of(core, connection, [record], scope)
        if not found:
            return None
        key, total = found[0].record["key"], 1
        if found[0].record["type"] == "filing":
            schools = core.directory.schools_of(scope)
            others = await connection.fetch(sql.evidence_filing, key, schools, record, RECORDS - 1, timeout=120)
            total += others[0]["n"] if others else 0
            found += await _newest(core, connection, [r["id"] for r in others], scope, found[0].size)
        found = await _prove(connection, found)
    if total == 1:
        return found[0]
    return Whole(key=key, records=sorted(found, key=lambda g: g.record["id"]), left_out=total - len(found))


async def _newest(core: Core, connection: Connection, records: list[int], scope: Scope, taken: int) -> list[Gathered]:
    """As many of the records, newest first, as there is room for beside so many bytes: some at once, judged by the largest so
    far, so that not much more than that is ever read."""
    found: list[Gathered] = []
    largest = max(1, taken)
    while records and taken < BYTES:
        some = max(1, min(_AT_ONCE, (BYTES - taken) // largest))
        for one in await _of(core, connection, records[:some], scope):
            if taken < BYTES:
                found.append(one)
            taken, largest = taken + one.size, max(largest, one.size)
        records = records[some:]
    return found


async def _of(core: Core, connection: Connection, records: list[int], scope: Scope) -> list[Gathered]:
    """What these records led to, without the proofs, in their order; those outside the scope are not there."""
    rows = {r["id"]: r for r in await connection.fetch(sql.evidence_records, records)}
    rows = {n: r for n, r in rows.items() if scope.whole or core.directory.permits(scope, r["school"])}
    if not rows:
        return []

    def may_see(schools: set[str | None]) -> bool:
        return scope.whole or all(core.directory.permits(scope, s or None) for s in schools)

    # The journal knows a copy's message as one that made another record: beside the copy it would prove nothing.
    came = list({r["message"] for r in rows.values() if r["disposition"] != _COPY})
    classes = list({r["class"] for r in rows.values()})
    messages = {(m["id"], m["class"]): m for m in await connection.fetch(sql.evidence_messages, came, classes)}
    siblings = _by(await connection.fetch(sql.evidence_siblings, came, classes), "message")
    rejects = {r["message"]: r["n"] for r in await connection.fetch(sql.evidence_rejects, came)}
    copies = {r["copy"]: r["original"] for r in await connection.fetch(sql.evidence_copies, list(rows))}
    deliveries = _by(await connection.fetch(sql.evidence_deliveries, [*rows, *copies]), "record", copies)
    owed = [d["id"] for each in deliveries.values() for d in each]
    attempts = _by(await connection.fetch(sql.evidence_attempts, owed), "delivery")
    tries = [r for each in (*deliveries.values(), *attempts.values()) for r in each]
    numbers = list({r["call"] for r in tries if r["call"] is not None})
    classes = list({d["class"] for each in deliveries.values() for d in each} | set(classes))
    calls = {c["id"]: c for c in await connection.fetch(sql.evidence_calls, numbers, classes)}
    replies = _by(await connection.fetch(sql.evidence_replies, numbers), "call")
    versions = await kept(connection, {c["mapping"] for c in calls.values()})
    seen = {r["id"]: set(r["schools"]) for r in await connection.fetch(sql.evidence_schools, numbers, classes)}
    found: list[Gathered] = []
    for row in (rows[n] for n in records if n in rows):
        owes = deliveries.get(row["id"], [])
        tried = sorted((a for d in owes for a in attempts.get(d["id"], ())), key=lambda a: (a["at"], a["id"]))
        made = sorted({r["call"] for r in (*owes, *tried) if r["call"] is not None})
        withheld = {f"calls/{c}" for c in made if c in calls and not may_see(seen.get(c, {None}))}
        beside = [s for s in siblings.get(row["message"], ()) if s["class"] == row["class"]]
        rejected = rejects.get(row["message"], 0)
        # Rejected items belong to nobody known: only who may see everything may see a body that holds some.
        if not may_see({s["school"] for s in beside} | ({None} if rejected else set())):
            withheld.add("message")
        one = Gathered(
            record=row, message=messages.get((row["message"], row["class"])) if row["disposition"] != _COPY else None, rejected=rejected,
            siblings=[(s["id"], s["content"]) for s in beside], deliveries=owes, attempts=tried,
            copies=sorted(c for c, o in copies.items() if o == row["id"] and c <= max((d["record"] for d in owes), default=0)),
            calls=[calls[c] for c in made if c in calls], withheld=withheld,
            mappings={m: versions[m] for c in made if c in calls and (m := digest_of(calls[c]["mapping"])) in versions},
            replies=sorted((r for c in made for r in replies.get(c, ())), key=lambda r: r["id"]),
        )  # fmt: skip
        found.append(one)
    return found


def _by(rows: list[Any], column: str, stands: dict[Any, Any] | None = None) -> dict[Any, list[Any]]:
    """The rows, in their order, under what a column holds, or what that stands for."""
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault((stands or {}).get(row[column], row[column]), []).append(row)
    return found


async def _prove(connection: Connection, found: list[Gathered]) -> list[Gathered]:
    """Give each its lines of the journal and its chain. Only the first and, after it, as many as fit into `BYTES` with all that
    goes into their packs are returned; what that is is known before the seals' entries and the chain's links are read."""
    spans: list[tuple[int, date, date, list[Gathered]]] = []
    for one in sorted(found, key=lambda g: (g.record["class"], g.days)):
        klass, (since, until) = one.record["class"], one.days
        if spans and spans[-1][0] == klass and since <= spans[-1][2]:
            _, begun, ends, members = spans.pop()
            spans.append((klass, begun, max(ends, until), [*members, one]))
        else:
            spans.append((klass, since, until, [one]))
    seals: dict[int, dict[int, Any]] = {}
    for klass, since, until, members in spans:
        seals |= await _lines(connection, klass, since, until, members)
    ends_at = await _ends(connection, [max(needed) for needed in seals.values() if needed])
    kept: list[Gathered] = []
    room = BYTES
    for one in found:
        needed = seals[one.record["id"]]
        links = ends_at[max(needed)]["seal"] - min(needed) + 1 if needed else 0
        room -= one.size + _LINK * links + _HASH * sum(s["entries"] for s in needed.values())
        room -= sum(2 * len(e["leaves"] or b"") + _NUMBER * _told(e) for e in one.entries)
        if kept and room < 0:
            break
        kept.append(one)
    await _chain(connection, kept, seals, ends_at)
    return kept


def _told(entry: Any) -> int:
    """How many numbers stand in a line of the journal: of a copy also the one before."""
    return len(entry["ids"] or ()) * (2 if entry["kind"] == "carried" else 1)


async def _lines(
    connection: Connection, klass: int, since: date, until: date, members: list[Gathered]
) -> dict[int, dict[int, Any]]:
    """Give each its lines of the journal of these days. Returns the seals over them by number, for each record's number."""
    about: dict[int, list[Gathered]] = {}
    for one in members:
        for subject in one.subjects:
            about.setdefault(subject, []).append(one)
    entries = await connection.fetch(sql.evidence_entries, klass, since, until, sorted(about), timeout=120)
    told = sorted({int(e["tx"]) for e in entries})
    rows = await connection.fetch(sql.evidence_seals, klass, told, since, until, timeout=120) if told else []
    days = _by(rows, "day")
    needed: dict[int, dict[int, Any]] = {one.record["id"]: {} for one in members}
    async for e in breathing(entries):
        tx, of_day = int(e["tx"]), days.get(_day(e["id"]), [])
        at = bisect_right(of_day, tx, key=lambda s: int(s["from_tx"])) - 1
        seal = of_day[at] if at >= 0 and tx < int(of_day[at]["to_tx"]) else None
        # As `evidence_entries` asks it: some kinds speak of all their `ids`.
        said = {e["subject"], *(e["ids"] or ())} if e["kind"] in _NAMING else {e["subject"]}
        for number, one in {g.record["id"]: g for s in said for g in about.get(s, ())}.items():
            one.entries.append(e)
            if seal is not None:
                needed[number][seal["number"]] = seal
    return needed


def _day(number: int) -> date:
    """The day an id carries."""
    return date(2020, 1, 1) + timedelta(days=number >> 37)


async def _ends(connection: Connection, lasts: list[int]) -> dict[int, Any]:
    """Where the chain is led to from each of these seals: the first anchor after it, or the head when none was set since."""
    if not lasts:
        return {}
    found = {r["last"]: r for r in await connection.fetch(sql.evidence_anchors_after, sorted(set(lasts)))}
    head = None if found.keys() >= set(lasts) else await connection.fetchrow(sql.evidence_head)
    return {last: found.get(last, head) for last in lasts}


async def _chain(
    connection: Connection, found: list[Gathered], seals: dict[int, dict[int, Any]], ends_at: dict[int, Any]
) -> None:
    """Give each the seals over its entries, and the chain from them on. Each seal and each link is read once."""
    ways = {g.record["id"]: (min(n), ends_at[max(n)]) for g in found if (n := seals[g.record["id"]])}
    hashes = await _hashes(connection, {n: s["entries"] for r in ways for n, s in seals[r].items()})
    links = await _links(connection, [(first, end["seal"]) for first, end in ways.values()])
    befores = await connection.fetch(sql.evidence_befores, sorted({first - 1 for first, _ in ways.values()}))
    before = {r["number"]: r["chain"] for r in befores}
    for one in found:
        if one.record["id"] not in ways:
            continue
        first, end = ways[one.record["id"]]
        anchor = {k: end[k] for k in ("seal", "anchored")} | {"chain": end["chain"].hex(), "at": end["at"].isoformat()}
        wanted = {e["id"] for e in one.entries}
        held: list[Seal] = []
        for number, seal in sorted(seals[one.record["id"]].items()):
            holds = [(at, line) for at, (line, _) in enumerate(hashes[number]) if line in wanted]
            held.append(Seal(number, seal["root"], [hashed for _, hashed in hashes[number]], holds))
        way = [links[n] for n in range(first, end["seal"] + 1) if n in links]
        one.chain = Chain(before.get(first - 1, b""), way, anchor, held)


async def _hashes(connection: Connection, sizes: dict[int, int]) -> dict[int, list[tuple[int, bytes]]]:
    """The entries of these seals (number: how many it has), each with its hash, in their order."""
    found: dict[int, list[tuple[int, bytes]]] = {number: [] for number in sizes}
    parts: list[list[int]] = []
    room = 0
    for number in sorted(sizes):
        if not parts or sizes[number] > room:
            parts.append([])
            room = _ROWS
        parts[-1].append(number)
        room -= sizes[number]
    for part in parts:
        async for r in breathing(await connection.fetch(sql.evidence_sealed, part, timeout=120)):
            found[r["number"]].append((r["id"], upkeep.entry_hash(r)))
    return found


async def _links(connection: Connection, ways: list[tuple[int, int]]) -> dict[int, tuple[int, bytes]]:
    """The chain's links by number, from and to these: where the ways overlap, once."""
    found: dict[int, tuple[int, bytes]] = {}
    done = 0
    for first, last in sorted(ways):
        for start in range(max(first, done + 1), last + 1, _ROWS):
            stop = min(start + _ROWS - 1, last)
            async for r in breathing(await connection.fetch(sql.evidence_links, start, stop, timeout=120)):
                found[r["number"]] = (r["number"], r["root"])
        done = max(done, last)
    return found


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
