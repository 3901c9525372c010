"""Reconciliations: the runs, what each found, the plan of a repair and its order.

Keys are masked: which learner it is shows the record's own page, which has its own log. It must never queue anything without the
plan having been shown, nor show a difference of a school outside the visitor's scope.
"""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api.comparison import field_maps
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, known_id, needs, number, reason, taken, text
from hub.console.masks import mask_text
from hub.console.render import redirect, respond
from hub.kernel.ledger import reconcile
from hub.kernel.ledger.reconcile import NotComparable, PlanChanged, Run
from hub.kernel.store.db import sql

router = APIRouter(prefix="/reconcile")

PAGE = 50
_GATHER_S = 8.0


async def _choices(request: Request) -> list[tuple[str, str]]:
    """(connector, type) that can be reconciled."""
    from hub.worker.reconciling import listed_types  # with every transport there is: for who asks only

    core = core_of(request)
    async with core.pool.acquire() as connection:
        rows = [r for r in await connection.fetch(sql.pull_connectors) if r["state"] == "active"]
    return [(r["name"], t) for r in rows for t in listed_types(core, r)]


async def _index(request: Request, visitor: Guest, error: str | None = None) -> Response:
    core = core_of(request)
    rows = await reconcile.latest(core, PAGE, visitor.schools)
    return respond(
        request, "reconcile.html", status=422 if error else 200, visitor=visitor, rows=rows, error=error,
        choices=await _choices(request) if visitor.may_run() else [], names={n: k for k, n in core.connectors.items()},
    )  # fmt: skip


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """The last runs, and the form for another."""
    return await _index(request, visitor)


@router.post("")
async def begin(request: Request, visitor: Visitor) -> Response:
    """Begin a run; a schedule, or the button on its page, gathers it."""
    form = await taken(request, visitor, whole=True)
    connector, _, record_type = text(form, "what", 200).partition("/")
    school, core = text(form, "school", 20) or None, core_of(request)
    if (connector, record_type) not in await _choices(request) or (school and core.directory.get(school) is None):
        return await _index(request, visitor, "reconcile.wrong")
    key = f"{visitor.person.name}:{secrets.token_hex(8)}"
    run = await reconcile.begin(core, visitor.person.name, key, core.connectors[connector], record_type, school)
    return redirect(f"/reconcile/{run.id}")


async def _one(request: Request, visitor: Guest, given: str) -> Run:
    run = await reconcile.find(core_of(request), known_id(given))
    if run is None or not (visitor.whole or run.school in (visitor.schools or ())):
        raise Refused(404, "error.missing")
    return run


async def _page(request: Request, visitor: Guest, run: Run, error: str | None = None, fault: Any = None) -> Response:
    core = core_of(request)
    side, _, key = request.query_params.get("after", "").partition("/")
    found = await reconcile.result(core, run.id, visitor.schools)
    rows = await reconcile.differences(core, run.id, (side, key), PAGE + 1, visitor.schools)
    names = {n: k for k, n in core.connectors.items()}
    return respond(
        request, "reconciliation.html", status=409 if error else 200, visitor=visitor, run=run, found=found, connector=names.get(run.connector, ""),
        rows=[dict(r) | {"masked": mask_text(r["key"])} for r in rows[:PAGE]], error=error, fault=fault,
        more=f"{rows[PAGE - 1]['side']}/{rows[PAGE - 1]['key']}" if len(rows) > PAGE else None,
    )  # fmt: skip


@router.get("/{given}")
async def show(request: Request, visitor: Visitor, given: str) -> Response:
    """How far a run is, what it found, and the plan of its repair."""
    return await _page(request, visitor, await _one(request, visitor, given))


@router.post("/{given}/gather")
async def gather(request: Request, visitor: Visitor, given: str) -> Response:
    """Gather for some seconds."""
    from connectors.address import AddressPolicy
    from hub.worker.reconciling import gather as go
    from hub.worker.reconciling import map_of

    await taken(request, visitor, whole=True)
    run, hub = await _one(request, visitor, given), hub_of(request)
    names = {n: name for name, n in hub.core.connectors.items()}
    async with hub.core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.pull_connector, names[run.connector])
    addresses = AddressPolicy(hub.settings.outward.allow_private, hub.settings.outward.folders)
    try:
        field_map = map_of(hub.core, run.connector, run.type, field_maps())
    except NotComparable:
        return await _page(request, visitor, run, "reconcile.wrong")
    seen = await go(hub.core, row, run, field_map, hub.keys, addresses, _GATHER_S)
    if seen.fault is not None:
        return await _page(request, visitor, await _one(request, visitor, given), fault=seen.fault)
    return redirect(f"/reconcile/{run.id}")


@router.post("/{given}/repair")
async def repair(request: Request, visitor: Visitor, given: str) -> Response:
    """Queue what the plan showed, with a reason. More than that by now: show the plan again."""
    from hub.worker.reconciling import map_of

    form = await taken(request, visitor, whole=True)
    needs(visitor, "operator", whole=True)
    run, core = await _one(request, visitor, given), core_of(request)
    planned, why = number(text(form, "planned")), reason(request, form)
    if why is None:
        return await _page(request, visitor, run)
    try:
        if planned is None:
            raise PlanChanged(given)
        field_map = map_of(core, run.connector, run.type, field_maps())
        done = await reconcile.repair(core, visitor.person.name, run, field_map, planned, why=why)
    except PlanChanged:
        return await _page(request, visitor, run, "reconcile.changed")
    except NotComparable:
        return await _page(request, visitor, run, "reconcile.wrong")
    return redirect(f"/reconcile/{run.id}", done="done.reconciled", n=done.queued)
