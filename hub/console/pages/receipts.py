"""Receipts for the people of schools: what was taken, what must be corrected and where, how far each record has come.

Readable by every role within its scope, and made to be printed. It must never show a receipt that speaks of a school
outside the visitor's scope.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.faults import faults_of
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, number
from hub.console.pulse import title_of
from hub.console.render import redirect, respond
from hub.kernel.access import Scope
from hub.kernel.ledger import parties
from hub.kernel.receipts import receipt_code, receipt_id
from hub.kernel.store.db import sql

router = APIRouter(prefix="/receipts")

PAGE = 200


@router.get("")
async def find(request: Request, visitor: Visitor) -> Response:
    """Where a code is typed in."""
    code = request.query_params.get("code", "").strip()[:40]
    known = receipt_id(hub_of(request).keys.hmac("receipt"), code) is not None
    if known:
        return redirect(f"/receipts/{code.replace(' ', '-').upper()}")
    return sheet(request, visitor, status=404 if code else 200, code=code)


def sheet(request: Request, visitor: Guest, *, status: int = 200, **more: Any) -> Response:
    """The page where a code is typed in and files are sent and taken. `files`: what became of files just sent; `whole`: of them
    as a full list; `problem`, `why`: why nothing was taken; `unmade`: why no file was made."""
    books = hub_of(request).workbooks
    given: dict[str, Any] = {
        "code": "", "problem": None, "why": None, "unmade": None, "files": [], "whole": None, "types": list(books.types) if books else [],
    }  # fmt: skip
    return respond(request, "receipts.html", status=status, visitor=visitor, **(given | more))


async def covered(request: Request, visitor: Guest, found: dict[str, Any]) -> bool:
    """Whether all of it is the visitor's to see: by each message's school, or where none is known, by who sent it."""
    core, scope = core_of(request), visitor.person.scope
    if scope.whole:
        return True
    messages = found["messages"]
    if not messages or not all(m["school"] is None or core.directory.permits(scope, m["school"]) for m in messages):
        return False
    if all(m["school"] is not None for m in messages):
        return True
    async with core.pool.acquire() as connection:
        sender = await connection.fetchrow(sql.console_source_scope, messages[0]["source"])
    if sender is None:
        return False
    if sender["scope_kind"] == "school":
        return core.directory.permits(scope, sender["scope_code"])
    return scope == Scope(sender["scope_kind"], sender["scope_code"])


@router.get("/{code}")
async def show(request: Request, visitor: Visitor, code: str) -> Response:
    """One receipt, a page of its records at a time."""
    hub, core = hub_of(request), core_of(request)
    key = hub.keys.hmac("receipt")
    wanted = receipt_id(key, code)
    after = number(request.query_params.get("after")) or 0
    found = await parties.receipt(core, wanted, after, PAGE) if wanted is not None else None
    if wanted is None or found is None or not await covered(request, visitor, found):
        raise Refused(404, "error.missing")
    async with core.pool.acquire() as connection:
        titles = {r["id"]: title_of(hub, r) for r in await connection.fetch(sql.console_connectors)}
    deliveries: dict[int, list[Any]] = {}
    for d in found["deliveries"]:
        deliveries.setdefault(d["record"], []).append(d)
    messages, upload, records = found["messages"], found["upload"], found["records"]
    results = [m for m in messages if m["outcome"] is not None]
    schools = sorted({m["school"] for m in messages if m["school"]})
    return respond(
        request, "receipt.html", visitor=visitor, code=receipt_code(key, wanted), titles=titles, deliveries=deliveries, records=records,
        faults=faults_of(found["rejects"]), school=schools[0] if len(schools) == 1 else None, schools=core.directory, source=found["source"],
        type=upload["type"] if upload else messages[0]["type"], received_at=upload["started_at"] if upload else messages[0]["received_at"],
        items=sum(m["items"] for m in results), rejected=sum(m["rejected"] for m in results), taken=sum(m["records"] for m in results),
        pending=len(messages) - len(results), open=upload is not None and upload["finished_at"] is None,
        invalid=any(m["outcome"] == 2 for m in results), workbook=_of_workbook(found["rejects"]),
        rows=_rows(records), more=records[-1]["id"] if len(records) == PAGE else None,
    )  # fmt: skip


def _rows(records: list[Any]) -> dict[int, int]:
    """Each record's row in what was sent, counted from 1, where its pointer tells."""
    found: dict[int, int] = {}
    for r in records:
        parts = r["pointer"].split("/")
        if parts[1:2] == ["sheets"] and len(parts) > 3 and (row := number(parts[3])) is not None:
            found[r["id"]] = row  # as the workbook counts
        elif len(parts) > 1 and (row := number(parts[1])) is not None:
            found[r["id"]] = row + 1
    return found


def _of_workbook(rejects: list[Any]) -> bool:
    """Whether what was refused stood in a file that can be given back with its faults marked."""
    return any(r["pointer"].startswith("/sheets/") for r in rejects)
