"""Deliveries by state: what is owed, to whom, for how long; and withdrawing one."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Refused, Visitor, core_of, known_id, number, reason, taken
from hub.console.pages.messages import one_record, record_page
from hub.console.render import redirect, respond
from hub.kernel.ledger import operations
from hub.kernel.lifecycle import FINAL, State
from hub.kernel.store.db import sql

router = APIRouter(prefix="/deliveries")

PAGE = 50
_LAST = (1 << 62) - 1


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """One state's deliveries: open ones oldest first, closed ones of the last month newest first."""
    core, query = core_of(request), request.query_params
    word = query.get("state", "waiting").upper()
    state = State[word] if word in State.__members__ else State.WAITING
    name = query.get("connector", "")
    connector = core.connectors.get(name) if name else None
    if name and connector is None:
        raise Refused(404, "error.missing")
    school = query.get("school", "").strip()
    schools = visitor.schools
    if school:
        schools = [school] if schools is None or school in schools else []
    closed = state in FINAL
    cursor = number(query.get("after")) or (_LAST if closed else 0)
    statement = sql.console_closed_deliveries if closed else sql.console_open_deliveries
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(statement, cursor, schools, connector, int(state), PAGE + 1, timeout=15)
    return respond(
        request, "deliveries.html", visitor=visitor, rows=rows[:PAGE], more=rows[PAGE - 1]["id"] if len(rows) > PAGE else None, state=state,
        states=list(State), connector=name, names={n: k for k, n in core.connectors.items()}, schools=core.directory,
    )  # fmt: skip


@router.post("/{delivery}/cancel")
async def cancel(request: Request, visitor: Visitor, delivery: str) -> Response:
    """Withdraw one that nobody is sending, with a reason."""
    form = await taken(request, visitor)
    core = core_of(request)
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.console_delivery, known_id(delivery))
    if row is None or not core.directory.permits(visitor.person.scope, row["school"]):
        raise Refused(404, "error.missing")
    why = reason(request, form, "note")
    if why is None:
        return await record_page(request, visitor, await one_record(request, visitor, row["record"]))
    done = await operations.cancel(core, visitor.person.name, row["id"], why)
    return redirect(f"/records/{row['record']}", done="done.cancelled" if done else "done.not_cancelled")
