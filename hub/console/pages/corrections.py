"""Correct and resend: a record's content as its school pushed it, in a form, and the correction through the front door.

The content is shown in clear, so only as the answer to a form that states a purpose, which is journaled first. It must
never offer an old version for correction, nor anything outside the visitor's scope.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Guest, Refused, Visitor, core_of, known_id, reason, taken, text
from hub.console.pages.messages import correctable, one_record, purpose_of, record_page
from hub.console.render import redirect, respond
from hub.kernel.firewall import clean
from hub.kernel.ledger import corrections
from hub.kernel.ports import Reject, Text
from mappings.canonical.registry import TYPES

router = APIRouter()

_LONGEST = 250_000

_NO_JSON = Text(
    "Nội dung không phải JSON hợp lệ (dòng {line}, cột {column}).",
    "The content is not valid JSON (line {line}, column {column}).",
)
_NO_OBJECT = Text("Nội dung phải là một đối tượng { … }.", "The content must be one object { … }.")
_BIOMETRIC = Text(
    "Có ảnh hoặc dữ liệu sinh trắc học trong nội dung: hãy bỏ đi.",
    "The content holds a picture or biometric data: take it out.",
)
_OTHER_KEY = Text(
    "Mã định danh của bản ghi không được đổi: muốn vậy, hãy gửi một bản ghi mới.",
    "The record's business key must stay: to change it, push a new record.",
)
_SAME = Text(
    "Nội dung không khác bản hiện tại: không có gì để gửi lại.",
    "The content equals the present version: there is nothing to send.",
)


async def _open(request: Request, visitor: Guest, record: str) -> Any:
    row = await one_record(request, visitor, known_id(record))
    if not correctable(row):
        raise Refused(409, "correct.not_now")
    return row


def _page(request: Request, visitor: Guest, row: Any, data: str, errors: Any = ()) -> Response:
    return respond(
        request, "correct.html", status=422 if errors else 200, visitor=visitor, row=row, data=data, errors=errors,
        schools=core_of(request).directory,
    )  # fmt: skip


@router.post("/records/{record}/correct")
async def form(request: Request, visitor: Visitor, record: str) -> Response:
    """The form with the content in clear, once a purpose is stated."""
    await taken(request, visitor)
    row = await _open(request, visitor, record)
    if not await purpose_of(request, visitor, row["id"]):
        return await record_page(request, visitor, row)
    # In the model's order: the store keeps none.
    place = {name: n for n, name in enumerate(TYPES[row["type"]].struct.__struct_fields__)}
    content = dict(
        sorted(corrections.as_pushed(row["body"]).items(), key=lambda member: place.get(member[0], len(place)))
    )
    return _page(request, visitor, row, json.dumps(content, ensure_ascii=False, indent=2))


@router.post("/records/{record}/correct/send")
async def send(request: Request, visitor: Visitor, record: str) -> Response:
    """Send the correction; whatever is wrong with it comes back above the form, with its place, and the form as it was typed."""
    fields = await taken(request, visitor)
    row = await _open(request, visitor, record)
    raw, why = text(fields, "data", _LONGEST), reason(request, fields)
    found = _read(raw)
    if isinstance(found, Text):
        return _page(request, visitor, row, raw, [("", found)])
    if why is None:
        return _page(request, visitor, row, raw)
    if clean(raw.encode(), core_of(request).hasher).removed:
        return _page(request, visitor, row, raw, [("", _BIOMETRIC)])
    if found == corrections.as_pushed(row["body"]):
        return _page(request, visitor, row, raw, [("", _SAME)])
    try:
        done = await corrections.edit_and_resend(
            core_of(request), visitor.person.name, row["id"], found, why, visitor.person.scope
        )
    except corrections.NoSuchRecord:
        return _page(request, visitor, row, raw, [("", _OTHER_KEY)])
    rejects: list[Reject] = done if isinstance(done, list) else done.rejects
    if isinstance(done, list) or rejects:
        return _page(request, visitor, row, raw, [(r.pointer.removeprefix("/data"), r.message) for r in rejects])
    return redirect(f"/records/{row['id']}", done="done.corrected" if done.records else "done.corrected_same")


def _read(raw: str) -> dict[str, Any] | Text:
    """The textarea's JSON object, or the sentence about it."""
    try:
        found = msgspec.json.decode(raw.encode())
    except (msgspec.DecodeError, RecursionError, ValueError):
        return Text(*(said.format(**_where(raw)) for said in (_NO_JSON.vi, _NO_JSON.en)))
    return found if isinstance(found, dict) else _NO_OBJECT


def _where(raw: str) -> dict[str, int]:
    """Line and column of what cannot be read."""
    try:
        json.loads(raw)
    except json.JSONDecodeError as error:
        return {"line": error.lineno, "column": error.colno}
    except (RecursionError, ValueError):
        pass
    return {"line": 1, "column": 1}
