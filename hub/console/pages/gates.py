"""Attendance gates: when each was last seen, how its clock is, what it sent. There is no picture anywhere to show."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console import masks
from hub.console.guard import Refused, Visitor, core_of
from hub.console.render import respond
from hub.kernel.store.db import sql

router = APIRouter(prefix="/gates")

SILENT_S = 600.0
"""A gate not heard of for this long counts as offline, whatever it last said."""
OFF_S = 30.0
"""A clock off by more than this is worth a look."""


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """All gates."""
    async with core_of(request).pool.acquire() as connection:
        rows = await connection.fetch(sql.console_gates, visitor.schools, None)
    return respond(
        request,
        "gates.html",
        visitor=visitor,
        rows=rows,
        schools=core_of(request).directory,
        silent_s=SILENT_S,
        off_s=OFF_S,
    )


@router.get("/{gate}")
async def detail(request: Request, visitor: Visitor, gate: str) -> Response:
    """One gate and its last events."""
    async with core_of(request).pool.acquire() as connection:
        row = await connection.fetchrow(sql.console_gates, visitor.schools, gate)
        if row is None:
            raise Refused(404, "error.missing")
        events = await connection.fetch(sql.console_gate_events, gate, visitor.schools)
    shown = [(e, masks.mask_record("checkin", e["body"]) if e["body"] else None) for e in events]
    return respond(
        request,
        "gate.html",
        visitor=visitor,
        row=row,
        events=shown,
        schools=core_of(request).directory,
        silent_s=SILENT_S,
        off_s=OFF_S,
    )
