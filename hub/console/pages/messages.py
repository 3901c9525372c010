"""Messages and their lineage: what arrived, the records made of it, what was sent of them, and what came back.

Bodies are shown masked; in clear only as the answer to a form that states a purpose, which is journaled first. It must
never show a call that speaks of a school outside the visitor's scope.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api.intake import PUSHED
from hub.console import masks, times
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, known_id, number, reason, taken
from hub.console.render import respond
from hub.kernel.documents import documents_of, elsewhere_of
from hub.kernel.ledger import files, operations
from hub.kernel.ledger.given_codes import kept_under
from hub.kernel.receipts import receipt_code, receipt_id
from hub.kernel.store.db import sql
from mappings.canonical.registry import TYPES

router = APIRouter()

PAGE = 50
OUTCOMES = {"pending": 1, "invalid": 2, "duplicate": 3, "routed": 4}
_LAST = (1 << 62) - 1


async def _wanted_ids(request: Request, visitor: Guest, search: str) -> list[int] | None:
    """The messages a search speaks of: a receipt code, a message's number, or a record's business key. None: no search."""
    if not search:
        return None
    core = core_of(request)
    ids: set[int] = set()
    found = receipt_id(hub_of(request).keys.hmac("receipt"), search)
    school = visitor.schools[0] if visitor.schools is not None and len(visitor.schools) == 1 else None
    async with core.pool.acquire() as connection:
        for candidate in (found, number(search)):
            if candidate is not None:
                ids.update(r["id"] for r in await connection.fetch(sql.console_messages_of_receipt, candidate))
        for key in {search, *(await kept_under(connection, [search], school)).values()}:
            ids.update(r["message"] for r in await connection.fetch(sql.console_messages_of_key, key, visitor.schools))
    return sorted(ids)


@router.get("/messages")
async def index(request: Request, visitor: Visitor) -> Response:
    """Search and list, newest first."""
    query = request.query_params
    search = query.get("q", "").strip()[:100]
    since, until = times.parse_local(query.get("since", "")), times.parse_local(query.get("until", ""))
    school = query.get("school", "").strip()
    schools = visitor.schools
    if school:
        schools = [school] if schools is None or school in schools else []
    ids = await _wanted_ids(request, visitor, search)
    # Ids carry their day: a time filter needs to touch no other day's partition.
    floor = 0 if since is None else max(0, (since - times.ID_EPOCH).days - 1) << 37
    before = number(query.get("before")) or _LAST
    if until is not None:
        before = min(before, max(0, (until + timedelta(days=2) - times.ID_EPOCH).days) << 37)
    async with core_of(request).pool.acquire() as connection:
        rows = await connection.fetch(
            sql.console_messages, before, floor, schools, ids, query.get("type") or None, query.get("source") or None,
            OUTCOMES.get(query.get("outcome", "")), query.get("outcome") == "rejects", since, until, PAGE + 1, timeout=15,
        )  # fmt: skip
        sources = await connection.fetch(sql.console_sources) if visitor.whole else []
    key = hub_of(request).keys.hmac("receipt")
    return respond(
        request, "messages.html", visitor=visitor, rows=rows[:PAGE], more=rows[PAGE - 1]["id"] if len(rows) > PAGE else None, sources=sources,
        types=sorted(TYPES), code=lambda r: receipt_code(key, r["upload"] or r["id"]), schools=core_of(request).directory, search=search,
    )  # fmt: skip


async def _message(request: Request, visitor: Guest, message: int) -> Any:
    async with core_of(request).pool.acquire() as connection:
        row = await connection.fetchrow(sql.console_message, message, visitor.schools)
    if row is None:
        raise Refused(404, "error.missing")
    return row


async def _message_page(request: Request, visitor: Guest, row: Any, *, clear: bool = False) -> Response:
    core, number_ = core_of(request), row["id"]
    after = number(request.query_params.get("after")) or 0
    async with core.pool.acquire() as connection:
        records = await connection.fetch(
            sql.console_message_records, number_, row["class"], after, visitor.schools, PAGE + 1
        )
        rejects = await connection.fetch(sql.console_message_rejects, number_, row["class"], 200)
        deliveries = await connection.fetch(
            sql.console_deliveries_of_records, [r["id"] for r in records[:PAGE]], row["class"]
        )
    names = {number: name for name, number in core.connectors.items()}
    by_record: dict[int, list[Any]] = {}
    for d in deliveries:
        by_record.setdefault(d["record"], []).append(d)
    body = masks.show_body(row["body"], masked=not clear) if row["body"] is not None else None
    return respond(
        request, "message.html", visitor=visitor, row=row, records=records[:PAGE], more=records[PAGE - 1]["id"] if len(records) > PAGE else None,
        rejects=rejects, by_record=by_record, names=names, body=body, clear=clear, schools=core.directory,
        code=receipt_code(hub_of(request).keys.hmac("receipt"), row["upload"] or number_),
    )  # fmt: skip


@router.get("/messages/{message}")
async def detail(request: Request, visitor: Visitor, message: str) -> Response:
    """One message with its lineage."""
    return await _message_page(request, visitor, await _message(request, visitor, known_id(message)))


async def purpose_of(request: Request, visitor: Guest, subject: int) -> bool:
    """Journal an unmasking before anything is shown. False: the purpose is missing, and the page, given again, says so."""
    stated = reason(request, await taken(request, visitor), "purpose")
    if stated is None:
        return False
    await operations.unmask(core_of(request), visitor.person.name, subject, stated)
    return True


@router.post("/messages/{message}/unmask")
async def unmask_message(request: Request, visitor: Visitor, message: str) -> Response:
    """The same page with the body in clear, this once."""
    row = await _message(request, visitor, known_id(message))
    return await _message_page(request, visitor, row, clear=await purpose_of(request, visitor, row["id"]))


async def one_record(request: Request, visitor: Guest, record: int) -> Any:
    """A record within the visitor's scope, or 404."""
    async with core_of(request).pool.acquire() as connection:
        row = await connection.fetchrow(sql.console_record, record, visitor.schools)
    if row is None:
        raise Refused(404, "error.missing")
    return row


def correctable(row: Any) -> bool:
    """Whether a record's content may be corrected: the current version of something schools push, not withdrawn, not erased."""
    spec = TYPES.get(row["type"])
    return (
        spec is not None
        and spec.stream == "entity"
        and row["type"] in PUSHED
        and row["body"] is not None
        and row["event"] != "CANCEL"
        and row["version"] == row["current_version"]
    )


async def record_page(request: Request, visitor: Guest, row: Any, *, clear: bool = False) -> Response:
    """A record's page; `clear`: its personal fields are shown."""
    core = core_of(request)
    async with core.pool.acquire() as connection:
        deliveries = await connection.fetch(sql.console_deliveries_of_records, [row["id"]], row["class"])
        ids = [d["id"] for d in deliveries]
        attempts = await connection.fetch(sql.console_attempts, ids, row["class"])
        lines = await connection.fetch(sql.console_journal_of, ids) if ids else []
        versions = await connection.fetch(sql.console_record_versions, row["type"], row["key"], visitor.schools)
        linked = await connection.fetch(sql.console_corrections, row["key"], row["message"], row["id"], row["type"])
    body = row["body"]
    papers = body if row["type"] == "filing" and body is not None else {}
    named, elsewhere = documents_of(papers), list(elsewhere_of(papers))
    signed = await files.verdicts(core, named) if named else {}
    shown = None if body is None else body if clear else masks.mask_record(row["type"], body)
    spec = TYPES.get(row["type"])
    hidden = frozenset() if clear or spec is None else frozenset(spec.sensitive_fields)
    codes = (
        [(path, value, target, path in hidden) for path, value, target in spec.codes_of(body)]
        if spec is not None and body is not None
        else []
    )
    titles = {
        (value["system"], value["code"]): core.catalogue.title(target, value["canonical"])
        for _, value, target, _ in codes
        if value.get("canonical")
    }
    return respond(
        request, "record.html", visitor=visitor, row=row, deliveries=deliveries, attempts=_by(attempts, "delivery"), lines=_by(lines, "subject"),
        versions=versions, shown=shown, codes=codes, titles=titles, clear=clear, schools=core.directory,
        names={number: name for name, number in core.connectors.items()}, correctable=correctable(row), linked=linked, signed=signed,
        elsewhere=elsewhere,
    )  # fmt: skip


def _by(rows: list[Any], column: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


@router.get("/records/{record}")
async def record(request: Request, visitor: Visitor, record: str) -> Response:
    """One record: its canonical form, codes, versions and deliveries."""
    return await record_page(request, visitor, await one_record(request, visitor, known_id(record)))


@router.post("/records/{record}/unmask")
async def unmask_record(request: Request, visitor: Visitor, record: str) -> Response:
    """The same page in clear, this once."""
    row = await one_record(request, visitor, known_id(record))
    return await record_page(request, visitor, row, clear=await purpose_of(request, visitor, row["id"]))


async def _call(request: Request, visitor: Guest, call: int) -> tuple[Any, list[Any]]:
    """A call and the records it spoke of. 404 unless every one of them is within the visitor's scope."""
    core = core_of(request)
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.console_call, call)
        records = (
            await connection.fetch(sql.console_call_records, row["deliveries"], row["class"]) if row is not None else []
        )
    if row is None or not (
        visitor.whole or (records and all(core.directory.permits(visitor.person.scope, r["school"]) for r in records))
    ):
        raise Refused(404, "error.missing")
    return row, records


async def _call_page(
    request: Request, visitor: Guest, row: Any, records: list[Any], *, clear: bool = False
) -> Response:
    core = core_of(request)
    async with core.pool.acquire() as connection:
        replies = await connection.fetch(sql.console_replies, row["id"], row["class"])
    known = masks.personal_values((r["type"], r["body"]) for r in records if r["body"] is not None)

    def show(body: bytes | None) -> str | None:
        return None if body is None else masks.show_body(body, masked=not clear, known=known)

    return respond(
        request, "call.html", visitor=visitor, row=row, body=show(row["body"]), replies=[(r, show(r["body"])) for r in replies], clear=clear,
        records=records[:PAGE], records_count=len(records), names={number: name for name, number in core.connectors.items()},
    )  # fmt: skip


@router.get("/calls/{call}")
async def call(request: Request, visitor: Visitor, call: str) -> Response:
    """One request and what was answered."""
    return await _call_page(request, visitor, *await _call(request, visitor, known_id(call)))


@router.post("/calls/{call}/unmask")
async def unmask_call(request: Request, visitor: Visitor, call: str) -> Response:
    """The same page in clear, this once."""
    row, records = await _call(request, visitor, known_id(call))
    return await _call_page(request, visitor, row, records, clear=await purpose_of(request, visitor, row["id"]))
