"""A school's full list: shown to `POST /v1/rosters/{type}` for comparison alone, or pushed as records and said to be full (`?full=true`).

One concern: the school's side of a reconciliation. It must never keep anything of anybody but a key and hashes, nor keep a list
that was not taken whole: one that lacks a refused learner would make the learner look gone.

What a kill leaves: the last list kept. The records of a full push are committed before its list is; sent again, the records are
known and the list is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api.auth import CurrentClient, require
from hub.api.context import Hub
from hub.api.problems import Problem
from hub.api.reading import line_items, read_item, together
from hub.kernel.access import Scope
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
_NOT_WHOLE = Text(
    "Danh sách không được giữ để đối soát vì có mục bị từ chối; hãy sửa và gửi lại.",
    "The list was not kept for reconciliation because items were refused; correct them and send it again.",
)


class FullList:
    """One full list on its way: what it holds of each school, as (key, class, hash)."""

    def __init__(self, hub: Hub, scope: Scope, record_type: str) -> None:
        """Raises a problem for a type no list is compared of."""
        if record_type not in TYPES_COMPARED:
            names = ", ".join(TYPES_COMPARED)
            raise Problem(404, "unknown_type", Text(f"Chỉ so được: {names}.", f"Only these can be compared: {names}."))
        self._hub, self._scope, self._type = hub, scope, record_type
        self._schools: dict[str, dict[str, tuple[str, str, bytes]]] = {}
        self.count = 0

    def take(self, drafts: Iterable[Draft]) -> list[Reject]:
        """Some more of it, as read and before it has gone anywhere. Returns what is outside the sender's scope."""
        refused: list[Reject] = []
        for one in drafts:
            if one.type != self._type or one.event == "CANCEL":
                continue
            self.count += 1
            if self.count > _MOST:
                break  # said at the end: a list is kept whole or not at all
            if one.school is None or not self._hub.core.directory.permits(self._scope, one.school):
                refused.append(_outside(one))
                continue
            content = content_hash(one.event, sorted_json(one.body))
            group = str(one.body.get("class_code") or "")
            self._schools.setdefault(one.school, {})[one.key] = (one.key, group, content)
        return refused

    async def keep(self, client: str) -> list[Any]:
        """Keep it as each school's side, in place of the last, and compare: a `Roster` a school. Raises `TRANSIENT`."""
        return [
            await take_roster(self._hub.core, client, self._type, school, list(rows.values()), _SHOWN)
            for school, rows in sorted(self._schools.items())
        ]

    async def told(self, client: str, refused: int) -> dict[str, Any]:
        """For a push that was said to be full: `{kept, rosters}`, or `{kept: false, vi, en}` when it was not taken whole."""
        if refused or self.count > _MOST:
            why = _NOT_WHOLE if refused else _MANY
            return {"kept": False, "vi": why.vi, "en": why.en}
        return {"kept": True, "rosters": msgspec.to_builtins(await self.keep(client))}


def _outside(draft: Draft) -> Reject:
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
    a list that is not whole would make everybody it lacks look missing. Nothing of it becomes a record.
    """
    hub: Hub = request.app.state.hub
    full = FullList(hub, client.scope, record_type)
    require(client, f"push:{record_type}" if f"push:{record_type}" in client.rights else "push")
    http = hub.settings.http
    at, place = hub.core.moment(), 0
    rejects: list[Reject] = []
    async for lines in line_items(request, http.single_max_bytes, http.bulk_max_bytes):
        for line in lines:
            if place >= _MOST:
                raise Problem(413, "too_many_lines", _MANY)
            _, found, _ = read_item(record_type, line, f"/{place}", at, hub)
            place += 1
            rejects += full.take([found]) if isinstance(found, Draft) else [together(f"/{place - 1}", found)]
    try:
        rosters = await full.keep(client.id) if not rejects else []
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
