"""Control calls about reconciliations: begin or find one, gather for some seconds, see what was found, repair by plan.

One concern: these calls' shapes, beside `hub.api.control` and with the same token. Every call may be repeated. It must never
give a record's key or content: a person looks at those in the console.
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from hub.api.comparison import field_maps
from hub.api.context import Hub
from hub.api.control import ControlRoute, Here, require_control
from hub.api.problems import Problem
from hub.kernel.ledger import reconcile, recovery
from hub.kernel.ledger.reconcile import NotComparable, PlanChanged, Run
from hub.kernel.ports import Text, said
from hub.kernel.store.db import sql

_ACTOR = "control"
_NONE = Text("Không có lần đối soát này.", "There is no such reconciliation.")

router = APIRouter(
    prefix="/control/v1/reconciliations",
    tags=["control"],
    dependencies=[Depends(require_control)],
    route_class=ControlRoute,
    include_in_schema=False,
)


class _Begin(BaseModel):
    """`key` names the run, e.g. the schedule's own run id: the same key is the same run."""

    model_config = ConfigDict(extra="forbid")
    key: str = Field(min_length=1, max_length=300)
    connector: str = Field(min_length=1, max_length=100)
    type: str = Field(min_length=1, max_length=50)
    school: str | None = Field(None, min_length=1, max_length=20)


class _Gather(BaseModel):
    model_config = ConfigDict(extra="forbid")
    for_s: float = Field(20.0, gt=0, le=60)


class _Repair(BaseModel):
    """`planned`: the plan's number as it was seen."""

    model_config = ConfigDict(extra="forbid")
    planned: int = Field(ge=0)
    most: int = Field(20_000, ge=1, le=50_000)


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


async def _run(hub: Hub, number: int) -> Run:
    found = await reconcile.find(hub.core, number)
    if found is None:
        raise Problem(404, "unknown_reconciliation", _NONE)
    return found


@router.get("/wanted")
async def wanted(hub: Here) -> Response:
    """`{items: [{connector, type}]}`: what can be reconciled: listed by the counterparty, and sent to it as changes only."""
    from hub.worker.reconciling import listed_types  # with every transport there is: for who asks only

    async with hub.core.pool.acquire() as connection:
        rows = [r for r in await connection.fetch(sql.pull_connectors) if r["state"] == "active"]
    return _json({"items": [{"connector": r["name"], "type": t} for r in rows for t in listed_types(hub.core, r)]})


@router.post("")
async def begin(hub: Here, body: _Begin) -> Response:
    """Begin a run or find it: the run."""
    await recovery.find(hub.core, body.connector)
    try:
        run = await reconcile.begin(
            hub.core, _ACTOR, body.key, hub.core.connectors[body.connector], body.type, body.school
        )
    except NotComparable as error:
        raise Problem(422, "not_comparable", said(error)) from error
    return _json(_shown(run))


def _shown(run: Run) -> dict[str, Any]:
    """A run without its cursors: those are keys."""
    hidden = ("ours_after", "theirs_after")
    return {k: v for k, v in msgspec.structs.asdict(run).items() if k not in hidden}


@router.get("/{number}")
async def show(hub: Here, number: int) -> Response:
    """`{run, result}`; counts, no record."""
    run = await _run(hub, number)
    return _json({"run": _shown(run), "result": await reconcile.result(hub.core, number)})


@router.post("/{number}/gather")
async def gather(hub: Here, number: int, body: _Gather) -> Response:
    """Gather for some seconds and compare when all is there: `{run, state, ours, theirs, unread, fault, after_s}`.

    While `state` is `gathering`, call again, after `after_s` seconds where that is given; a `fault` without it is for a person.
    """
    from connectors.address import AddressPolicy
    from hub.worker.reconciling import gather as go
    from hub.worker.reconciling import map_of

    run = await _run(hub, number)
    names = {n: name for name, n in hub.core.connectors.items()}
    async with hub.core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.pull_connector, names.get(run.connector, ""))
    if row is None:
        raise recovery.UnknownConnector(str(run.connector))
    addresses = AddressPolicy(hub.settings.outward.allow_private, hub.settings.outward.folders)
    try:
        field_map = map_of(hub.core, run.connector, run.type, field_maps())
    except NotComparable as error:
        raise Problem(422, "not_comparable", said(error)) from error
    return _json(await go(hub.core, row, run, field_map, hub.keys, addresses, body.for_s))


@router.post("/{number}/repair")
async def repair(hub: Here, number: int, body: _Repair) -> Response:
    """Queue what the plan showed: `{queued, on_their_way, unmapped, expired, left}`; again until `left` is 0. 409 when the plan has grown."""
    from hub.worker.reconciling import map_of

    run = await _run(hub, number)
    try:
        field_map = map_of(hub.core, run.connector, run.type, field_maps())
        done = await reconcile.repair(hub.core, _ACTOR, run, field_map, body.planned, body.most)
    except NotComparable as error:
        raise Problem(422, "not_comparable", said(error)) from error
    except PlanChanged as error:
        raise Problem(409, "plan_changed", said(error)) from error
    return _json(done)
