"""What people order: pause, resume, resolve, approve, cancel, replay, configure. Each leaves a line in the journal.

Everything released goes through the normal queue. It must never touch a delivery that a worker holds, nor change a
record or a message.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any, Literal

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from hub.kernel.intake import order_hash
from hub.kernel.ledger import dependencies
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.rows import DELIVERY_COLUMNS, JOURNAL_COLUMNS
from hub.kernel.lifecycle import FINAL, State
from hub.kernel.ports import Text
from hub.kernel.store.db import Connection, sql
from mappings.canonical.registry import TYPES

Resolution = Literal["release", "give_up", "delivered", "cancel"]
_CLOSES = {
    "give_up": (State.DEAD, "given_up"),
    "delivered": (State.DELIVERED, "settled_by_person"),
    "cancel": (State.CANCELLED, "cancelled"),
}
BY_OPERATOR = "operator"
"""Why a connector is paused when a person did it."""
PAUSES = "pauses"
"""In a task's data: it is about this connector, paused until the task is done with."""
_ACTOR_CLASS = 3
"""What people did is kept as long as anything is."""


async def note(
    core: Core,
    connection: Connection,
    actor: str,
    kind: str,
    *,
    connector: int | None = None,
    subject: int | None = None,
    **data: Any,
) -> None:
    """One line of the journal about something a person did."""
    (line,) = await core.ids.take(connection, 1)
    await connection.copy_records_to_table(
        "journal", records=[(line, _ACTOR_CLASS, actor, kind, connector, subject, None, data)], columns=JOURNAL_COLUMNS
    )


async def pause(core: Core, actor: str, connector: str, message: Text, cause: str = BY_OPERATOR) -> bool:
    """Pause a connector. Its deliveries stay where they are. False when it was paused already: one fault, one alarm.

    Where the hub does so by itself a person must act: a task says what, and resolving it (or resuming) goes on."""
    async with core.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(sql.connector_by_name, connector)
        done = bool(row and await connection.fetchval(sql.connector_pause, row["id"], cause, to_builtins(message)))
        if done:
            await note(core, connection, actor, "pause", connector=row["id"], cause=cause, message=to_builtins(message))
            if cause != BY_OPERATOR:
                told = to_builtins(message)
                await connection.fetch(sql.task_open, [row["id"]], [cause], [connector], [told], [{PAUSES: connector}])
    core.on_commit("connectors")
    return done


async def resume(core: Core, actor: str, connector: str) -> bool:
    """Resume a paused connector. False when it was not paused."""
    async with core.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(sql.connector_by_name, connector)
        done = bool(row and await _resume(core, connection, actor, row["id"]))
    core.on_commit("connectors")
    return done


async def _resume(core: Core, connection: Connection, actor: str, connector: int) -> bool:
    """Resume within a transaction; the tasks of its pause are done with."""
    done = await connection.fetchval(sql.connector_resume, connector) is not None
    if done:
        await connection.execute(sql.tasks_of_pause, connector, actor)
        await note(core, connection, actor, "resume", connector=connector)
    return done


async def _lock_orders(connection: Connection, rows: list[Any]) -> None:
    keys = sorted({r["order_key"] for r in rows if r["order_key"] is not None})
    if keys:
        await connection.fetchval(sql.order_locks, keys)


async def _close(
    connection: Connection, ids: list[int], states: list[State], target: State, cause: str, detail: str
) -> int:
    """Close open deliveries nobody holds and promote what stood behind them."""
    gone = await connection.fetch(sql.close_open, ids, [int(s) for s in states], int(target), cause, detail)
    free = sorted(
        {
            (r["connector"], r["order_key"])
            for r in gone
            if r["order_key"] is not None and not r["aside"] and r["state"] != int(State.HELD)
        }
    )
    if free:
        await connection.execute(sql.promote, [c for c, _ in free], [k for _, k in free])
    return len(gone)


async def resolve_task(core: Core, actor: str, task: int, resolution: Resolution, why: str) -> int:
    """Resolve a task and move everything that waited for it. Returns how many deliveries; 0 when it was resolved already.

    A task about a paused connector that is *released* resumes it."""
    async with core.pool.acquire() as connection, connection.transaction():
        moved = await _resolve(core, connection, actor, task, resolution, why)
    core.on_commit("connectors")
    core.on_commit("ready")
    return moved


async def _resolve(core: Core, connection: Connection, actor: str, task: int, resolution: Resolution, why: str) -> int:
    # Order locks before the task's row: the way TX4 takes them.
    await _lock_orders(connection, await connection.fetch(sql.task_deliveries, task))
    found = await connection.fetchrow(sql.task_lock, task)
    if found is None or found["state"] != "open":
        return 0
    rows = await connection.fetch(sql.task_deliveries, task)
    ids = sorted(r["id"] for r in rows)
    if resolution == "release":
        moved = len(await connection.fetch(sql.release_parked, ids))
        if found["cause"] == dependencies.OVERDUE:
            await connection.execute(sql.waits_anyway, ids)
        if PAUSES in (found["data"] or {}):
            await _resume(core, connection, actor, found["connector"])
    else:
        target, cause = _CLOSES[resolution]
        moved = await _close(connection, ids, [State.PARKED], target, cause, why)
        if target is State.DELIVERED:
            await dependencies.seen_by_person(core, connection, ids)
    await connection.execute(sql.task_close, task, actor, resolution)
    await note(
        core, connection, actor, "resolve", connector=found["connector"], subject=task, resolution=resolution, why=why,
        cause=found["cause"], task_subject=found["subject"], moved=moved,
    )  # fmt: skip
    return moved


def code_subject(source_system: str, code: str, target_system: str) -> str:
    """The subject shared by everything that waits for one code."""
    return f"{source_system}:{code}→{target_system}"


async def approve_code(
    core: Core,
    actor: str,
    source_system: str,
    code: str,
    target_system: str,
    canonical: str,
    why: str,
    effective_from: date | None = None,
) -> int:
    """Approve what a code means and release exactly what waited for it, in order. Returns how many deliveries."""
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.fetchval(
            sql.approved_code_add, source_system, code, target_system, canonical, effective_from, actor, why
        )
        await note(
            core, connection, actor, "approve_code", source_system=source_system, code=code, target_system=target_system,
            canonical=canonical, why=why,
        )  # fmt: skip
    # The code holds from here on; a worker that still parks by the old table is caught by `sweep_codes`.
    await core.refresh()
    core.on_commit("codes")
    async with core.pool.acquire() as connection, connection.transaction():
        moved = 0
        for task in await connection.fetch(sql.tasks_for_code, code_subject(source_system, code, target_system)):
            moved += await _resolve(core, connection, actor, task["id"], "release", why)
    core.on_commit("ready")
    return moved


async def sweep_codes(core: Core, today: date) -> int:
    """Release what waits for codes that have a meaning by now (approved while a worker looked at the old table)."""
    await core.refresh()
    async with core.pool.acquire() as connection:
        tasks = await connection.fetch(sql.tasks_unmapped_open)
    moved = 0
    for task in tasks:
        data = task["data"] or {}
        if not all(k in data for k in ("source_system", "code", "target_system")):
            continue
        if (
            core.catalogue.standardise(data["source_system"], data["code"], data["target_system"], today).code
            is not None
        ):
            moved += await resolve_task(core, "hub", task["id"], "release", "the code has a meaning by now")
    return moved


async def cancel(core: Core, actor: str, delivery: int, why: str) -> bool:
    """Withdraw an open delivery nobody is sending. False when it is on its way, uncertain or closed."""
    async with core.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(sql.delivery_open, delivery)
        if row is None:
            return False
        await _lock_orders(connection, [row])
        done = await _close(
            connection,
            [delivery],
            [State.HELD, State.READY, State.WAITING, State.PARKED],
            State.CANCELLED,
            "cancelled",
            why,
        )
        if done:
            await note(core, connection, actor, "cancel", connector=row["connector"], subject=delivery, why=why)
    core.on_commit("ready")
    return bool(done)


async def unmask(core: Core, actor: str, subject: int, purpose: str) -> None:
    """Write down that a person looked at personal fields, and what for, before they are shown."""
    async with core.pool.acquire() as connection, connection.transaction():
        await note(core, connection, actor, "unmask", subject=subject, purpose=purpose)


async def update_connector(
    core: Core, keys: Any, actor: str, name: str, settings: dict[str, Any], secrets: dict[str, str] | None
) -> int:
    """Store a connector's new settings (already validated) as its next revision. `secrets` None keeps the old ones."""
    sealed = keys.encrypt(json.dumps(secrets).encode(), name.encode()) if secrets is not None else None
    async with core.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(sql.connector_by_name, name)
        if row is None:
            raise KeyError(name)
        revision = int(await connection.fetchval(sql.connector_update, row["id"], settings, sealed))
        await connection.execute(sql.connector_revision_add, row["id"], revision, settings, actor)
        await note(
            core,
            connection,
            actor,
            "configure",
            connector=row["id"],
            revision=revision,
            secrets_changed=secrets is not None,
        )
    core.on_commit("connectors")
    return revision


async def add_connector(
    core: Core, keys: Any, actor: str, name: str, system: str, settings: dict[str, Any], secrets: dict[str, str]
) -> int | None:
    """Make a connector. None when one of that name exists: nothing is changed then."""
    sealed = keys.encrypt(json.dumps(secrets).encode(), name.encode())
    async with core.pool.acquire() as connection, connection.transaction():
        made = await connection.fetchval(sql.connector_add, name, system, settings, sealed)
        if made is not None:
            await connection.execute(sql.quota_add, made)
            await connection.execute(sql.recovery_add, made)
            await connection.execute(sql.connector_revision_add, made, 1, settings, actor)
            await note(core, connection, actor, "configure", connector=made, revision=1)
    await core.refresh()
    core.router.bind(core.connectors)
    core.on_commit("connectors")
    return None if made is None else int(made)


_CHUNK = 1_000
"""Deliveries a replay queues in one transaction."""


class ReplayFilter(Struct, kw_only=True):
    """Which closed deliveries to send again. At least one of the narrowing fields must be set."""

    deliveries: list[int] | None = None
    message: int | None = None
    connector: str | None = None
    schools: list[str] | None = None
    states: list[State] = field(default_factory=lambda: [State.DEAD, State.CANCELLED])
    since: datetime | None = None
    until: datetime | None = None
    """Only what was closed before. Without it: before the order began, or what it sent again would be asked for again."""


class ReplayPlan(Struct, kw_only=True):
    """What a replay would do, before anything is done."""

    count: int
    by_connector: dict[str, int]
    as_of: datetime
    """When it was counted, by the database's clock. As the order's `until` it makes the order mean exactly this plan, also
    when it was cut off and is given again while what it had queued is being delivered."""


class ReplayResult(Struct, kw_only=True):
    """How many were asked for and how many queued; those queued by an earlier run of the same order are not asked again."""

    asked: int
    queued: int


def _arguments(core: Core, wanted: ReplayFilter) -> tuple[Any, ...]:
    if not any((wanted.deliveries, wanted.message, wanted.connector, wanted.schools, wanted.since)):
        raise ValueError("a replay needs something to narrow it down")
    if any(s not in FINAL for s in wanted.states):
        raise ValueError("only closed deliveries can be replayed")
    connector = core.connectors[wanted.connector] if wanted.connector else None
    return (
        wanted.deliveries,
        wanted.message,
        connector,
        wanted.schools,
        [int(s) for s in wanted.states],
        wanted.since,
        wanted.until,
    )


async def plan_replay(core: Core, wanted: ReplayFilter) -> ReplayPlan:
    """Count what a replay would send again."""
    async with core.pool.acquire() as connection:
        as_of = await connection.fetchval(sql.clock)
        wanted = replace(wanted, until=wanted.until or as_of)
        rows = await connection.fetch(sql.replay_count, *_arguments(core, wanted), timeout=300)
    names = {number: name for name, number in core.connectors.items()}
    by_connector: dict[str, int] = {}
    for r in rows:
        by_connector[names[r["connector"]]] = by_connector.get(names[r["connector"]], 0) + r["n"]
    return ReplayPlan(count=sum(by_connector.values()), by_connector=by_connector, as_of=wanted.until or as_of)


async def replay(
    core: Core, actor: str, wanted: ReplayFilter, mode: Literal["as_sent", "remap"], why: str
) -> ReplayResult:
    """Queue closed deliveries again, in chunks, each chunk one transaction; interrupted, the same order (with the plan's
    `as_of` as its `until`) goes on.

    `as_sent` pins the request's stored bytes, `remap` renders anew with the mappings now in force. Both are new
    deliveries linked to the old ones; nothing old is changed.
    """
    if wanted.until is None:
        async with core.pool.acquire() as connection:
            wanted = replace(wanted, until=await connection.fetchval(sql.clock))
    arguments = _arguments(core, wanted)
    asked = queued = after = 0
    while True:
        async with core.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                sql.replay_lock
            )  # two orders at once would both find that nothing was replayed yet
            page = await connection.fetch(sql.replay_page, *arguments, after, _CHUNK, timeout=300)
            if not page:
                break
            before = await connection.fetch(sql.replayed_before, [r["id"] for r in page], page[0]["id"], timeout=300)
            known = {r["replay_of"] for r in before}
            rows = [r for r in page if r["id"] not in known]
            after = page[-1]["id"]
            if not rows:
                continue
            asked += len(rows)
            queued += await _requeue(core, connection, rows, mode)
            await note(core, connection, actor, "replay", mode=mode, why=why, deliveries=[r["id"] for r in rows])
    core.on_commit("ready")
    return ReplayResult(asked=asked, queued=queued)


def order_of(record_type: str, key: str, body: dict[str, Any]) -> str:
    """The order key of a stored record."""
    spec = TYPES[record_type]
    return key if spec.order_fields == spec.key_fields else spec.order_key(body) or f"{record_type}:{key}"


async def _requeue(core: Core, connection: Connection, rows: list[Any], mode: str) -> int:
    orders: dict[int, int | None] = {}
    records = {r["id"]: r for klass in {r["class"] for r in rows} for r in await connection.fetch(
        sql.records_of, klass, [r["record"] for r in rows if r["class"] == klass])}  # fmt: skip
    for r in rows:
        target = core.router.targets.get((r["flow"], r["connector"]))
        record = records[r["record"]]
        ordered = target is not None and target.order == "key"
        orders[r["id"]] = order_hash(order_of(record["type"], record["key"], record["body"] or {})) if ordered else None
    keys = sorted({k for k in orders.values() if k is not None})
    busy: set[tuple[int, int]] = set()
    if keys:
        await connection.fetchval(sql.order_locks, keys)
        pairs = sorted({(r["connector"], k) for r in rows if (k := orders[r["id"]]) is not None})
        busy = {
            (x[0], x[1]) for x in await connection.fetch(sql.open_keys, [c for c, _ in pairs], [k for _, k in pairs])
        }
    ids = await core.ids.take(connection, len(rows))
    out = []
    for new, r in zip(ids, rows, strict=True):
        key = orders[r["id"]]
        held = key is not None and (r["connector"], key) in busy
        if key is not None:
            busy.add((r["connector"], key))
        out.append(
            (new, r["record"], r["connector"], r["class"], int(State.HELD if held else State.READY), key,
             core.ranks.next(r["connector"], r["school"], 0.0), None, r["flow"], r["key"], r["school"],
             "replayed_behind" if held else "replayed", r["id"], r["call"] if mode == "as_sent" else None)
        )  # fmt: skip
    await connection.copy_records_to_table("deliveries", records=out, columns=(*DELIVERY_COLUMNS, "resend"))
    return len(out)
