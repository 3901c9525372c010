"""What operators order about one gate: a code, a new secret, a move, a replacement, an end, a look at what it sends.

One concern: those forms. It must never show a code or a secret but in the answer to the order that made it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, number, reason, taken, text
from hub.console.pages.gates import show
from hub.console.render import redirect
from hub.kernel.ledger import gates
from hub.kernel.ledger.gates import GateRefused
from hub.kernel.ports import Text
from hub.kernel.store.db import sql

router = APIRouter(prefix="/gates")

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_OVERLAP = Text("Thời gian dùng chung: từ 0 đến 720 giờ.", "The overlap: 0 to 720 hours.")
_TRACE = timedelta(minutes=15)


async def _order(request: Request, visitor: Guest, gate: str) -> FormData:
    """The form; refused where the gate is not theirs. Credentials and places are the department's to give."""
    form = await taken(request, visitor, "operator", whole=True)
    async with core_of(request).pool.acquire() as connection:
        if not await connection.fetch(sql.gates_standing, visitor.schools, gate):
            raise Refused(404, "error.missing")
    return form


@router.post("/{gate}/code")
async def code(request: Request, visitor: Visitor, gate: str) -> Response:
    """A new one-time code, shown once."""
    why = reason(request, await _order(request, visitor, gate))
    if why is None:
        return await show(request, visitor, gate)
    key = hub_of(request).keys.hmac("gate-code")
    try:
        made = await gates.new_codes(core_of(request), visitor.person.name, [gate], key, why=why)
    except GateRefused as error:
        return await show(request, visitor, gate, error=error.text)
    return await show(request, visitor, gate, fresh=("gate.fresh_code", made[gate]))


@router.post("/{gate}/rotate")
async def rotate(request: Request, visitor: Visitor, gate: str) -> Response:
    """A new secret, shown once; the present one opens for the hours given."""
    form = await _order(request, visitor, gate)
    hours, why = number(text(form, "overlap", 4)), reason(request, form)
    if hours is None or timedelta(hours=hours) > gates.OVERLAP_LONGEST:
        return await show(request, visitor, gate, error=_OVERLAP)
    if why is None:
        return await show(request, visitor, gate)
    try:
        made = await gates.rotate(
            core_of(request), visitor.person.name, gate, hub_of(request).keys.encrypt, timedelta(hours=hours), why
        )
    except GateRefused as error:
        return await show(request, visitor, gate, error=error.text)
    more = [("gate.username", made.username), *([("gate.old_until", made.old_until)] if made.old_until else [])]
    return await show(request, visitor, gate, fresh=("gate.fresh_secret", made.secret, *more))


@router.post("/{gate}/move")
async def move(request: Request, visitor: Visitor, gate: str) -> Response:
    """Where it stands since, or from, a moment."""
    form = await _order(request, visitor, gate)
    given, why = text(form, "since", 16), reason(request, form)
    try:
        since = datetime.fromisoformat(given).replace(tzinfo=_ZONE) if given else datetime.now(UTC)
    except ValueError:
        return await show(request, visitor, gate, error=Text("Thời điểm không hợp lệ.", "Not a moment."))
    if why is None:
        return await show(request, visitor, gate)
    try:
        await gates.move(
            core_of(request), visitor.person.name, gate, text(form, "school", 40), text(form, "entrance", 120),
            text(form, "direction", 10), since, why,
        )  # fmt: skip
    except GateRefused as error:
        return await show(request, visitor, gate, error=error.text)
    return redirect(f"/gates/{gate}", done="done.gate")


@router.post("/{gate}/replace")
async def replace(request: Request, visitor: Visitor, gate: str) -> Response:
    """Another device in its place; the page shows the new one with its code."""
    form = await _order(request, visitor, gate)
    keys = hub_of(request).keys
    new, why = text(form, "new", 60), reason(request, form)
    if why is None:
        return await show(request, visitor, gate)
    try:
        made = await gates.replace(
            core_of(request), visitor.person.name, gate, new, text(form, "serial", 80) or None, text(form, "model", 80), keys.encrypt,
            keys.hmac("gate-code"), why,
        )  # fmt: skip
    except GateRefused as error:
        return await show(request, visitor, gate, error=error.text)
    return await show(request, visitor, new, fresh=("gate.fresh_code", made))


@router.post("/{gate}/revoke")
async def revoke(request: Request, visitor: Visitor, gate: str) -> Response:
    """The end of its credentials, now."""
    form = await _order(request, visitor, gate)
    why = reason(request, form)
    if why is None:
        return await show(request, visitor, gate)
    done = await gates.revoke(core_of(request), visitor.person.name, [gate], why)
    return redirect(f"/gates/{gate}", done="done.gate" if done else "done.nothing")


@router.post("/{gate}/trace")
async def trace(request: Request, visitor: Visitor, gate: str) -> Response:
    """Note what it sends for a quarter of an hour."""
    form = await _order(request, visitor, gate)
    why = reason(request, form)
    if why is None:
        return await show(request, visitor, gate)
    try:
        await gates.trace(core_of(request), visitor.person.name, gate, why, _TRACE)
    except GateRefused as error:
        return await show(request, visitor, gate, error=error.text)
    return redirect(f"/gates/{gate}", done="done.gate")


@router.post("/{gate}/trace/stop")
async def stop(request: Request, visitor: Visitor, gate: str) -> Response:
    """End the look, which ends by itself soon."""
    await _order(request, visitor, gate)
    await gates.stop_trace(core_of(request), gate)
    return redirect(f"/gates/{gate}", done="done.gate")
