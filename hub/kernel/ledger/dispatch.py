"""TX3 claim, TX3b intent, TX4 conclusion: how a delivery gets out, and what is written about it.

What a kill leaves: after TX3, a lease that ends and puts the delivery back; after TX3b, a lease that ends and makes it
uncertain; before TX4's commit, the same as TX3 or TX3b; after it, the outcome. It must never send anything, and never
move a delivery whose claim it does not hold.
"""

from __future__ import annotations

import secrets
from typing import Any

import asyncpg
import msgspec

from hub.kernel.failpoints import reach
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger import dependencies, history, lookups
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.history import CALL_COLUMNS, call_row
from hub.kernel.ledger.intake import accept_within
from hub.kernel.ledger.quotas import Ask, grant
from hub.kernel.ledger.shapes import Batch, Claimed, Conclusion, Exchange, TaskSpec
from hub.kernel.lifecycle import FINAL, State, check
from hub.kernel.ports import Call, Outgoing
from hub.kernel.store.db import Connection, sql

_json = msgspec.json.Encoder().encode


def new_claim() -> int:
    """A claim's token: 63 random bits, so that a worker never guesses another's."""
    return secrets.randbits(63)


async def claim(
    core: Core,
    connector: int,
    limit: int,
    lease_s: float,
    *,
    batch_max: int = 1,
    ask: Ask | None = None,
) -> Batch:
    """TX3: take up to `limit` ready heads with a lease and, with `ask`, what a quota grants of calls to send them with.

    Nothing is granted where nothing is ready: a worker with nothing to do leaves the quota to others.
    """
    token = new_claim()
    batch = Batch(claim=token, deliveries=[])
    reach("tx3.before")
    async with core.pool.acquire() as connection, connection.transaction():
        if ask is not None:
            if not await connection.fetchval(sql.anything_ready, connector):
                return batch
            batch.grant = await grant(core, connection, connector, ask, -(-limit // batch_max))
            if batch.grant.calls is not None:
                limit = min(limit, (batch.grant.calls + ask.spare) * batch_max)
            if limit <= 0 or batch.grant.share == 0:
                return batch
        rows = await connection.fetch(sql.claim, connector, limit, token, lease_s)
        if not rows:
            return batch
        records = await _records(connection, rows)
        rows.sort(key=lambda r: r["rank"])
        for r in rows:
            record = records[r["record"]]
            batch.deliveries.append(
                Claimed(
                    id=r["id"], record=r["record"], klass=r["class"], claim=token, attempts=r["attempts"], flow=r["flow"], key=r["key"],
                    school=r["school"], order_key=r["order_key"], resend=r["resend"], replay_of=r["replay_of"],
                    outgoing=Outgoing(
                        delivery=r["id"], record=r["record"], type=record["type"], key=record["key"], event=record["event"],
                        version=record["version"], updated_at=record["updated_at"], school=record["school"],
                        body=record["body"] or {}, mapped={}, attempt=r["attempts"],
                    ),
                )
            )  # fmt: skip
        reach("tx3.inside")
    reach("tx3.after")
    return batch


async def anything_ready(core: Core, connector: int) -> bool:
    """Whether a connector has a head to send."""
    async with core.pool.acquire() as connection:
        return bool(await connection.fetchval(sql.anything_ready, connector))


async def anything_uncertain(core: Core, connector: int) -> bool:
    """Whether a connector has a delivery in doubt whose time to inquire has come."""
    async with core.pool.acquire() as connection:
        return bool(await connection.fetchval(sql.anything_uncertain, connector))


async def claim_uncertain(core: Core, connector: int, limit: int, lease_s: float) -> list[Claimed]:
    """Take uncertain deliveries whose time to inquire has come. Their state does not change."""
    token = new_claim()
    async with core.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(sql.claim_uncertain, connector, limit, token, lease_s)
    return [
        Claimed(
            id=r["id"], record=r["record"], klass=r["class"], claim=token, attempts=r["attempts"], flow=r["flow"], key=r["key"],
            school=r["school"], order_key=r["order_key"], state=State.UNCERTAIN, intent=r["intent"], absent=r["absent"], age_s=r["age_s"],
        )
        for r in rows
    ]  # fmt: skip


async def extend(core: Core, ids: list[int], token: int, lease_s: float) -> set[int]:
    """Renew leases; returns those still held under this claim."""
    async with core.pool.acquire() as connection:
        return {r["id"] for r in await connection.fetch(sql.extend_leases, ids, lease_s, token)}


async def _records(connection: Connection, rows: list[Any]) -> dict[int, Any]:
    by_class: dict[int, list[int]] = {}
    for r in rows:
        by_class.setdefault(r["class"], []).append(r["record"])
    found: dict[int, Any] = {}
    for klass, ids in by_class.items():
        for record in await connection.fetch(sql.records_of, klass, ids):
            found[record["id"]] = record
    return found


async def stored_calls(core: Core, wanted: dict[int, int]) -> dict[int, tuple[Call, str]]:
    """Requests kept in the ledger, by id: `wanted` maps call id to class. Returns the call and its mapping version."""
    by_class: dict[int, list[int]] = {}
    for number, klass in wanted.items():
        by_class.setdefault(klass, []).append(number)
    out: dict[int, tuple[Call, str]] = {}
    async with core.pool.acquire() as connection:
        for klass, ids in by_class.items():
            for r in await connection.fetch(sql.calls_of, klass, ids):
                call = Call(
                    operation=r["operation"], deliveries=tuple(r["deliveries"]), body=r["body"] or b"", content_type=r["content_type"],
                    idempotent=r["idempotent"], method=r["method"], path=r["path"], headers=r["headers"], key=r["key"], meta=r["meta"],
                )  # fmt: skip
                out[r["id"]] = (call, r["mapping"])
    return out


async def intend(core: Core, exchanges: list[Exchange], token: int) -> set[int]:
    """TX3b: store requests before their first byte. Returns the deliveries still ours; only their calls may be sent.

    For calls that look somebody up a line of the look-up log is written with them. Raises `lookups.Unaccounted`.
    """
    async with core.pool.acquire() as connection, connection.transaction():
        ids = [d for e in exchanges for d in e.call.deliveries]
        calls = [e.id for e in exchanges for _ in e.call.deliveries]
        keep = [not e.call.idempotent for e in exchanges for _ in e.call.deliveries]
        ours = {r["id"] for r in await connection.fetch(sql.intend, ids, calls, keep, token)}
        live = [e for e in exchanges if all(d in ours for d in e.call.deliveries)]
        await connection.copy_records_to_table("calls", records=[call_row(e) for e in live], columns=CALL_COLUMNS)
        await lookups.write(core, connection, live)
        reach("intent.inside")
    for e in live:
        e.stored = True
    reach("intent.after")
    return ours


async def conclude(
    core: Core,
    connector: int,
    conclusions: list[Conclusion],
    exchanges: list[Exchange],
    arrivals: list[Arrival] | None = None,
) -> list[Accepted]:
    """TX4: outcomes, attempts, promotions, tasks, journal, and the records replies gave rise to, in one transaction."""
    arrivals = arrivals or []
    for c in conclusions:
        if not c.stay:
            check(c.delivery.state, c.target, c.cause)
    attempt_ids: list[int] = []
    message_ids: list[int] = []

    async def once() -> list[Accepted]:
        sources = [await core.source_id(a.source) for a in arrivals]
        async with core.pool.acquire() as connection:
            if not attempt_ids:
                attempt_ids.extend(await core.ids.take(connection, len(conclusions)))
                message_ids.extend(await core.ids.take(connection, len(arrivals)))
            reach("tx4.before")
            try:
                async with connection.transaction():
                    await _conclude(core, connection, connector, conclusions, exchanges, attempt_ids)
                    answers = await accept_within(core, connection, arrivals, message_ids, sources) if arrivals else []
                    reach("tx4.inside")
            except asyncpg.UniqueViolationError:
                # Only our own ids are unique here: an earlier try did commit and the answer was lost.
                return []
            reach("tx4.after")
            return answers

    answers = await core.again(once)
    core.on_commit("ready")
    return answers


async def _conclude(
    core: Core,
    connection: Connection,
    connector: int,
    conclusions: list[Conclusion],
    exchanges: list[Exchange],
    attempt_ids: list[int],
) -> None:
    keys = sorted({c.delivery.order_key for c in conclusions if c.delivery.order_key is not None})
    if keys:
        await connection.fetchval(sql.order_locks, keys)
    tasks = await _open_tasks(connection, conclusions)
    closing = [c for c in conclusions if c.target in FINAL]
    moving = [c for c in conclusions if c.target not in FINAL]
    done: set[int] = set()
    free: set[int] = set()
    if closing:
        rows = await connection.fetch(
            sql.close, [c.delivery.id for c in closing], [c.delivery.claim for c in closing], [int(c.delivery.state) for c in closing],
            [int(c.target) for c in closing], [c.cause for c in closing], [c.reference for c in closing],
            [c.detail for c in closing], [c.call for c in closing],
        )  # fmt: skip
        done |= {r["id"] for r in rows}
    if moving:
        aside = [c.target is State.PARKED and core.router.steps_aside(c.delivery.flow, connector) for c in moving]
        rows = await connection.fetch(
            sql.move, [c.delivery.id for c in moving], [c.delivery.claim for c in moving], [int(c.delivery.state) for c in moving],
            [int(c.target) for c in moving], [c.cause for c in moving], [-1.0 if c.after_s is None else c.after_s for c in moving],
            [tasks.get(_task_key(c.task)) if c.task else None for c in moving], [c.resend for c in moving],
            [c.absent for c in moving], aside, [c.call for c in moving],
        )  # fmt: skip
        moved = {r["id"] for r in rows}
        done |= moved
        free |= {
            c.delivery.order_key
            for c, steps in zip(moving, aside, strict=True)
            if steps and c.delivery.id in moved and c.delivery.order_key is not None
        }
    late = [c for c in conclusions if c.delivery.id not in done]
    settled = [c for c in late if c.target is State.DELIVERED and c.call is not None]
    if settled:
        rows = await connection.fetch(
            sql.late_present, [c.delivery.id for c in settled], [c.call for c in settled], [c.reference for c in settled],
            [c.detail for c in settled],
        )  # fmt: skip
        present = {r["id"] for r in rows}
        free |= {c.delivery.order_key for c in settled if c.delivery.id in present and c.delivery.order_key is not None}
    if free:
        ordered = sorted(free)
        await connection.execute(sql.promote, [connector] * len(ordered), ordered)
    await dependencies.settle(core, connection, connector, conclusions, done)
    await lookups.keep(connection, connector, conclusions, done)
    await history.write(core, connection, connector, conclusions, exchanges, attempt_ids, done)


def _task_key(task: TaskSpec) -> tuple[int | None, str, str]:
    return (task.connector, task.cause, task.subject)


async def _open_tasks(connection: Connection, conclusions: list[Conclusion]) -> dict[tuple[int | None, str, str], int]:
    """Open (or find open) the tasks these conclusions wait for, in sorted order."""
    wanted = {_task_key(c.task): c.task for c in conclusions if c.task is not None}
    if not wanted:
        return {}
    specs = [wanted[k] for k in sorted(wanted, key=lambda k: (k[0] or 0, k[1], k[2]))]
    rows = await connection.fetch(
        sql.task_open, [t.connector for t in specs], [t.cause for t in specs], [t.subject for t in specs], [_json(t.text) for t in specs],
        [_json(t.data) for t in specs],
    )  # fmt: skip
    return {(r["connector"], r["cause"], r["subject"]): r["id"] for r in rows}
