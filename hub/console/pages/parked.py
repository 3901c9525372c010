"""What waits for a person: tasks grouped by cause, and the ways to resolve them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from msgspec import Struct

from hub.console.guard import Guest, Refused, Visitor, core_of, known_id, number, reason, taken, text
from hub.console.render import redirect, respond
from hub.kernel.ledger import operations, waits
from hub.kernel.ledger.operations import Resolution
from hub.kernel.store.db import sql

router = APIRouter(prefix="/parked")

_RESOLUTIONS: dict[str, Resolution] = {
    "release": "release",
    "delivered": "delivered",
    "give_up": "give_up",
    "cancel": "cancel",
}


class Group(Struct, kw_only=True):
    """Open tasks of one cause."""

    cause: str
    tasks: list[Any]
    count: int
    oldest: Any


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """All open tasks by cause, the largest first."""
    return await _index(request, visitor)


async def _index(request: Request, visitor: Guest) -> Response:
    core = core_of(request)
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.console_tasks, visitor.schools, request.query_params.get("cause") or None)
    groups: dict[str, Group] = {}
    for row in rows:
        group = groups.setdefault(row["cause"], Group(cause=row["cause"], tasks=[], count=0, oldest=None))
        group.tasks.append(row)
        group.count += row["n"]
        since = row["oldest"] or row["opened_at"]
        group.oldest = since if group.oldest is None else min(group.oldest, since)
    ordered = sorted(groups.values(), key=lambda g: (-g.count, g.cause))
    return respond(
        request,
        "parked.html",
        visitor=visitor,
        groups=ordered,
        waits=await waits.waiting(core, visitor.schools),
        names={n: k for k, n in core.connectors.items()},
        schools=core.directory,
    )


async def _task(request: Request, visitor: Guest, task: int) -> tuple[Any, Any]:
    async with core_of(request).pool.acquire() as connection:
        row = await connection.fetchrow(sql.console_task, task)
        sizes = await connection.fetchrow(sql.console_task_sizes, task, visitor.schools)
    if row is None or not (visitor.whole or sizes["seen"]):
        raise Refused(404, "error.missing")
    return row, sizes


@router.post("/send-anyway")
async def send_anyway(request: Request, visitor: Visitor) -> Response:
    """Let go what waits for something, without it, with a reason: what of it is within the visitor's scope."""
    form = await taken(request, visitor)
    connector, name, why = number(text(form, "connector")), text(form, "name", 200), reason(request, form)
    if connector is None or not name:
        raise Refused(422, "error.other")
    if why is None:
        return await _index(request, visitor)
    moved = await waits.send_anyway(core_of(request), visitor.person.name, connector, name, why, visitor.schools)
    return redirect("/parked", done="done.sent_anyway", n=moved)


@router.get("/{task}")
async def detail(request: Request, visitor: Visitor, task: str) -> Response:
    """One task and what waits for it."""
    return await _page(request, visitor, *await _task(request, visitor, known_id(task)))


async def _page(request: Request, visitor: Guest, row: Any, sizes: Any) -> Response:
    core = core_of(request)
    async with core.pool.acquire() as connection:
        deliveries = await connection.fetch(sql.console_task_deliveries, row["id"], visitor.schools)
    return respond(
        request, "task.html", visitor=visitor, row=row, sizes=sizes, deliveries=deliveries, names={n: k for k, n in core.connectors.items()},
        schools=core.directory, ways=_ways(row),
    )  # fmt: skip


def _ways(row: Any) -> list[str]:
    """How a task can be resolved: one of a pause only by going on."""
    return ["release"] if operations.of_pause(row) else list(_RESOLUTIONS)


@router.post("/{task}/resolve")
async def resolve(request: Request, visitor: Visitor, task: str) -> Response:
    """Move everything that waits for the task, with a reason. Only who may see all of it may do so."""
    form = await taken(request, visitor)
    row, sizes = await _task(request, visitor, known_id(task))
    if not visitor.whole and sizes["seen"] != sizes["n"]:
        raise Refused(403, "error.scope")
    resolution = _RESOLUTIONS.get(text(form, "resolution"))
    why = reason(request, form, "note")
    if resolution is not None and resolution not in _ways(row):
        raise Refused(422, "task.only_released")
    if resolution is None:
        raise Refused(422, "error.other")
    if why is None:
        return await _page(request, visitor, row, sizes)
    moved = await operations.resolve_task(core_of(request), visitor.person.name, row["id"], resolution, why)
    if moved is None:  # somebody else was faster, and may have done something else
        return redirect("/parked", done="done.nothing")
    if operations.of_pause(row):
        return redirect("/parked", done="done.resumed")
    return redirect("/parked", done="done.resolved", n=moved)
