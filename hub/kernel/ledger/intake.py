"""TX1 (and TX2 with it where it is cheap): arrivals become messages that survive anything.

What a kill leaves: before the commit, nothing, and nobody was told anything; after it, everything, and a sender who was
not told sends again and meets its own intake key. It must never answer before the commit.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg

from hub.kernel.access import EVERYWHERE
from hub.kernel.failpoints import reach
from hub.kernel.intake import Accepted, Arrival, Source, as_uuid, new_key
from hub.kernel.leaves import message_leaf, rooted
from hub.kernel.ledger import gate_sightings, given_codes, punches
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.records import Found, Work, ask, early, look, place, retention_class
from hub.kernel.ledger.rows import NO_PASSAGES, Rows
from hub.kernel.ledger.stored import SHOWN, stored
from hub.kernel.ledger.turns import Turn
from hub.kernel.ports import Reject, Text
from hub.kernel.store.db import Connection, sql

__all__ = [
    "accept",
    "accept_within",
    "finish_upload",
    "open_upload",
    "warm",
    "work_inbox",
]

INVALID, DUPLICATE, ROUTED = 2, 3, 4
_PENDING = (None, None, None, None)


async def accept(core: Core, arrivals: list[Arrival], turn: Turn | None = None) -> list[Accepted]:
    """Store a batch in one transaction and answer for each, in order. `turn`: its place behind another one.

    Raises the database's own error when it stays away; then nothing was stored that anybody was told of. Safe to call
    again with the same arrivals where they have keys; its own tries need none, they know the messages' ids.
    """
    if not arrivals:
        return []
    ids: list[int] = []

    async def once() -> list[Accepted]:
        sources = await core.source_ids(a.source for a in arrivals)
        async with core.pool.acquire() as connection:
            again = bool(ids)
            if not again:
                ids.extend(await core.ids.take(connection, len(arrivals)))
            elif await connection.fetchval(sql.message_there, ids[0]):
                return await _given_before(connection, arrivals, ids)
            reach("tx1.before")
            try:
                async with connection.transaction():
                    await gate_sightings.meet(connection, arrivals)
                    accepted = await accept_within(core, connection, arrivals, ids, sources, turn)
                    reach("tx1.inside")
                    if turn is not None:
                        await turn.follow()
            except asyncpg.UniqueViolationError:
                # Only our own ids are unique here: an earlier try was still committing when we looked for it.
                if not again or not await connection.fetchval(sql.message_there, ids[0]):
                    raise
                return await _given_before(connection, arrivals, ids)
            reach("tx1.after")
            return accepted

    if turn is None:
        answers = await core.again(once)
    else:
        good = False
        try:
            answers = await core.again(lambda: turn.take(once))
            good = not any(a.conflict for a in answers)
        finally:
            turn.end(good)
    core.on_commit("ready")
    return answers


async def accept_within(
    core: Core,
    connection: Connection,
    arrivals: list[Arrival],
    ids: list[int],
    sources: list[int],
    turn: Turn | None = None,
) -> list[Accepted]:
    """The body of `accept`, inside the caller's transaction (TX4 stores what replies give rise to with it)."""
    works = [
        # Drafts and rejects are copied: a transaction that is tried again begins with what came.
        Work(message=i, drafts=list(a.drafts), scope=a.scope, historical=a.historical, rejects=list(a.rejects))
        if a.drafts is not None and a.invalid is None
        else None
        for a, i in zip(arrivals, ids, strict=True)
    ]
    live = [w for w in works if w is not None]
    special = given_codes.anchor(live)
    sieve = None if special else early(core, live)
    found = await look(connection, _keys(arrivals, ids), ask(core, live), sieve)
    states = _states(arrivals, ids, found)
    fresh = [w for w, (state, _) in zip(works, states, strict=True) if w is not None and state == "new"]
    rows = Rows()
    if fresh and (special or given_codes.moved(found)):
        found = await given_codes.follow(core, connection, fresh, found)
    if fresh:
        await place(core, connection, fresh, found, rows, sieve)
    answers: list[Accepted] = []
    told: list[Accepted] = []
    for arrival, message, source, work, (state, first) in zip(arrivals, ids, sources, works, states, strict=True):
        klass = retention_class(arrival.type)
        new = state == "new"
        answer = Accepted(message=first)
        answers.append(answer)
        if state == "again":
            # Our own earlier try did commit: the answer was lost, not the work.
            told.append(answer)
            continue
        became: tuple[int | None, ...]
        if not new:
            answer.duplicate, answer.conflict = True, state == "conflict"
            became = DUPLICATE, 0, 0, 0
            if arrival.source.kind == "client" and not answer.conflict:
                told.append(answer)
        elif arrival.invalid is not None:
            answer.invalid, answer.rejects = True, [arrival.invalid]
            became = INVALID, 0, 0, 0
        elif work is None:
            became = _PENDING
            rows.inbox.append((message, klass))
        else:
            answer.records, answer.rejects, answer.unchanged = work.records, work.rejects, work.unchanged
            refused = len(work.rejects)
            became = ROUTED, work.records + refused, refused, work.records
        rows.messages.append(
            (message, klass, source, arrival.type, arrival.school, arrival.content_type, arrival.digest,
             arrival.body if new else None, stored(arrival.removed) if arrival.removed else None,
             stored(arrival.attributes) if arrival.attributes else None, arrival.upload, arrival.chunk, None if new else first,
             *became)
        )  # fmt: skip
        if new and answer.rejects:
            rows.rejects += [_reject_row(message, klass, r) for r in answer.rejects]
    if told:
        await _told_before(connection, told)
    if rows.messages:
        await _journal(core, connection, rows)
        if turn is not None:
            turn.hold()
        await rows.write(connection)
    return answers


def _keys(arrivals: list[Arrival], ids: list[int]) -> list[tuple[Any, int, bytes]]:
    """Keys to claim, sorted, so that two batches with keys in common cannot wait for each other."""
    keyed = sorted((a.key, i, a.digest) for a, i in zip(arrivals, ids, strict=True) if a.key is not None)
    return [(as_uuid(key), message, digest) for key, message, digest in keyed]


def _states(arrivals: list[Arrival], ids: list[int], found: Found) -> list[tuple[str, int]]:
    """For each arrival: `new`, `again` (our own lost answer), `duplicate` or `conflict`, with the first message's id."""
    return [
        ("new", i) if a.key is None or i in found.taken else _met(a, i, found.known[as_uuid(a.key)])
        for a, i in zip(arrivals, ids, strict=True)
    ]


def _met(arrival: Arrival, message: int, known: Any) -> tuple[str, int]:
    """What an arrival is whose key is on record already."""
    if known["message"] == message:
        return "again", message
    same = known["body_digest"] == arrival.digest or arrival.source.kind == "device"
    return "duplicate" if same else "conflict", known["message"]


async def _given_before(connection: Connection, arrivals: list[Arrival], ids: list[int]) -> list[Accepted]:
    """The answers of a try of our own that did commit, though nobody heard it."""
    digests = [digest for digest, _, _ in _keys(arrivals, ids)]
    known = {r["digest"]: r for r in await connection.fetch(sql.keys_known, digests)} if digests else {}
    answers = []
    for arrival, message in zip(arrivals, ids, strict=True):
        state, first = (
            ("again", message) if arrival.key is None else _met(arrival, message, known[as_uuid(arrival.key)])
        )
        answers.append(Accepted(message=first, duplicate=state != "again", conflict=state == "conflict"))
    await _told_before(connection, [a for a in answers if not a.conflict])
    return answers


async def _told_before(connection: Connection, answers: list[Accepted]) -> None:
    """Give who sends again the answer that was given first: the same counts, the same rejects."""
    before: dict[int, list[Accepted]] = {}
    for answer in answers:
        before.setdefault(answer.message, []).append(answer)
    for r in await connection.fetch(sql.results_of, list(before)):
        for answer in before[r["message"]]:
            answer.records = r["records"]
    for r in await connection.fetch(sql.receipt_rejects, list(before), 1000):
        text = Text(r["text"]["vi"], r["text"]["en"])
        for answer in before[r["message"]]:
            answer.rejects.append(Reject(pointer=r["pointer"], code=r["code"], key=r["key"], message=text))


def _reject_row(message: int, klass: int, r: Reject) -> tuple[Any, ...]:
    # Senders name members as they like, and we name theirs.
    key = r.key.replace("\0", SHOWN) if r.key is not None else None
    return (message, klass, r.pointer.replace("\0", SHOWN), r.code, key, stored(r.message))


async def _journal(core: Core, connection: Connection, rows: Rows) -> None:
    """One line for the batch and class: the messages' ids and a root over what makes each of them up."""
    made: dict[int, list[bytes]] = {}
    for r in rows.records:
        made.setdefault(r[2], []).append(r[0].to_bytes(8, "big") + r[11])
    by_class: dict[int, tuple[list[int], list[bytes]]] = {}
    for row in rows.messages:
        ids, leaves = by_class.setdefault(row[1], ([], []))
        ids.append(row[0])
        leaves.append(message_leaf(row[0], row[6], row[7], made.get(row[0], ())))
    lines = await core.ids.take(connection, len(by_class))
    for line, (klass, (ids, leaves)) in zip(lines, by_class.items(), strict=True):
        rows.journal.append((line, klass, core.worker, "intake", None, None, ids, *rooted(leaves)))


async def warm(connection: Connection) -> None:
    """Take a new connection through an intake of nothing: statements and types it has to learn would hold up the first."""
    await connection.fetchrow(sql.intake_look, [], [], [], [], [], [], [], [])
    await connection.execute(sql.intake_write, *([],) * 5, *NO_PASSAGES)
    await connection.fetchrow(sql.intake_look_passages, *([],) * 14, timedelta())
    await punches.warm(connection)


async def open_upload(core: Core, key: bytes | None, source: Source, type_name: str, school: str | None) -> int:
    """The id of a bulk upload: the same key gives the same one, so that an interrupted upload goes on."""
    digest = as_uuid(key if key is not None else new_key())

    async def once() -> int:
        number = await core.source_id(source)
        async with core.pool.acquire() as connection:
            (new,) = await core.ids.take(connection, 1)
            made = await connection.fetchval(sql.upload_open, new, digest, number, type_name, school)
            return int(made if made is not None else await connection.fetchval(sql.upload_find, digest))

    return await core.again(once)


async def finish_upload(core: Core, upload: int) -> None:
    """Mark a bulk upload complete. Repeating it changes nothing."""

    async def once() -> None:
        async with core.pool.acquire() as connection:
            await connection.execute(sql.upload_finish, upload)

    await core.again(once)


async def work_inbox(core: Core, decode: Any, limit: int = 50) -> int:
    """TX2 for messages stored without records: decode, make records, route. Returns how many were worked off.

    `decode(row) -> (drafts, rejects, invalid)` is pure. One message per transaction: a poisonous one holds up only itself
    and is tried again ever more slowly, with its problem on show.
    """
    done = 0
    for _ in range(limit):
        async with core.pool.acquire() as connection:
            message = 0
            reach("tx2.before")
            try:
                async with connection.transaction():
                    row = await connection.fetchrow(sql.inbox_claim, 1)
                    if row is None:
                        return done
                    message = row["message"]
                    drafts, rejects, invalid = decode(row)
                    klass = row["class"]
                    rows = Rows()
                    if invalid is None:
                        work = Work(message=message, drafts=drafts, scope=EVERYWHERE, rejects=rejects)
                        found = await look(connection, [], ask(core, [work]))
                        await place(core, connection, [work], found, rows)
                        refused = len(work.rejects)
                        rows.results.append((message, klass, ROUTED, work.records + refused, refused, work.records))
                        rows.rejects += [_reject_row(message, klass, r) for r in work.rejects]
                        made = [r[0].to_bytes(8, "big") + r[11] for r in rows.records]
                        leaf = message_leaf(message, row["digest"], row["body"], made)
                        (line,) = await core.ids.take(connection, 1)
                        rows.journal.append(
                            (line, klass, core.worker, "decoded", None, None, [message], *rooted([leaf]))
                        )
                    else:
                        rows.results.append((message, klass, INVALID, 0, 0, 0))
                        rows.rejects.append(_reject_row(message, klass, invalid))
                    await rows.write(connection)
                    await connection.execute(sql.inbox_done, [message])
                    reach("tx2.inside")
                reach("tx2.after")
                done += 1
            except asyncpg.PostgresError as error:
                if not message:
                    raise
                await connection.execute(sql.inbox_again, message, str(error)[:500])
    return done
