"""TX1 (and TX2 with it where it is cheap): arrivals become messages that survive anything.

What a kill leaves: before the commit, nothing, and nobody was told anything; after it, everything, and a sender who was
not told sends again and meets its own intake key. It must never answer before the commit.
"""

from __future__ import annotations

import hashlib
from typing import Any

import asyncpg
import msgspec

from hub.kernel.access import EVERYWHERE
from hub.kernel.failpoints import reach
from hub.kernel.intake import Accepted, Arrival, Source, as_uuid, new_key
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.records import Work, retention_class, store_records
from hub.kernel.ports import Reject, Text
from hub.kernel.store.db import Connection, sql

_json = msgspec.json.Encoder().encode

INVALID, DUPLICATE, ROUTED = 2, 3, 4

MESSAGE_COLUMNS = (
    "id", "class", "source", "type", "school", "content_type", "digest", "body", "removed", "attributes", "upload", "chunk",
    "duplicate_of",
)  # fmt: skip
RESULT_COLUMNS = ("message", "class", "outcome", "items", "rejected", "records")
REJECT_COLUMNS = ("message", "class", "pointer", "code", "key", "text")
JOURNAL_COLUMNS = ("id", "class", "actor", "kind", "connector", "subject", "ids", "data")


async def accept(core: Core, arrivals: list[Arrival]) -> list[Accepted]:
    """Store a batch in one transaction and answer for each, in order.

    Raises the database's own error when it stays away; then nothing was stored that anybody was told of. Safe to call
    again with the same arrivals: keys make it idempotent.
    """
    if not arrivals:
        return []
    for arrival in arrivals:
        if arrival.key is None:
            arrival.key = new_key()
    ids: list[int] = []

    async def once() -> list[Accepted]:
        sources = [await core.source_id(a.source) for a in arrivals]
        async with core.pool.acquire() as connection:
            if not ids:
                ids.extend(await core.ids.take(connection, len(arrivals)))
            reach("tx1.before")
            async with connection.transaction():
                accepted = await accept_within(core, connection, arrivals, ids, sources)
                reach("tx1.inside")
            reach("tx1.after")
            return accepted

    answers = await core.again(once)
    core.on_commit("ready")
    return answers


async def accept_within(
    core: Core, connection: Connection, arrivals: list[Arrival], ids: list[int], sources: list[int]
) -> list[Accepted]:
    """The body of `accept`, inside the caller's transaction (TX4 stores what replies give rise to with it)."""
    fresh = await _claim_keys(connection, arrivals, ids)
    answers: list[Accepted] = []
    messages: list[tuple[Any, ...]] = []
    results: list[tuple[Any, ...]] = []
    rejects: list[tuple[Any, ...]] = []
    inbox: list[tuple[Any, ...]] = []
    works: list[tuple[int, Work, Arrival, int]] = []
    for index, (arrival, message_id, source) in enumerate(zip(arrivals, ids, sources, strict=True)):
        klass = retention_class(arrival.type)
        state, first = fresh[index]
        if state == "again":
            # Our own earlier try did commit: the answer was lost, not the work.
            answers.append(Accepted(message=first))
            continue
        duplicate_of = None if state == "new" else first
        messages.append(
            (message_id, klass, source, arrival.type, arrival.school, arrival.content_type, arrival.digest,
             arrival.body if state == "new" else None, _json(arrival.removed) if arrival.removed else None,
             _json(arrival.attributes) if arrival.attributes else None, arrival.upload, arrival.chunk, duplicate_of)
        )  # fmt: skip
        if state != "new":
            results.append((message_id, klass, DUPLICATE, 0, 0, 0))
            answers.append(Accepted(message=first, duplicate=True, conflict=state == "conflict"))
        elif arrival.invalid is not None:
            results.append((message_id, klass, INVALID, 0, 0, 0))
            r = arrival.invalid
            rejects.append((message_id, klass, r.pointer, r.code, r.key, _json(r.message)))
            answers.append(Accepted(message=message_id, invalid=True, rejects=[r]))
        elif arrival.drafts is None:
            inbox.append((message_id, klass))
            answers.append(Accepted(message=message_id))
        else:
            work = Work(
                message=message_id,
                drafts=arrival.drafts,
                scope=arrival.scope,
                historical=arrival.historical,
                rejects=list(arrival.rejects),
            )
            works.append((index, work, arrival, klass))
            answers.append(Accepted(message=message_id))
    if works:
        await store_records(core, connection, [w for _, w, _, _ in works])
        for index, work, _arrival, klass in works:
            results.append(
                (work.message, klass, ROUTED, work.records + len(work.rejects), len(work.rejects), work.records)
            )
            for r in work.rejects:
                rejects.append((work.message, klass, r.pointer, r.code, r.key, _json(r.message)))
            answers[index] = Accepted(
                message=work.message, records=work.records, rejects=work.rejects, unchanged=work.unchanged
            )
    await _told_before(connection, arrivals, answers)
    if messages:
        await connection.copy_records_to_table("messages", records=messages, columns=MESSAGE_COLUMNS)
        await _journal_intake(core, connection, messages)
    if results:
        await connection.copy_records_to_table("message_results", records=results, columns=RESULT_COLUMNS)
    if rejects:
        await connection.copy_records_to_table("rejects", records=rejects, columns=REJECT_COLUMNS)
    if inbox:
        await connection.copy_records_to_table("inbox", records=inbox, columns=("message", "class"))
    return answers


async def _told_before(connection: Connection, arrivals: list[Arrival], answers: list[Accepted]) -> None:
    """Give a client that sends again the answer it was given first: the same counts, the same rejects."""
    before = {
        a.message: a
        for arrival, a in zip(arrivals, answers, strict=True)
        if arrival.source.kind == "client" and not a.conflict and not a.rejects and not a.records and not a.invalid
    }
    if not before:
        return
    for r in await connection.fetch(sql.results_of, list(before)):
        before[r["message"]].records = r["records"]
    for r in await connection.fetch(sql.receipt_rejects, list(before), 1000):
        text = Text(r["text"]["vi"], r["text"]["en"])
        before[r["message"]].rejects.append(Reject(pointer=r["pointer"], code=r["code"], key=r["key"], message=text))


async def _claim_keys(connection: Connection, arrivals: list[Arrival], ids: list[int]) -> list[tuple[str, int]]:
    """For each arrival: `new`, `again` (our own lost answer), `duplicate` or `conflict`, with the first message's id."""
    # Sorted, so that two batches with keys in common cannot wait for each other.
    ordered = sorted(range(len(arrivals)), key=lambda i: arrivals[i].key or b"")
    digests = [as_uuid(arrivals[i].key or b"") for i in ordered]
    inserted = {
        r["message"]
        for r in await connection.fetch(
            sql.intake_keys_insert, digests, [ids[i] for i in ordered], [arrivals[i].digest for i in ordered]
        )
    }
    if len(inserted) == len(arrivals):
        return [("new", i) for i in ids]
    missing = [d for d, i in zip(digests, ordered, strict=True) if ids[i] not in inserted]
    first = {r["digest"]: r for r in await connection.fetch(sql.intake_keys_find, missing)}
    out: list[tuple[str, int]] = []
    for arrival, message_id in zip(arrivals, ids, strict=True):
        if message_id in inserted:
            out.append(("new", message_id))
            continue
        found = first[as_uuid(arrival.key or b"")]
        if found["message"] == message_id:
            out.append(("again", message_id))
        else:
            same = found["body_digest"] == arrival.digest or arrival.source.kind == "device"
            out.append(("duplicate" if same else "conflict", found["message"]))
    return out


async def _journal_intake(core: Core, connection: Connection, messages: list[tuple[Any, ...]]) -> None:
    """One line for the batch: the messages' ids and a root over their keyed hashes."""
    root = hashlib.sha256()
    for row in messages:
        root.update(row[0].to_bytes(8, "big"))
        root.update(row[6])
    by_class: dict[int, list[int]] = {}
    for row in messages:
        by_class.setdefault(row[1], []).append(row[0])
    ids = await core.ids.take(connection, len(by_class))
    await connection.copy_records_to_table(
        "journal",
        records=[
            (i, klass, core.worker, "intake", None, None, group, {"root": root.hexdigest()})
            for i, (klass, group) in zip(ids, by_class.items(), strict=True)
        ],
        columns=JOURNAL_COLUMNS,
    )


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
            try:
                async with connection.transaction():
                    rows = await connection.fetch(sql.inbox_claim, 1)
                    if not rows:
                        return done
                    row = rows[0]
                    message = row["message"]
                    drafts, rejects, invalid = decode(row)
                    work = Work(message=message, drafts=drafts, scope=EVERYWHERE, rejects=rejects)
                    if invalid is None:
                        await store_records(core, connection, [work])
                        result = (
                            message,
                            row["class"],
                            ROUTED,
                            work.records + len(work.rejects),
                            len(work.rejects),
                            work.records,
                        )
                    else:
                        work.rejects = [invalid]
                        result = (message, row["class"], INVALID, 0, 0, 0)
                    await connection.copy_records_to_table("message_results", records=[result], columns=RESULT_COLUMNS)
                    await connection.copy_records_to_table(
                        "rejects",
                        records=[
                            (message, row["class"], r.pointer, r.code, r.key, _json(r.message)) for r in work.rejects
                        ],
                        columns=REJECT_COLUMNS,
                    )
                    await connection.execute(sql.inbox_done, [message])
                    reach("tx2.inside")
                done += 1
            except asyncpg.PostgresError as error:
                if not message:
                    raise
                await connection.execute(sql.inbox_again, message, str(error)[:500])
    return done
