"""A school's files in the console: sent from the receipts page, and given back with their faults marked.

One concern: the form, the templates and the marked workbook. It must never put an upload on disk before the biometric
firewall has seen it, nor give a workbook to anybody its receipt is not for.
"""

from __future__ import annotations

import hmac
import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from hub.api import workbooks
from hub.api.problems import Problem
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, needs, same_origin, text
from hub.console.pages.receipts import covered
from hub.console.render import redirect, respond
from hub.kernel.intake import Source
from hub.kernel.ledger import parties
from hub.kernel.receipts import receipt_id

router = APIRouter(prefix="/receipts")

_FORM_MAX = workbooks.FILE_MAX + 65_536
_YEAR = re.compile(r"(20\d\d)\s*-\s*(20\d\d)")


class _InMemory(MultiPartParser):
    """Uploads stay in memory: they may hold pictures."""

    spool_max_size = _FORM_MAX


async def _form(request: Request, visitor: Guest) -> FormData:
    """The form's fields and file, once origin, size, CSRF token and role have been checked."""
    if not same_origin(request):
        raise Refused(403, "error.csrf")
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        # No form of ours: whoever sent it has no token either.
        raise Refused(403, "error.csrf")
    if int(request.headers.get("content-length") or _FORM_MAX + 1) > _FORM_MAX:
        raise Refused(413, "error.large")
    try:
        form = await _InMemory(
            request.headers, request.stream(), max_files=1, max_fields=20, max_part_size=65_536
        ).parse()
    except MultiPartException as error:
        raise Refused(400, "error.other") from error
    if not hmac.compare_digest(text(form, "csrf").encode(), visitor.csrf.encode()):
        raise Refused(403, "error.csrf")
    needs(visitor, "operator")
    return form


@router.post("/upload")
async def upload(request: Request, visitor: Visitor) -> Response:
    """Take a file; its receipt is the answer. What cannot be taken at all is said above the form."""
    form = await _form(request, visitor)
    file, hub = form.get("file"), hub_of(request)
    if not isinstance(file, UploadFile) or not file.filename:
        return sheet(request, visitor, problem="upload.none", status=422)
    year = _YEAR.fullmatch(text(form, "school_year", 20))
    try:
        taken = await workbooks.take(
            hub, text(form, "type", 40), Source("operator", visitor.person.name), visitor.person.scope, await file.read(),
            csv=file.filename.lower().endswith((".csv", ".txt", ".tsv")), school=text(form, "school", 20) or None,
            school_year=f"{year[1]}-{year[2]}" if year else None,
        )  # fmt: skip
    except Problem as refused:
        return sheet(request, visitor, problem="upload.refused", why=refused.detail, status=422)
    finally:
        await form.close()
    return redirect(f"/receipts/{taken.code}")


def sheet(request: Request, visitor: Guest, *, status: int = 200, **more: Any) -> Response:
    """The receipts page with the form."""
    books = hub_of(request).workbooks
    given: dict[str, Any] = {"code": "", "problem": None, "why": None, "types": list(books.types) if books else []}
    return respond(request, "receipts.html", status=status, visitor=visitor, **(given | more))


@router.get("/templates/{record_type}.xlsx")
async def template(request: Request, visitor: Visitor, record_type: str) -> Response:
    """An empty template."""
    try:
        return workbooks.as_file(await workbooks.blank(hub_of(request), record_type), f"{record_type}.xlsx")
    except Problem as refused:
        raise Refused(refused.status, "error.missing") from refused


@router.get("/{code}/errors.xlsx")
async def errors(request: Request, visitor: Visitor, code: str) -> Response:
    """The workbook of a receipt with its faults marked. Its taking is journaled: it holds personal data in clear."""
    hub, core = hub_of(request), core_of(request)
    number = receipt_id(hub.keys.hmac("receipt"), code)
    found = await parties.receipt(core, number, 0, 1) if number is not None else None
    if number is None or found is None or not await covered(request, visitor, found):
        raise Refused(404, "error.missing")
    needs(visitor, "operator")
    try:
        return workbooks.as_file(await workbooks.errors(hub, visitor.person.name, number, found), f"{code}-loi.xlsx")
    except Problem as refused:
        raise Refused(404, "error.missing") from refused
