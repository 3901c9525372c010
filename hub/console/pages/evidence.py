"""The evidence pack of a record or of the whole filing it is of, and the anchors packs lead to.

A pack holds personal fields in clear: it is given as the answer to a form that states a purpose, which is journaled first.
"""

from __future__ import annotations

import asyncio
import logging

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Refused, Visitor, core_of, known_id, purpose, taken, text
from hub.console.pages.messages import one_record, purpose_of, record_page
from hub.console.render import respond
from hub.evidence.pack import pack
from hub.evidence.verify import Altered, check
from hub.kernel.ledger import evidence, operations

log = logging.getLogger(__name__)
router = APIRouter()


@router.post("/records/{record}/evidence")
async def download(request: Request, visitor: Visitor, record: str) -> Response:
    """The pack of a record within the visitor's scope; without a purpose, the record again. Of one the ledger does not agree
    with itself about, first a page that says so: the pack is given to whoever asks for it once more from there."""
    row = await one_record(request, visitor, known_id(record))
    if not await purpose_of(request, visitor, row["id"]):
        return await record_page(request, visitor, row)
    found = await evidence.gather_whole(core_of(request), row["id"], visitor.person.scope)
    if found is None:
        raise Refused(404, "error.missing")
    form = await taken(request, visitor)
    if more := [n for n in found.numbers if n != row["id"]]:
        await operations.unmask(core_of(request), visitor.person.name, more[0], purpose(form) or "", *more[1:])
    data, state, why = await asyncio.to_thread(_checked, found)
    if state == "altered":
        log.error("record %d: the ledger does not agree with itself: %s", row["id"], why)
        if text(form, "anyway", 3) != "yes":
            return respond(
                request, "evidence.html", visitor=visitor, status=409, row=row, why=why, purpose=purpose(form)
            )
    headers = {
        "Content-Disposition": f'attachment; filename="evidence-{row["id"]}{_NAMED[state]}.zip"',
        "Cache-Control": "no-store",
    }
    return Response(data, 200, headers, media_type="application/zip")


_NAMED = {
    "proven": "", "unsealed": "-not-sealed-yet", "unproven": "-not-all-proven", "altered": "-does-not-agree",
}  # fmt: skip
"""What the file's name says of it, so that nobody hands on as proof what is none yet."""


def _checked(found: evidence.Gathered | evidence.Whole) -> tuple[bytes, str, str]:
    """The pack, the state its own check gives it, and of one that is `altered` what does not agree."""
    data = pack(found)
    try:
        return data, check(data).state, ""
    except Altered as error:
        return data, "altered", str(error)
