"""`POST /v1/rosters/{type}`: a school shows its full list, and is told where the hub's differs. Nothing of it becomes a record.

One concern: that call. It must never keep anything of anybody but a key and hashes, nor keep a list that could not be read whole.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api.auth import CurrentClient, require
from hub.api.context import Hub
from hub.api.problems import Problem
from hub.api.reading import line_items, read_item, together
from hub.kernel.ledger.core import TRANSIENT, content_hash, sorted_json
from hub.kernel.ledger.reconcile import take_roster
from hub.kernel.ports import Draft, Reject, Text

router = APIRouter(prefix="/v1")

TYPES_COMPARED = ("learner", "staff", "class")
_MOST = 50_000
_SHOWN = 200
_MANY = Text(
    f"Danh sách vượt quá {_MOST} dòng; hãy gửi từng trường.", f"More than {_MOST} lines; send school by school."
)
_AWAY = Text("Cơ sở dữ liệu tạm thời không trả lời; hãy gửi lại.", "The database does not answer for now; send again.")


def _outside(core_permits: bool, draft: Draft) -> Reject | None:
    if core_permits and draft.school is not None:
        return None
    vi, en = (
        f"Tài khoản không có quyền với trường {draft.school}.",
        f"The client may not act for school {draft.school}.",
    )
    return Reject(pointer=draft.pointer, code="outside_scope", key=draft.key, message=Text(vi, en))


@router.post("/rosters/{record_type}", tags=["intake"])
async def compare(request: Request, record_type: str, client: CurrentClient) -> Response:
    """Compare a full list (`application/x-ndjson`, one envelope a line as for a push) with the hub's records.

    Answers `{type, kept, rosters: [{school, count, missing_here, missing_there, differs, items: [{key, class, kind}]}], rejects}`.
    *missing_here*: the hub has no such record; *missing_there*: the list has it not. With any reject nothing is compared:
    a list that is not whole would make everybody it lacks look missing.
    """
    if record_type not in TYPES_COMPARED:
        names = ", ".join(TYPES_COMPARED)
        raise Problem(404, "unknown_type", Text(f"Chỉ so được: {names}.", f"Only these can be compared: {names}."))
    require(client, f"push:{record_type}" if f"push:{record_type}" in client.rights else "push")
    hub: Hub = request.app.state.hub
    http = hub.settings.http
    at, place = datetime.now(UTC), 0
    rejects: list[Reject] = []
    schools: dict[str, dict[str, tuple[str, str, bytes]]] = {}
    async for lines in line_items(request, http.single_max_bytes, http.bulk_max_bytes):
        for line in lines:
            if place >= _MOST:
                raise Problem(413, "too_many_lines", _MANY)
            _, found, _ = read_item(record_type, line, f"/{place}", at, hub)
            place += 1
            if not isinstance(found, Draft):
                rejects.append(together(f"/{place - 1}", found))
            elif refused := _outside(hub.core.directory.permits(client.scope, found.school), found):
                rejects.append(refused)
            elif found.event != "CANCEL" and found.school is not None:
                content = content_hash(found.event, sorted_json(found.body))
                schools.setdefault(found.school, {})[found.key] = (
                    found.key,
                    str(found.body.get("class_code") or ""),
                    content,
                )
    rosters = []
    try:
        for school in sorted(schools) if not rejects else ():
            rosters.append(
                await take_roster(hub.core, client.id, record_type, school, list(schools[school].values()), _SHOWN)
            )
    except TRANSIENT as error:
        raise Problem(503, "busy", _AWAY, headers={"Retry-After": "2"}) from error
    told = {
        "type": record_type,
        "kept": not rejects,
        "rosters": rosters,
        "rejects": rejects[:_SHOWN],
        "rejected": len(rejects),
    }
    return Response(msgspec.json.encode(told), 422 if rejects else 200, media_type="application/json")
