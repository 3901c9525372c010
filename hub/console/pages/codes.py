"""Code systems, crosswalks, and the inbox of codes that have no meaning yet."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from msgspec import Struct

from hub.console import times
from hub.console.guard import Guest, Refused, Visitor, core_of, reason, taken, text
from hub.console.render import redirect, respond
from hub.kernel.ledger import operations
from hub.kernel.store.db import sql
from mappings.tables import fold

router = APIRouter(prefix="/codes")

_ROWS = 300


class Unmapped(Struct, kw_only=True):
    """One code without a meaning, over all tasks that wait for it."""

    system: str
    code: str
    target: str
    text: Any
    tasks: list[int]
    count: int = 0
    since: datetime | None = None
    schools: list[tuple[str | None, int]] = []
    suggestions: list[Any] = []
    choices: list[tuple[str, Any]] = []


async def inbox(request: Request, visitor: Any) -> list[Unmapped]:
    """Codes waiting for a meaning, the most wanted first, each with what it may mean."""
    core = core_of(request)
    async with core.pool.acquire() as connection:
        tasks = await connection.fetch(sql.console_tasks, visitor.schools, "unmapped_code")
        per_school = await connection.fetch(sql.console_unmapped_schools, [t["id"] for t in tasks], visitor.schools)
    found: dict[tuple[str, str, str], Unmapped] = {}
    of_task: dict[int, Unmapped] = {}
    for task in tasks:
        data = task["data"] or {}
        key = tuple(str(data.get(k, "")) for k in ("source_system", "code", "target_system"))
        if not all(key):
            continue
        item = found.setdefault(key, Unmapped(system=key[0], code=key[1], target=key[2], text=task["text"], tasks=[]))  # type: ignore[arg-type]
        item.tasks.append(task["id"])
        item.count += task["n"]
        item.since = min(filter(None, (item.since, task["opened_at"])))
        of_task[task["id"]] = item
    for row in per_school:
        if (item_ := of_task.get(row["task"])) is not None:
            item_.schools = [*item_.schools, (row["school"], row["n"])]
    today = times.now().astimezone(times.ZONE).date()
    for item in found.values():
        item.suggestions = core.catalogue.suggest(item.system, item.code, item.target, today, limit=4)
        table = core.catalogue.systems.get(item.target)
        item.choices = [(r.code, r) for r in table.rows if r.valid(today)] if table else []
    return sorted(found.values(), key=lambda u: (-u.count, u.system, u.code))


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """The inbox, the code systems and the crosswalks."""
    return await _page(request, visitor)


async def _page(request: Request, visitor: Guest, error: str | None = None) -> Response:
    core = core_of(request)
    async with core.pool.acquire() as connection:
        approved = await connection.fetch(sql.console_approved)
    catalogue = core.catalogue
    newest: dict[tuple[str, str, str], int] = {}
    for place, row in enumerate(approved):  # the last approved comes first
        newest.setdefault((row["source_system"], row["code"], row["target_system"]), place)
    return respond(
        request, "codes.html", status=422 if error else 200, visitor=visitor, error=error, inbox=await inbox(request, visitor),
        systems=sorted(catalogue.systems.values(), key=lambda s: s.system), walks=sorted(catalogue.crosswalks.values(), key=lambda w: w.id),
        version=catalogue.version, approved=approved, holding=set(newest.values()), title=catalogue.title, schools=core.directory,
    )  # fmt: skip


@router.post("/approve")
async def approve(request: Request, visitor: Visitor) -> Response:
    """Say what a code means; exactly what waited for it goes on."""
    form = await taken(request, visitor, whole=True)
    system, code, target = (text(form, k, 200) for k in ("system", "code", "target"))
    canonical = text(form, "other", 120) or text(form, "canonical", 120)
    why = reason(request, form, "note")
    table = core_of(request).catalogue.systems.get(target)
    if not (system and code) or table is None or table.row(canonical) is None:
        return await _page(request, visitor, "codes.code_needed")
    if why is None:
        return await _page(request, visitor)
    released = await operations.approve_code(
        core_of(request), visitor.person.name, system, code, target, canonical, why
    )
    return redirect("/codes", done="done.approved", n=released)


@router.get("/systems/{name}")
async def system(request: Request, visitor: Visitor, name: str) -> Response:
    """One code system's rows."""
    table = core_of(request).catalogue.systems.get(name)
    if table is None:
        raise Refused(404, "error.missing")
    search = request.query_params.get("q", "").strip()[:80]
    rows = table.rows
    if search:
        key = fold(search)
        rows = tuple(r for r in rows if search in r.code or (key and (key in fold(r.vi) or key in fold(r.en))))
    extras = list(dict.fromkeys(k for r in rows[:_ROWS] for k in r.extra))
    return respond(
        request,
        "code_system.html",
        visitor=visitor,
        table=table,
        rows=rows[:_ROWS],
        total=len(rows),
        extras=extras,
        search=search,
    )


@router.get("/crosswalks/{name}")
async def crosswalk(request: Request, visitor: Visitor, name: str) -> Response:
    """One crosswalk's entries."""
    catalogue = core_of(request).catalogue
    walk = catalogue.crosswalks.get(name)
    if walk is None:
        raise Refused(404, "error.missing")
    search = request.query_params.get("q", "").strip()[:80]
    entries = walk.entries
    if search:
        key = fold(search)
        titles = {c: fold(t.vi) for s in (walk.source, walk.target) for c, t in _titles(catalogue, s).items()}
        entries = tuple(
            e
            for e in entries
            if search in (e.source, e.target)
            or (key and any(key in w for w in (fold(e.source), titles.get(e.source, ""), titles.get(e.target, ""))))
        )
    return respond(
        request,
        "crosswalk.html",
        visitor=visitor,
        walk=walk,
        entries=entries[:_ROWS],
        total=len(entries),
        title_of=catalogue.title,
        search=search,
    )


def _titles(catalogue: Any, system: str) -> dict[str, Any]:
    table = catalogue.systems.get(system)
    return {r.code: r for r in table.rows} if table else {}
