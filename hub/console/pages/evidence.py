"""The evidence pack of a record, and the anchors packs lead to.

A pack holds personal fields in clear: it is given as the answer to a form that states a purpose, which is journaled first.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Refused, Visitor, core_of, known_id
from hub.console.pages.messages import one_record, purpose_of
from hub.console.render import redirect
from hub.evidence.pack import pack
from hub.kernel.ledger import evidence

router = APIRouter()


@router.post("/records/{record}/evidence")
async def download(request: Request, visitor: Visitor, record: str) -> Response:
    """The pack of a record within the visitor's scope; without a purpose, back to the record."""
    row = await one_record(request, visitor, known_id(record))
    if not await purpose_of(request, visitor, row["id"]):
        return redirect(f"/records/{row['id']}", done="done.reason_needed")
    found = await evidence.gather(core_of(request), row["id"], visitor.person.scope)
    if found is None:
        raise Refused(404, "error.missing")
    data = await asyncio.to_thread(pack, found)
    headers = {
        "Content-Disposition": f'attachment; filename="evidence-{row["id"]}.zip"',
        "Cache-Control": "no-store",
    }
    return Response(data, 200, headers, media_type="application/zip")
