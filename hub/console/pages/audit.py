"""The journal of what people did: who, when, what, and why."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Refused, Visitor, core_of, number
from hub.console.render import respond
from hub.kernel.store.db import sql

router = APIRouter(prefix="/audit")

PAGE = 50
DAYS = 92
_LAST = (1 << 62) - 1
_NAMED_MOST = 12
"""Longer lists are told by their number."""
KINDS = (
    "pause", "resume", "pause_share", "resume_share",
    "resolve", "approve_code", "cancel", "correct", "replay", "configure", "unmask", "sign_in", "sign_out", "sign_in_blocked",
    "person_linked", "person_unlinked", "gate_namespace", "gate_offset",
    "change_password", "first_admin", "add_user", "reset_password", "block_user", "unblock_user", "client", "client_blocked", "device", "device_revoked",
    "alarm_started", "alarm_ended", "compare", "send_anyway",
    "reconcile", "pull", "filing_inbox", "callback_shown", "callback_made", "callback_ended", "export", "file_read",
    "verification", "verification_done", "verification_cancelled", "verification_sheet",
    "day_off", "day_off_removed", "sessions", "rehearse", "query_granted", "query_withdrawn",
    "gate_registered", "gate_code", "gate_enrolled", "gate_rotated", "gate_signing", "gate_moved", "gate_replaced", "gate_revoked", "gate_traced",
    "gate_pictures_on", "gate_pictures_off", "gate_picture_seen",
    "gate_list", "gate_list_dropped", "gate_listed", "devices", "devices_revoked",
)  # fmt: skip


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """Newest first; the last three months."""
    if visitor.person.role == "operator":
        raise Refused(403, "error.role")
    if not visitor.whole:
        raise Refused(403, "error.scope")
    core, query = core_of(request), request.query_params
    kinds = [query["kind"]] if query.get("kind") in KINDS else list(KINDS)
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(
            sql.console_audit,
            number(query.get("before")) or _LAST,
            DAYS,
            kinds,
            query.get("actor") or None,
            PAGE + 1,
            timeout=15,
        )
    return respond(
        request, "audit.html", visitor=visitor, rows=rows[:PAGE], more=rows[PAGE - 1]["id"] if len(rows) > PAGE else None, kinds=KINDS, most=_NAMED_MOST,
        names={n: k for k, n in core.connectors.items()},
    )  # fmt: skip
