"""Control calls for schedules: pull a list, judge the filings' dates. Beside `hub.api.control`, with the same token.

Every call may be repeated: a pull goes on where it was, and one whose key is done answers as it did; the dates are judged
anew. It must never hand out personal data: file numbers, agencies and counts only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from hub.api.context import Hub
from hub.api.control import require_control
from hub.api.problems import Problem
from hub.kernel.filings import ZONE, WorkCalendar
from hub.kernel.firewall_names import NO_REASON, stated
from hub.kernel.ledger import filing_watch
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ledger.pulls import Accepting, PullBusy
from hub.kernel.ports import Text, said
from hub.kernel.store.db import sql

router = APIRouter(
    prefix="/control/v1", tags=["control"], dependencies=[Depends(require_control)], include_in_schema=False
)

_FOR_S = 20.0
_AWAY = Text("Cơ sở dữ liệu tạm thời không trả lời; hãy gọi lại.", "The database does not answer for now; call again.")
_NO_CONNECTOR = Text("Không có kết nối này.", "There is no such connector.")


class PullOrder(BaseModel):
    """`key` names the run, e.g. the schedule's own run id: the same key pulls once. `accept_removals`: a person saw that
    much of the list is really gone, and `why` says how they know; it is journaled with what it lets go, and only then."""

    model_config = ConfigDict(extra="forbid")
    key: str = Field(min_length=1, max_length=200)
    for_s: float = Field(_FOR_S, gt=0, le=60)
    accept_removals: bool = False
    why: str = Field("", max_length=1000)


def calendar_of(settings: Any) -> WorkCalendar:
    """Working days and hours as the settings have them."""
    f = settings.filings
    return WorkCalendar(f.spans(), f.days_off, f.working_days)


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


@router.post("/connectors/{name}/pull/{what}")
async def pull(request: Request, name: str, what: str, order: PullOrder) -> Response:
    """Pull for some seconds: `{what, run, page, done, records, unchanged, rejected, changes, removals_accepted, fault, after_s}`.

    While `done` is false, call again with the same key, after `after_s` seconds where that is given. 409 while another
    process is at it.
    """
    # With every transport there is: for who pulls only.
    from connectors.address import AddressPolicy
    from hub.worker.pulls import Pull, UnknownPull

    hub: Hub = request.app.state.hub
    why = stated(order.why)
    if order.accept_removals and why is None:
        raise Problem(422, "no_reason", Text(f"why: {NO_REASON.vi}", f"why: {NO_REASON.en}"))
    try:
        async with hub.core.pool.acquire() as connection:
            row = await connection.fetchrow(sql.pull_connector, name)
        if row is None:
            raise Problem(404, "unknown_connector", _NO_CONNECTOR)
        work = Pull(
            hub.core,
            row,
            what,
            hub.keys,
            AddressPolicy(hub.settings.outward.allow_private, hub.settings.outward.folders),
            hub.core.worker,
        )
        accepting = Accepting("control", why) if order.accept_removals and why is not None else None
        standing = await work.run(order.key, order.for_s, accepting=accepting)
    except UnknownPull as error:
        raise Problem(404, "unknown_list", said(error)) from error
    except PullBusy as error:
        raise Problem(409, "pull_busy", said(error), headers={"Retry-After": "10"}) from error
    except TRANSIENT as error:
        raise Problem(503, "database_away", _AWAY, headers={"Retry-After": "2"}) from error
    return _json(standing)


@router.get("/filings/deadlines")
async def look_at_deadlines(request: Request, at: datetime | None = None) -> Response:
    """The forecast as of `at` (now by default): who missed, and who will miss closing time. Changes nothing."""
    hub: Hub = request.app.state.hub
    try:
        found = await filing_watch.forecast(
            hub.core, _when(at) or hub.core.moment(), calendar_of(hub.settings), _warn_s(hub)
        )
    except TRANSIENT as error:
        raise Problem(503, "database_away", _AWAY, headers={"Retry-After": "2"}) from error
    return _json(filing_watch.told(found))


@router.post("/filings/deadlines")
async def watch_deadlines(request: Request) -> Response:
    """The forecast as of now, and its alarms begun or ended. Repeating it changes nothing."""
    hub: Hub = request.app.state.hub
    try:
        found = await filing_watch.watch(hub.core, hub.core.moment(), calendar_of(hub.settings), _warn_s(hub))
    except TRANSIENT as error:
        raise Problem(503, "database_away", _AWAY, headers={"Retry-After": "2"}) from error
    return _json(filing_watch.told(found))


def _when(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=ZONE) if at is not None and at.tzinfo is None else at


def _warn_s(hub: Hub) -> float:
    return float(hub.settings.filings.warn_hours) * 3600.0
