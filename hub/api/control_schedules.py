"""What there is to do on a schedule: lists to pull and comparisons to make; and word of runs that are late. Beside
`hub.api.control`, with the same token.

It must never do any of it: a schedule orders each by a call of its own.
"""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Depends, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from adapters import manifest as manifests
from connectors.settings import picks_up
from hub.api.control import ControlRoute, Here, require_control
from hub.kernel.ledger import schedules
from hub.kernel.store.db import sql

router = APIRouter(
    prefix="/control/v1",
    tags=["control"],
    dependencies=[Depends(require_control)],
    route_class=ControlRoute,
    include_in_schema=False,
)

_LEADS = frozenset({"redeliver"})
"""Schedules whose runs lead recoveries."""


class _Ended(BaseModel):
    model_config = ConfigDict(extra="forbid")
    schedule: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")


class _Late(_Ended):
    run: str = Field(min_length=1, max_length=250)
    deadline: AwareDatetime


@router.post("/schedules/late")
async def late(hub: Here, body: _Late) -> Response:
    """A run has not ended by its deadline: `{late: [subject …]}`, what an alarm stands for now. Repeating it changes nothing."""
    told = await schedules.late(hub.core, body.schedule, body.run, body.deadline, leads=body.schedule in _LEADS)
    return Response(msgspec.json.encode({"late": told}), media_type="application/json")


@router.post("/schedules/ended")
async def ended(hub: Here, body: _Ended) -> Response:
    """A run of the schedule has ended: its alarm, if one stands, ends."""
    await schedules.ended(hub.core, body.schedule)
    return Response(b"{}", media_type="application/json")


@router.get("/pulls")
async def lists(hub: Here) -> Response:
    """`{items: [{connector, what, every_s, due}]}`: every list of every active connector."""
    from hub.worker.pulls import overdue  # with every transport there is: for who asks only

    async with hub.core.pool.acquire() as connection:
        rows = [r for r in await connection.fetch(sql.pull_connectors) if r["state"] == "active"]
    # A schedule comes by every so often, never exactly on time: a tenth early is due.
    due = {(row["name"], what) for row, what in await overdue(hub.core, rows, 0.9)}
    items = [
        {"connector": r["name"], "what": what, "every_s": declared.every_s, "due": (r["name"], what) in due}
        for r in rows
        if not picks_up(r["settings"])
        for what, declared in manifests.load(r["system"]).pulls.items()
    ]
    return Response(msgspec.json.encode({"items": items}), media_type="application/json")


@router.get("/comparisons")
async def comparisons(hub: Here) -> Response:
    """`{items: [connector …]}`: those to whom some flow sends changes only."""
    wanted = {t.connector for f in hub.core.router.flows.values() for t in f.to if t.only_changes}
    items = sorted(wanted & hub.core.connectors.keys())
    return Response(msgspec.json.encode({"items": items}), media_type="application/json")
