"""What people order: pause, resume, resolve, approve, cancel, configure. Each leaves a line in the journal.

Everything released goes through the normal queue. It must never touch a delivery that a worker holds, nor change a
record or a message.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

from msgspec import to_builtins

from hub.kernel.ledger import dependencies
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.rows import JOURNAL_COLUMNS
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text
from hub.kernel.store.db import Connection, sql

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


class OnlyReleased(Exception):
    """Việc của một lần tạm dừng chỉ xử lý được bằng cách cho chạy tiếp. / A pause's task is done with by resuming alone."""


def of_pause(task: Any) -> bool:
    """Whether a task's row is about a connector that is paused until the task is done with."""
    return PAUSES in (task["data"] or {})


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
    others: Sequence[int] = (),
    **data: Any,
) -> None:
    """One line of the journal about something a person did; the same line about each of `others` as well."""
    subjects = [subject, *others]
    lines = await core.ids.take(connection, len(subjects))
    records = [
        (n, _ACTOR_CLASS, actor, kind, connector, one, None, data) for n, one in zip(lines, subjects, strict=True)
    ]
    await connection.copy_records_to_table("journal", records=records, columns=JOURNAL_COLUMNS)


def because(why: str) -> dict[str, Any]:
    """A stated reason as a line of the journal has it; nothing where none was asked for."""
    return {"why": why} if why else {}


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


async def resume(core: Core, actor: str, connector: str, why: str = "") -> bool:
    """Resume a paused connector. False when it was not paused."""
    async with core.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(sql.connector_by_name, connector)
        done = bool(row and await _resume(core, connection, actor, row["id"], why))
    core.on_commit("connectors")
    return done


async def _resume(core: Core, connection: Connection, actor: str, connector: int, why: str = "") -> bool:
    """Resume within a transaction; the tasks of its pause are done with."""
    done = await connection.fetchval(sql.connector_resume, connector) is not None
    if done:
        await connection.execute(sql.tasks_of_pause, connector, actor)
        await note(core, connection, actor, "resume", connector=connector, **because(why))
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


async def resolve_task(core: Core, actor: str, task: int, resolution: Resolution, why: str) -> int | None:
    """Resolve a task and move everything that waited for it. Returns how many deliveries; None when it was resolved already.

    A task about a paused connector is *released*, which resumes it. Raises `OnlyReleased` for anything else: the connector
    would stay paused and nobody be told."""
    async with core.pool.acquire() as connection, connection.transaction():
        paused = await connection.fetchval(sql.task_paused, task) if resolution == "release" else None
        if paused is not None:
            # The connector before its task: the way whoever pauses or resumes it takes them.
            await connection.fetchval(sql.connector_lock, paused)
        moved = await _resolve(core, connection, actor, task, resolution, why)
    # Whoever hears of connectors reads them anew: not once for each of a thousand tasks of a code.
    if paused is not None:
        core.on_commit("connectors")
    core.on_commit("ready")
    return moved


async def _resolve(
    core: Core, connection: Connection, actor: str, task: int, resolution: Resolution, why: str
) -> int | None:
    # Order locks before the task's row: the way TX4 takes them.
    await _lock_orders(connection, await connection.fetch(sql.task_deliveries, task))
    found = await connection.fetchrow(sql.task_lock, task)
    if found is None or found["state"] != "open":
        return None
    if of_pause(found) and resolution != "release":
        raise OnlyReleased(task)
    rows = await connection.fetch(sql.task_deliveries, task)
    ids = sorted(r["id"] for r in rows)
    if resolution == "release":
        moved = len(await connection.fetch(sql.release_parked, ids))
        if found["cause"] == dependencies.OVERDUE:
            await connection.execute(sql.waits_anyway, ids)
        if of_pause(found):
            await _resume(core, connection, actor, found["connector"], why)
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
            moved += await _resolve(core, connection, actor, task["id"], "release", why) or 0
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
            moved += await resolve_task(core, "hub", task["id"], "release", "the code has a meaning by now") or 0
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


async def unmask(core: Core, actor: str, subject: int, purpose: str, *others: int) -> None:
    """Write down that a person looked at personal fields, of one subject or of several at once, and what for, before they are
    shown."""
    async with core.pool.acquire() as connection, connection.transaction():
        await note(core, connection, actor, "unmask", subject=subject, others=others, purpose=purpose)


async def update_connector(
    core: Core, keys: Any, actor: str, name: str, settings: dict[str, Any], secrets: dict[str, str] | None,
    why: str = "",
) -> int:  # fmt: skip
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
            **because(why),
        )
    core.on_commit("connectors")
    return revision


async def add_connector(
    core: Core, keys: Any, actor: str, name: str, system: str, settings: dict[str, Any], secrets: dict[str, str],
    paused: Text | None = None, why: str = "",
) -> int | None:  # fmt: skip
    """Make a connector, `why` for the journal. None when one of that name exists: nothing is changed then. `paused`: it begins so,
    and what is to be done first."""
    sealed = keys.encrypt(json.dumps(secrets).encode(), name.encode()) if secrets else None
    async with core.pool.acquire() as connection, connection.transaction():
        made = await connection.fetchval(sql.connector_add, name, system, settings, sealed)
        if made is not None:
            await connection.execute(sql.quota_add, made)
            await connection.execute(sql.recovery_add, made)
            await connection.execute(sql.connector_revision_add, made, 1, settings, actor)
            await note(core, connection, actor, "configure", connector=made, revision=1, **because(why))
            if paused is not None:
                await connection.fetchval(sql.connector_pause, made, BY_OPERATOR, to_builtins(paused))
    await core.refresh()
    core.router.bind(core.connectors)
    core.on_commit("connectors")
    return None if made is None else int(made)
