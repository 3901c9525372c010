"""A school's files in the console: sent from the receipts page, given back with their faults marked, and taken as the hub has them.

One concern: these forms, the templates and the workbooks. It must never put an upload on disk before the biometric
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

from hub.api import archives, exports, workbooks
from hub.api.problems import Problem
from hub.api.rosters import FullList
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, needs, reason, same_origin, taken, text
from hub.console.pages.receipts import covered, sheet
from hub.console.render import redirect
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
    person, record_type = visitor.person, text(form, "type", 40)
    year, name = _YEAR.fullmatch(text(form, "school_year", 20)), file.filename.lower()
    given: dict[str, Any] = {
        "school": text(form, "school", 20) or None,
        "school_year": f"{year[1]}-{year[2]}" if year else None,
    }
    source = Source("operator", person.name)
    try:
        full = FullList(hub, person.scope, record_type) if text(form, "full", 5) else None
        body = await file.read()
        if name.endswith(".zip"):
            parts = await archives.take(hub, record_type, source, person.scope, body, full=full, **given)
            refused = archives.refused(parts)
        else:
            csv = name.endswith((".csv", ".txt", ".tsv"))
            one = await workbooks.take(hub, record_type, source, person.scope, body, csv=csv, full=full, **given)
            parts, refused = [archives.Part(name=file.filename, taken=one)], len(one.rejects)
        whole = await full.told(person.name, refused) if full is not None else None
    except Problem as problem:
        return sheet(request, visitor, problem="upload.refused", why=problem.detail, status=422)
    finally:
        await form.close()
    if whole is None and len(parts) == 1 and parts[0].taken is not None:
        return redirect(f"/receipts/{parts[0].taken.code}")
    return sheet(request, visitor, files=parts, whole=whole)


@router.post("/export")
async def export(request: Request, visitor: Visitor) -> Response:
    """What the hub holds of a school in the Ministry's template, for a stated purpose."""
    form = await taken(request, visitor)
    person, stated = visitor.person, reason(request, form, "purpose")
    if stated is None:
        return sheet(request, visitor)
    try:
        return await exports.book(
            hub_of(request), person.name, person.scope, text(form, "type", 40), text(form, "school", 20) or None,
            stated,
        )  # fmt: skip
    except Problem as refused:
        return sheet(request, visitor, unmade=refused.detail, status=422)


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
