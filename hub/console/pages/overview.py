"""The overview: what comes in, what stands where, who has it, and whether it all adds up."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Guest, Visitor, hub_of
from hub.console.pulse import Pulses
from hub.console.render import respond
from hub.kernel.lifecycle import State

router = APIRouter()


async def _context(request: Request, visitor: Guest) -> dict[str, Any]:
    pulses: Pulses = request.app.state.console_pulses
    hub = hub_of(request)
    pulse = await pulses.read(hub, visitor.schools)
    account = await hub.books.look(hub.core) if visitor.whole else None
    totals = {state: sum(c.count(state) for c in pulse.cards) for state in State}
    return {"pulse": pulse, "account": account, "account_at": hub.books.at, "totals": totals, "State": State}


@router.get("/")
async def overview(request: Request, visitor: Visitor) -> Response:
    """The page."""
    return respond(request, "overview.html", visitor=visitor, **await _context(request, visitor))


@router.get("/live/overview")
async def live(request: Request, visitor: Visitor) -> Response:
    """The part of the page that refreshes itself."""
    return respond(request, "_overview.html", visitor=visitor, **await _context(request, visitor))
