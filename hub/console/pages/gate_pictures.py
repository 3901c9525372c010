"""Pictures of a gate, where a deployment keeps some: a list without them, and one of them for a stated purpose.

One concern: those two pages and the switch. It must never show a picture before its view stands in the journal, nor on a page
that a browser may keep or another page may embed.
"""

from __future__ import annotations

import base64
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console import masks
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, known_id, needs, number, reason, taken, text
from hub.console.render import HEADERS, redirect, respond
from hub.kernel.ledger import gate_pictures
from hub.kernel.ledger.gate_pictures import place_of
from hub.kernel.ports import Text
from hub.kernel.store.db import sql
from hub.keys import CannotDecrypt

router = APIRouter(prefix="/gates")

PAGE = 50
_GONE = Text("Ảnh này đã hết hạn và bị xóa.", "This picture's time is over: it was deleted.")
_UNREADABLE = Text("Ảnh này không mở được bằng khóa hiện tại.", "This picture does not open with the present key.")
_WITH_PICTURE = {
    **HEADERS,
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace("img-src 'self'", "img-src 'self' data:"),
}


async def _gate(request: Request, visitor: Guest, gate: str) -> Any:
    async with core_of(request).pool.acquire() as connection:
        rows = await connection.fetch(sql.gates_standing, visitor.schools, gate)
    if not rows:
        raise Refused(404, "error.missing")
    return rows[0]


async def _page(
    request: Request, visitor: Guest, gate: str, *, error: Text | None = None, seen: Any = None, picture: str = ""
) -> Response:
    core = core_of(request)
    row = await _gate(request, visitor, gate)
    rows = await gate_pictures.of_gate(
        core, gate, visitor.schools, number(request.query_params.get("before")), PAGE + 1
    )
    return respond(
        request, "gate_pictures.html", status=422 if error else 200, visitor=visitor, row=row, error=error, keeping=hub_of(request).settings.pictures,
        on=await gate_pictures.standing(core, gate), rows=[(r, masks.mask_text(r["person"] or "")) for r in rows[:PAGE]],
        more=rows[PAGE - 1]["id"] if len(rows) > PAGE else None, seen=seen, picture=picture, schools=core.directory,
    )  # fmt: skip


@router.get("/{gate}/pictures")
async def index(request: Request, visitor: Visitor, gate: str) -> Response:
    """What is kept of a gate, without a picture."""
    needs(visitor, "operator")
    return await _page(request, visitor, gate)


@router.post("/{gate}/pictures/keep")
async def keep(request: Request, visitor: Visitor, gate: str) -> Response:
    """Switch the keeping of a gate's pictures on or off: the department's administrators alone."""
    form = await taken(request, visitor, "admin", whole=True)
    row = await _gate(request, visitor, gate)
    kept, why, on = hub_of(request).settings.pictures, reason(request, form), text(form, "on", 3) == "yes"
    if why is None:
        return await _page(request, visitor, gate)
    if on and (not kept.hours or row["state"] != "active"):
        raise Refused(403, "error.forbidden")
    await gate_pictures.switch(core_of(request), visitor.person.name, gate, on, why, kept.legal_basis, kept.hours)
    return redirect(f"/gates/{gate}/pictures", done="done.gate")


@router.post("/{gate}/pictures/{picture}")
async def see(request: Request, visitor: Visitor, gate: str, picture: str) -> Response:
    """One picture, this once; the purpose is journaled first."""
    form = await taken(request, visitor, "operator")
    await _gate(request, visitor, gate)
    stated = reason(request, form, "purpose")
    if stated is None:
        return await _page(request, visitor, gate)
    if not hub_of(request).settings.pictures.hours:
        return await _page(request, visitor, gate, error=_GONE)
    row = await gate_pictures.see(
        core_of(request), visitor.person.name, gate, known_id(picture), stated, visitor.schools
    )
    if row is None:
        return await _page(request, visitor, gate, error=_GONE)
    try:
        content = hub_of(request).keys.decrypt(row["sealed"], place_of(row["device"], row["message"]))
    except CannotDecrypt:
        return await _page(request, visitor, gate, error=_UNREADABLE)
    shown = f"data:{row['kind']};base64,{base64.b64encode(content).decode()}"
    page = await _page(request, visitor, gate, seen=row, picture=shown)
    page.headers.update(_WITH_PICTURE)
    return page
