"""Workbooks and CSV files from schools: taken row by row like any bulk push, and given back with their faults marked.

One concern: between a file and the ledger's intake. What is stored is the file after the biometric firewall. It must never
evaluate a formula, nor answer before the commit.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api.auth import Client, CurrentClient
from hub.api.context import Hub
from hub.api.problems import Problem, error_list
from hub.api.reading import together, whole_body
from hub.api.rosters import FullList
from hub.kernel.access import Scope
from hub.kernel.failpoints import reach
from hub.kernel.firewall import Cleaned, clean
from hub.kernel.intake import Accepted, Arrival, Source, intake_key
from hub.kernel.ledger import given_codes, operations, parties
from hub.kernel.ledger import intake as ledger
from hub.kernel.ports import Book, BookRefused, BookRow, Draft, Reject, Text
from hub.kernel.receipts import receipt_code, receipt_id
from hub.kernel.store.db import sql
from mappings.canonical.parse import parse_item
from mappings.canonical.registry import TYPES
from mappings.fieldmap import today_of

router = APIRouter(prefix="/v1")

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv"
TYPES_TAKEN = frozenset({XLSX, CSV})
FILE_MAX = 16 * 1024 * 1024
"""Bytes of one file: a school's roster has well under one megabyte."""
_FAULTS_MAX = 20_000
_SHOWN_REJECTS = 200
_AT_ONCE = 100
_SCHOOL_YEAR = re.compile(r"20\d\d-20\d\d")
_SEVERAL = re.compile(r"(?:^|; )((?:/[^/:;\s]+)+): ")

_CONFLICT = Text(
    "Khóa Idempotency-Key này đã dùng cho một nội dung khác.", "This Idempotency-Key was used with another body."
)
_NO_SCHOOL = Text(
    "Hãy cho biết trường của tệp (tham số school), vì tài khoản này không thuộc riêng một trường.",
    "Say which school the file is of (parameter school): this account does not belong to one school alone.",
)
_EMPTY = Text("Tệp không có hàng nào.", "The file has no rows.")
_MISSING = Text("Không có biên nhận này.", "There is no such receipt.")
_NO_BOOK = Text("Biên nhận này không phải của một sổ tính.", "This receipt is not of a workbook.")
_GONE = Text("Sổ tính đã hết thời hạn lưu.", "The workbook's time of keeping is over.")


class Taken(msgspec.Struct, kw_only=True):
    """What became of a file."""

    code: str
    answers: list[Accepted]
    ignored: list[str]

    @property
    def rejects(self) -> list[Reject]:
        """All refused rows."""
        return [r for a in self.answers for r in a.rejects]


async def push(
    request: Request, record_type: str, client: Client, key: str | None, content_type: str, full: FullList | None
) -> Response:
    """The push of a file. Query: `school` (for accounts of more than one), `school_year`. `full`: it is the school's whole list."""
    hub: Hub = request.app.state.hub
    body = await whole_body(request, FILE_MAX)
    query = request.query_params
    taken = await take(
        hub, record_type, client.source, client.scope, body, csv=content_type == CSV, key=key, school=query.get("school"),
        school_year=query.get("school_year"), full=full,
    )  # fmt: skip
    answer = told(taken)
    if full is not None:
        answer["full_list"] = await full.told(client.id, len(taken.rejects))
    reach("ack.before")
    headers = {"Location": f"/v1/receipts/{taken.code}", **getattr(request.state, "rate", {})}
    if taken.answers and all(a.duplicate for a in taken.answers):
        headers["Idempotent-Replayed"] = "true"
    return Response(orjson.dumps(answer), 202, headers, media_type="application/json")


def told(taken: Taken) -> dict[str, Any]:
    """What became of a file, for who sent it."""
    return {
        "receipt": taken.code,
        "records": sum(a.records for a in taken.answers),
        "unchanged": sum(a.unchanged for a in taken.answers),
        "rejected": len(taken.rejects),
        "rejects": [e | _place(e["pointer"]) for e in error_list(taken.rejects[:_SHOWN_REJECTS])],
        "ignored_columns": taken.ignored,
        "links": {"receipt": f"/v1/receipts/{taken.code}"}
        | ({"errors": f"/v1/receipts/{taken.code}/errors.xlsx"} if taken.rejects else {}),
    }


def _place(pointer: str) -> dict[str, Any]:
    """`{sheet, row, column}` of a pointer into a workbook."""
    parts = pointer.split("/")
    if len(parts) < 4 or parts[1] != "sheets":
        return {}
    return {"sheet": int(parts[2]), "row": int(parts[3])} | ({"column": parts[4]} if len(parts) > 4 else {})


async def take(
    hub: Hub, record_type: str, source: Source, scope: Scope, body: bytes, *, csv: bool, key: str | None = None,
    school: str | None = None, school_year: str | None = None, full: FullList | None = None,
) -> Taken:  # fmt: skip
    """Store a file and what its rows give, in chunks of one message and one transaction each; `full`: the full list it is (part of).

    Raises a `Problem` for a file that cannot be taken at all, before anything is stored. The same file with the same key
    finds its chunks done and goes on behind them.
    """
    books = hub.workbooks
    if books is None or record_type not in books.types:
        known = ", ".join(books.types) if books else "–"
        vi, en = f"Không có mẫu bảng tính cho loại này; có: {known}.", f"No template for this type; there are: {known}."
        raise Problem(415, "no_template", Text(vi, en))
    at = hub.core.moment()
    given = _given(hub, record_type, scope, school, school_year, at)
    try:
        cleaned, book = await asyncio.to_thread(_read, hub, record_type, body, csv, given)
    except BookRefused as refused:
        raise Problem(422, refused.code, refused.text) from refused
    if not book.rows:
        raise Problem(422, "empty", _EMPTY)
    whole = given.get("school_code")
    upload_key = intake_key(source, record_type, "upload", key) if key else None
    upload = await ledger.open_upload(
        hub.core, upload_key, source, record_type, whole if scope.kind == "school" else None
    )
    code = receipt_code(hub.keys.hmac("receipt"), upload)
    size = hub.settings.intake.chunk
    taken = Taken(code=code, answers=[], ignored=book.ignored)
    for number, first in enumerate(range(0, len(book.rows), size)):
        rows = book.rows[first : first + size]
        drafts, rejects = await _drafts(hub, record_type, rows, at)
        if full is not None:
            full.take(drafts)
        lines = b"\n".join(msgspec.json.encode(r.item) for r in rows)
        arrival = Arrival(
            source=source, type=record_type, body=lines if number else cleaned.body,
            content_type="application/x-ndjson" if number else CSV if csv else XLSX,
            digest=bytes.fromhex(hub.core.hasher(lines if number else body)),
            key=intake_key(source, "chunk", upload_key, str(number)) if upload_key else None,
            removed=[] if number else cleaned.removed, drafts=drafts, rejects=rejects, school=whole, scope=scope, upload=upload,
            chunk=number,
        )  # fmt: skip
        (accepted,) = await ledger.accept(hub.core, [arrival])
        if accepted.conflict:
            raise Problem(422, "key_reused", _CONFLICT, chunk=number, receipt=code)
        taken.answers.append(accepted)
    await ledger.finish_upload(hub.core, upload)
    return taken


def _given(
    hub: Hub, record_type: str, scope: Scope, school: str | None, school_year: str | None, at: datetime
) -> dict[str, Any]:
    """What every row has: the school, its level, the school year; and the day whose codes count."""
    today = today_of(at)
    code = scope.code if scope.kind == "school" else school
    known = hub.core.directory.get(code)
    if code is None or known is None:
        raise Problem(422, "school_needed", _NO_SCHOOL)
    first = today.year if today.month >= 8 else today.year - 1
    year = school_year if school_year and _SCHOOL_YEAR.fullmatch(school_year) else f"{first}-{first + 1}"
    facts = {"school_code": code, "school_level": known.level, "school_year": year}
    fields = set(TYPES[record_type].struct.__struct_fields__)
    return {name: value for name, value in facts.items() if name in fields} | {"today": today}


def _read(hub: Hub, record_type: str, body: bytes, csv: bool, given: Mapping[str, Any]) -> tuple[Cleaned, Book]:
    """The file through the firewall and the template. In a thread: a workbook takes seconds."""
    from hub.kernel.firewall_book import clean_book

    cleaned = clean(body, hub.core.hasher) if csv else clean_book(body, hub.core.hasher)
    assert hub.workbooks is not None
    return cleaned, hub.workbooks.read(record_type, cleaned.body, csv=csv, given=given, codes=hub.core.catalogue)


async def _drafts(hub: Hub, record_type: str, rows: list[BookRow], at: datetime) -> tuple[list[Draft], list[Reject]]:
    """Each row's drafts, or one reject with all its faults at their cells."""
    drafts: list[Draft] = []
    rejects: list[Reject] = []
    for place, row in enumerate(rows):
        if place % _AT_ONCE == 0:
            await asyncio.sleep(0)
        faults, found = list(row.rejects), parse_item(record_type, row.item, row.pointer, at)
        made = [found] if isinstance(found, Draft) else []
        if not isinstance(found, Draft):
            # A cell that was refused already is why its field is missing.
            said = {f.pointer for f in faults}
            faults += [f for r in found if (f := _at_cell(row, r)).pointer not in said]
        for kind, item in row.beside:
            also = parse_item(kind, item, row.pointer, at)
            if isinstance(also, Draft):
                made.insert(0, also)
            else:
                faults += [_at_cell(row, r) for r in also]
        if faults:
            named = row.item["data"].get(TYPES[record_type].key_fields[0])
            key = next((f.key for f in faults if f.key), None) or (str(named)[:200] if named is not None else None)
            rejects.append(msgspec.structs.replace(together(row.pointer, faults), key=key))
            continue
        for draft in made:
            hub.core.catalogue.standardise_record(TYPES[draft.type], draft.body, today_of(draft.updated_at))
        drafts += made
    return await given_codes.recognise(hub.core, drafts), rejects


def _at_cell(row: BookRow, reject: Reject) -> Reject:
    """A reject of the item's field, at the cell it came from; of a field no column gave, at the row."""
    path = reject.pointer.removeprefix(row.pointer).lstrip("/")
    while path:
        if column := row.columns.get(path):
            return msgspec.structs.replace(reject, pointer=f"{row.pointer}/{column}")
        path = path.rpartition("/")[0]
    return msgspec.structs.replace(reject, pointer=row.pointer)


def sentences(pointer: str, text: str) -> list[tuple[str, str]]:
    """The (pointer, sentence) pairs of a reject's text: several faults of a row stand in one, each behind its pointer."""
    found = _SEVERAL.split(text)
    pairs = list(zip(found[1::2], found[2::2], strict=True))
    return pairs if pairs and found[0] == "" else [(pointer, text)]


async def errors(hub: Hub, actor: str, number: int, found: Mapping[str, Any]) -> bytes:
    """The stored workbook of a receipt with its faults marked. Raises a `Problem`: no workbook, or its body has expired.

    `found`: the receipt, as `parties.receipt` gives it, seen to be the reader's to see.
    """
    async with hub.core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.receipt_book, number)
        messages = [m["duplicate_of"] or m["id"] for m in found["messages"]]
        rejects = await connection.fetch(sql.receipt_rejects, messages, _FAULTS_MAX)
    if row is None or row["content_type"] not in TYPES_TAKEN or hub.workbooks is None:
        raise Problem(404, "no_workbook", _NO_BOOK)
    if row["body"] is None:
        raise Problem(410, "expired", _GONE)
    # The workbook holds the school's personal data in clear: whoever takes it is written down first.
    await operations.unmask(hub.core, actor, row["id"], "errors.xlsx")
    faults = [pair for r in rejects for pair in sentences(r["pointer"], r["text"]["vi"])]
    try:
        return await asyncio.to_thread(hub.workbooks.marked, row["body"], csv=row["content_type"] == CSV, faults=faults)
    except ValueError as error:
        raise Problem(410, "expired", _GONE) from error


def as_file(body: bytes, name: str) -> Response:
    """A workbook to keep."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(body, 200, headers, media_type=XLSX)


@router.get("/receipts/{code}/errors.xlsx", tags=["intake"])
async def errors_of(request: Request, code: str, client: CurrentClient) -> Response:
    """The workbook pushed, with each refused cell in red and a comment that says what to correct."""
    hub: Hub = request.app.state.hub
    number = receipt_id(hub.keys.hmac("receipt"), code)
    found = await parties.receipt(hub.core, number, 0, 1) if number is not None else None
    if number is None or found is None:
        raise Problem(404, "no_receipt", _MISSING)
    own = found["source"]["kind"] == "client" and found["source"]["name"] == client.id
    seen = all(hub.core.directory.permits(client.scope, m["school"]) for m in found["messages"])
    if not own and not client.scope.whole and not seen:
        raise Problem(404, "no_receipt", _MISSING)
    return as_file(await errors(hub, client.id, number, found), f"{code}-loi.xlsx")


@router.get("/templates/{record_type}.xlsx", tags=["intake"])
async def template(request: Request, record_type: str, client: CurrentClient) -> Response:
    """The empty template of a record type with its category sheets."""
    return as_file(await blank(request.app.state.hub, record_type), f"{record_type}.xlsx")


async def blank(hub: Hub, record_type: str) -> bytes:
    """An empty template. Raises a `Problem` when there is none."""
    books = hub.workbooks
    if books is None or record_type not in books.types:
        raise Problem(
            404, "no_template", Text("Không có mẫu bảng tính cho loại này.", "There is no template for this type.")
        )
    return await asyncio.to_thread(books.blank, record_type, hub.core.catalogue)
