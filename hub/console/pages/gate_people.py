"""People sent to gates: which gates lack somebody, and one gate's people with what became of each.

One concern: those two pages. Codes are masked; a record's own page shows them for a purpose.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console import masks
from hub.console.guard import Refused, Visitor, core_of, number
from hub.console.render import respond
from hub.kernel.ledger import gate_rolls
from hub.kernel.lifecycle import State
from hub.kernel.store.db import sql

router = APIRouter(prefix="/gates")

PAGE = 100


@router.get("/people")
async def index(request: Request, visitor: Visitor) -> Response:
    """Gates with people still to be told."""
    core = core_of(request)
    rows = await gate_rolls.open_by_gate(core, visitor.schools)
    async with core.pool.acquire() as connection:
        gates = {r["id"]: r for r in await connection.fetch(sql.gates_standing, visitor.schools, None)}
    return respond(
        request, "gates_people.html", visitor=visitor, rows=[(r, gates.get(r["device"])) for r in rows], schools=core.directory,
        total=sum(r["n"] for r in rows), parked=sum(r["parked"] for r in rows),
    )  # fmt: skip


@router.get("/{gate}/people")
async def detail(request: Request, visitor: Visitor, gate: str) -> Response:
    """One gate's people."""
    core = core_of(request)
    async with core.pool.acquire() as connection:
        found = await connection.fetch(sql.gates_standing, visitor.schools, gate)
    if not found:
        raise Refused(404, "error.missing")
    only_open = request.query_params.get("only") == "open"
    after = number(request.query_params.get("after"))
    rows = await gate_rolls.of_gate(core, gate, visitor.schools, after, PAGE + 1, only_open=only_open)
    shown = [
        (r, masks.mask_text(r["person"]), State(r["state"]).word if r["state"] is not None else None)
        for r in rows[:PAGE]
    ]
    return respond(
        request, "gate_people.html", visitor=visitor, row=found[0], rows=shown, only_open=only_open, schools=core.directory,
        more=rows[PAGE - 1]["record"] if len(rows) > PAGE else None,
    )  # fmt: skip
