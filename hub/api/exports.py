"""`GET /v1/exports/{type}.xlsx`: what the hub holds of one school, in the template the Ministry takes.

One concern: that file. It holds children's data in clear: it must never leave without a purpose in the journal, nor beyond the
asker's scope.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api.auth import CurrentClient, require
from hub.api.context import Hub
from hub.api.problems import Problem
from hub.api.workbooks import as_file
from hub.kernel.access import Scope
from hub.kernel.firewall_names import NO_PURPOSE, stated
from hub.kernel.ledger import current
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import Text

router = APIRouter(prefix="/v1/exports", tags=["intake"])

RIGHT = "export"
_MOST = 20_000
_NO_TEMPLATE = Text("Không có mẫu bảng tính cho loại này.", "There is no template for this type.")
_OUTSIDE = Text("Không có trường này trong phạm vi của bạn.", "No such school within your scope.")
_MANY = Text(f"Quá {_MOST} bản ghi cho một tệp.", f"More than {_MOST} records for one file.")
_AWAY = Text("Cơ sở dữ liệu tạm thời không trả lời.", "The database does not answer for now.")


async def book(hub: Hub, actor: str, scope: Scope, record_type: str, school: str | None, purpose: str) -> Response:
    """The workbook as a download, journaled first. Raises a `Problem`."""
    books = hub.workbooks
    if books is None or record_type not in books.types:
        raise Problem(404, "no_template", _NO_TEMPLATE)
    school = scope.code if scope.kind == "school" else school
    if school is None or hub.core.directory.get(school) is None or not hub.core.directory.permits(scope, school):
        raise Problem(404, "unknown_school", _OUTSIDE)
    said = stated(purpose)
    if said is None:
        raise Problem(422, "purpose_needed", NO_PURPOSE)
    try:
        bodies = await current.taken_out(hub.core, actor, record_type, school, said, _MOST)
    except current.TooMany as error:
        raise Problem(413, "too_many_records", _MANY) from error
    except TRANSIENT as error:
        raise Problem(503, "database_away", _AWAY, headers={"Retry-After": "2"}) from error
    bodies.sort(key=lambda b: (str(b.get("class_code") or ""), str(b.get("learner_code") or b.get("staff_code") or "")))
    made = await asyncio.to_thread(books.filled, record_type, bodies, hub.core.catalogue)
    return as_file(made, f"{record_type}-{school}.xlsx")


@router.get("/{record_type}.xlsx")
async def export(
    request: Request, record_type: str, client: CurrentClient, purpose: str = "", school: str | None = None
) -> Response:
    """The current records of a school in the Ministry's template. `purpose` goes into the journal; `school` is needed for
    accounts of more than one."""
    require(client, RIGHT)
    return await book(request.app.state.hub, f"client:{client.id}", client.scope, record_type, school, purpose)
