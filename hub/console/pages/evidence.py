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
from hub.evidence.verify import check
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
    data, state = await asyncio.to_thread(_checked, found)
    headers = {
        "Content-Disposition": f'attachment; filename="evidence-{row["id"]}{_NAMED[state]}.zip"',
        "Cache-Control": "no-store",
    }
    return Response(data, 200, headers, media_type="application/zip")


_NAMED = {"proven": "", "unsealed": "-not-sealed-yet", "unproven": "-not-all-proven"}
"""What the file's name says of it, so that nobody hands on as proof what is none yet."""


def _checked(found: evidence.Gathered) -> tuple[bytes, str]:
    """The pack and the state its own check gives it. Raises `Altered` when the ledger does not agree with itself."""
    data = pack(found)
    return data, check(data).state
