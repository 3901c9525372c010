"""Check-ins judged again because something they rest on has changed: a clock's offset, a link, a punch that came late.

Each is placed as if it arrived now with what is known now; where that differs from its latest version, a new one follows,
linked to it, and flows on: NEW or UPDATE for what travels, CANCEL for what should not have. Version, deliveries and the
end of the order are one transaction: a kill leaves the order, and the next round carries it out. Nothing is judged while an
older version of it is on its way. It must never change a record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from hub.kernel.failpoints import reach
from hub.kernel.intake import Source
from hub.kernel.leaves import message_leaf, rooted
from hub.kernel.ledger.core import Core, content_hash, sorted_json
from hub.kernel.ledger.punches import FACT, MERGED, TYPE, Candidate, Sieve, again, device_time, moment_of, spot_of
from hub.kernel.ledger.records import retention_class
from hub.kernel.ledger.rows import Rows
from hub.kernel.lifecycle import State, check
from hub.kernel.ports import Draft
from hub.kernel.presence import CLOCK, PERSON, Offset, Seen, corrected, infer
from hub.kernel.store.db import Connection, sql

SOURCE = Source("operator", "checkin-truth")
BATCH = 200
_BUSY_S = 2.0
_LOOK_BACK = 5000
"""So many waiting events of one gate say what its clock did; older ones follow by the same offset."""
_ROUTED = 4
_READY = check(None, State.READY, "routed")
_MADE = ("merged_into", "follows")


async def sweep(core: Core) -> int:
    """Find what is due: gates whose clock can now be told, links that were made meanwhile. Returns how many clocks."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.rejudge_linked, 20 * BATCH)
        gates = await connection.fetch(sql.clocks_waiting, None)
    done = 0
    for gate in gates:
        done += await core.again(lambda device=gate["device"]: _clock(core, device))  # type: ignore[misc]
    return done


async def _clock(core: Core, device: str) -> int:
    async with core.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(sql.clock_waits, device, _LOOK_BACK)
        seen = {r["record"]: Seen(r["device_time"], r["received_at"], r["live"]) for r in rows}
        known = await connection.fetch(sql.offsets_of, [device])
        offsets = [_offset(r) for r in known]
        for found in infer(list(seen.values())):
            same = next((r for r in known if not r["by_hand"] and abs(r["lag_s"] - found.lag_s) <= 60.0), None)
            if same is None:
                why = f"{found.lag_s:+.0f} s"
                await connection.fetchval(
                    sql.offset_add,
                    device,
                    found.lag_s,
                    found.uncertainty_s,
                    found.since,
                    found.until,
                    False,
                    "hub",
                    why,
                )
            elif same["until"] < found.until:
                await connection.execute(sql.offset_extend, same["id"], found.until)
            offsets.append(found)
        due = [record for record, one in seen.items() if corrected(one, offsets) is not None]
        if due:
            await connection.execute(sql.rejudge_ask, due)
    return int(bool(due))


def _offset(row: Any) -> Offset:
    # An infinite time comes without a zone.
    since, until = (t if t.tzinfo else t.replace(tzinfo=UTC) for t in (row["since"], row["until"]))
    return Offset(row["lag_s"], row["uncertainty_s"], since, until, row["by_hand"])


async def advance(core: Core, limit: int = BATCH) -> int:
    """Judge again what is due. Returns how many were looked at; 0 also when another process is at it."""

    async def once() -> tuple[int, bool]:
        source = await core.source_id(SOURCE)
        async with core.pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(sql.rejudge_lock):
                return 0, False
            rows = await connection.fetch(sql.rejudge_claim, limit)
            made = await _judge(core, connection, source, rows)
            reach("rejudge.inside")
            return len(rows), made

    looked, made = await core.again(once)
    if made:
        core.on_commit("ready")
    return looked


async def _judge(core: Core, connection: Connection, source: int, rows: Sequence[Any]) -> bool:
    busy = {
        r["record"]
        for r in await connection.fetch(sql.rejudge_busy, [r["record"] for r in rows if r["key"]], [r["key"] for r in rows if r["key"]])
    }  # fmt: skip
    if busy:
        await connection.execute(sql.rejudge_later, sorted(busy), _BUSY_S)
    rows = [r for r in rows if r["record"] not in busy]
    expired = [r["record"] for r in rows if r["key"] is None]
    rows = [r for r in rows if r["key"] is not None]
    offsets: dict[str, list[Offset]] = {}
    clocks = sorted({r["body"]["device"] for r in rows if r["body"].get("quarantine") == CLOCK})
    if clocks:
        for r in await connection.fetch(sql.offsets_of, clocks):
            offsets.setdefault(r["device"], []).append(_offset(r))
    window = timedelta(seconds=core.punch_window_s)
    was = [
        (spot_of_person(b), moment_of(b.get("corrected_time")), r["record"])
        for r in rows
        if (b := r["latest_body"]) is not None
    ]
    left = await connection.fetch(
        sql.punch_leave, [s for s, at, _ in was if at], [at for _, at, _ in was if at], [n for _, at, n in was if at], window
    )  # fmt: skip
    before = {r["record"]: r for r in left}
    candidates: dict[int, Candidate] = {}
    for r in rows:
        body = fresh_body(r["body"], offsets.get(r["body"].get("device"), []))
        c = again(body, r["updated_at"])
        if c is not None:
            candidates[r["record"]] = c
    sieve = await Sieve.of(core, candidates.values()).load(connection)
    out = Rows()
    kept: list[int] = []
    message = 0
    for r in sorted(
        rows,
        key=lambda r: (
            candidates[r["record"]].at or r["updated_at"] if r["record"] in candidates else r["updated_at"],
            r["record"],
        ),
    ):
        c = candidates.get(r["record"])
        if c is None:
            continue
        body, disposition = sieve.judge(c.body, r["record"], r["school"])
        old = before.get(r["record"])
        if old is not None and old["behind"] is not None and (old["place"], old["at"]) != (c.place, c.at):
            sieve.again.add(old["behind"])
        if body.get("quarantine") in (CLOCK, PERSON):
            kept.append(r["record"])
        draft = _next(r, body, disposition)
        if draft is not None:
            if not message:
                (message,) = await core.ids.take(connection, 1)
            await _add(core, connection, out, message, r, draft, disposition)
    done = [r["record"] for r in rows]
    await connection.execute(sql.rejudge_done, done + expired)
    await connection.execute(sql.waits_done, [n for n in done + expired if n not in set(kept)])
    # Whoever is asked for here may be one just done: then it is judged once more, with what is known then.
    await sieve.write(connection)
    if message:
        await _write(core, connection, out, message, source)
    return bool(message)


def spot_of_person(body: dict[str, Any]) -> str:
    """The text a punch's place is the hash of (see `passage_look`)."""
    return f"{body.get('person_code')}\x1f{spot_of(body)}"


def fresh_body(body: dict[str, Any], offsets: Sequence[Offset]) -> dict[str, Any]:
    """A check-in as it came, its time corrected where that is possible now: a new body, always."""
    fresh = {k: v for k, v in body.items() if k not in _MADE}
    if fresh.get("quarantine") == CLOCK:
        shown, received = device_time(body), moment_of(body.get("received_at"))
        told = corrected(Seen(shown, received, not body.get("historical")), offsets) if shown and received else None
        if told is not None and shown is not None:
            moment, sure = told
            fresh["quarantine"] = None
            fresh["corrected_time"] = moment.astimezone(UTC).isoformat()
            fresh["estimated_offset_s"] = round((shown - moment).total_seconds(), 3)
            fresh["uncertainty_s"] = sure
    return fresh


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {k: v for k, v in one.items() if k not in _MADE and v is not None} == {
        k: v for k, v in other.items() if k not in _MADE and v is not None
    }


def _next(row: Any, body: dict[str, Any], disposition: int) -> Draft | None:
    """The version that follows, or None when the latest says it already."""
    told = row["disposition"] == FACT and row["event"] != "CANCEL"
    travels = disposition == FACT
    if told == travels and _same(body, row["latest_body"]) and (travels or row["disposition"] == disposition):
        return None
    if not told and not travels and not _same(body, row["latest_body"]) and disposition != MERGED:
        # Still waiting, only for something else: the wait says so.
        return None
    event: Any = "UPDATE" if travels and told else "NEW" if travels else "CANCEL" if told else "UPDATE"
    # What is withdrawn is named as it was told.
    said = {**(row["latest_body"] if told and not travels else body), "follows": row["latest"]}
    if told and not travels:
        said["merged_into"] = body.get("merged_into")
    at = moment_of(said.get("corrected_time")) or row["updated_at"]
    return Draft(type=TYPE, key=row["key"], body=said, event=event, updated_at=at, school=row["school"])


async def _add(
    core: Core, connection: Connection, out: Rows, message: int, row: Any, draft: Draft, disposition: int
) -> None:
    """The rows of one version. A withdrawal goes wherever it was told."""
    now = core.moment()
    routed = core.router.route(draft, None) if disposition == FACT or draft.event == "CANCEL" else []
    routes = [r for r in routed if r.takes(draft.updated_at, now)]
    ids = await core.ids.take(connection, 1 + len(routes))
    body = sorted_json(draft.body)
    klass = retention_class(TYPE)
    stored = FACT if draft.event == "CANCEL" else disposition
    out.records.append(
        (ids[0], klass, message, "", TYPE, draft.key, draft.event, row["version"] + 1, draft.updated_at, draft.school, body,
         content_hash(draft.event, body), core.catalogue.version, stored, len(routes))
    )  # fmt: skip
    for number, route in zip(ids[1:], routes, strict=True):
        rank = core.ranks.next(route.connector, draft.school, route.priority_s + route.history_s)
        out.deliveries.append(
            [number, ids[0], route.connector, klass, int(State.READY), None, rank, None, route.flow, draft.key, draft.school,
             _READY.cause, None]
        )  # fmt: skip


async def _write(core: Core, connection: Connection, out: Rows, message: int, source: int) -> None:
    """One message for the batch: what was judged again and why is in the records themselves."""
    klass = retention_class(TYPE)
    body = msgspec.json.encode({"judged_again": [r[0] for r in out.records]})
    digest = hashlib.sha256(body).digest()
    out.messages.append(
        (message, klass, source, TYPE, None, "application/json", digest, body, None, None, None, None, None, _ROUTED,
         len(out.records), 0, len(out.records))
    )  # fmt: skip
    leaf = message_leaf(message, digest, body, [r[0].to_bytes(8, "big") + r[11] for r in out.records])
    (line,) = await core.ids.take(connection, 1)
    out.journal.append((line, klass, core.worker, "judged_again", None, None, [message], *rooted([leaf])))
    await out.write(connection)


async def forget(core: Core, before: datetime) -> None:
    """Forget punches and waits from before a moment."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.waits_forget, before, timeout=300)
