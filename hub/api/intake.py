"""REST intake: `POST /v1/messages/{type}`, single or bulk.

202 is said only after the commit. A bulk body is taken item by item; only one that cannot be read at all is refused
whole. `hub.api.front` answers pushes before the framework's routing; the route below is the same function, and what the
API's description shows. It must never store a byte the biometric firewall has not seen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api import archives, workbooks
from hub.api.auth import Client, CurrentClient, header, require
from hub.api.context import Hub
from hub.api.problems import Problem, error_list
from hub.api.reading import Chunk, array_items, line_items, single, whole_body
from hub.api.rosters import FullList
from hub.kernel.failpoints import reach
from hub.kernel.intake import Accepted, Overloaded, intake_key
from hub.kernel.ledger import intake as ledger
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ledger.turns import Turn
from hub.kernel.ports import Text
from hub.kernel.receipts import receipt_code

router = APIRouter(prefix="/v1")

PUSHED = (
    "learner", "staff", "school", "class", "study_result", "health_check", "code_given", "checkin", "gate_person", "filing",
    "filing_progress",
)  # fmt: skip
_SHOWN_REJECTS = 200
_ARRAY_MAX = 64 * 1024 * 1024
_KEY_MAX = 200
_UNDER_WAY = 2
"""Chunks of one upload on their way into the ledger: while one is written, the next is made ready."""
_AT_ONCE = 25
"""Items of a bulk body read in one go: whoever waits for the loop, the chunk being written first of all, waits no longer."""

_BUSY = Text(
    "Trục đang quá tải hoặc cơ sở dữ liệu chưa sẵn sàng; chưa nhận gì, hãy gửi lại.",
    "The hub is overloaded or its database is away; nothing was taken, send again.",
)
AWAY: tuple[type[BaseException], ...] = (Overloaded, *TRANSIENT)
"""Nothing was taken, and the sender is told when to come again."""
_NO_LIST = Text("Danh sách đầy đủ phải là một lô.", "A full list is sent in bulk.")
_CONFLICT = Text(
    "Khóa Idempotency-Key này đã dùng cho một nội dung khác.", "This Idempotency-Key was used with another body."
)


def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


def busy() -> Problem:
    """The answer when the hub is overloaded or its database away."""
    return Problem(503, "busy", _BUSY, headers={"Retry-After": "2"})


def _check_type(record_type: str) -> None:
    if record_type not in PUSHED:
        text = Text(
            f"Không có loại bản ghi “{record_type}”; có: {', '.join(PUSHED)}.",
            f"No record type “{record_type}”; there are: {', '.join(PUSHED)}.",
        )
        raise Problem(404, "unknown_type", text)


def _idempotency_key(request: Request) -> str | None:
    key = header(request, b"idempotency-key")
    if key is not None and not 1 <= len(key) <= _KEY_MAX:
        text = Text(
            f"Idempotency-Key phải dài 1–{_KEY_MAX} ký tự.", f"Idempotency-Key must have 1 to {_KEY_MAX} characters."
        )
        raise Problem(400, "bad_idempotency_key", text)
    return key


@router.post("/messages/{record_type}", status_code=202, tags=["intake"])
async def push(request: Request, record_type: str, client: CurrentClient) -> Response:
    """Push records of one type.

    `application/json` with one object: a single record in the event envelope (≤ 1 MB). With an array, or
    `application/x-ndjson` with one envelope a line: bulk, each item taken or rejected by itself, resumable by sending
    the same body with the same Idempotency-Key. `text/csv`, an .xlsx workbook in the Ministry's template, or
    `application/zip` with several of them: the same, by row, with `school` and `school_year` as query parameters where
    the account does not tell. `?full=true` says of a bulk body that it is the school's whole list: taken whole, it is
    the school's side of the next reconciliation.
    """
    _check_type(record_type)
    require(client, f"push:{record_type}" if f"push:{record_type}" in client.rights else "push")
    content_type = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
    key = _idempotency_key(request)
    http = _hub(request).settings.http
    query = request.query_params if request.scope["query_string"] else {}
    full = FullList(_hub(request), client.scope, record_type) if query.get("full") == "true" else None
    try:
        if content_type == "application/x-ndjson":
            lines = line_items(request, http.single_max_bytes, http.bulk_max_bytes)
            return await _bulk(request, record_type, client, key, lines, full)
        if content_type in workbooks.TYPES_TAKEN:
            return await workbooks.push(request, record_type, client, key, content_type, full)
        if content_type == archives.ZIP:
            return await archives.push(request, record_type, client, key, full)
        if content_type != "application/json":
            text = Text(
                "Chỉ nhận application/json, application/x-ndjson, text/csv, sổ tính .xlsx hoặc ZIP các sổ tính.",
                "Only application/json, application/x-ndjson, text/csv, .xlsx workbooks and ZIPs of them are taken.",
            )
            raise Problem(415, "unsupported_media_type", text)
        body = await whole_body(request, _ARRAY_MAX if query.get("bulk") == "true" else http.single_max_bytes)
        if body.lstrip()[:1] == b"[":
            return await _bulk(request, record_type, client, key, array_items(body), full)
        if full is not None:
            raise Problem(400, "no_list", _NO_LIST)
        return await _single(request, record_type, client, key, body)
    except AWAY:
        raise busy() from None


async def _single(request: Request, record_type: str, client: Client, key: str | None, body: bytes) -> Response:
    hub = _hub(request)
    arrival, faults = single(hub, client, record_type, key, body)
    accepted = await request.app.state.group.put(arrival)
    reach("ack.before")
    if accepted.conflict:
        raise Problem(422, "key_reused", _CONFLICT)
    code = receipt_code(hub.keys.hmac("receipt"), accepted.message)
    if accepted.rejects:
        text = Text("Bản ghi không hợp lệ; xem từng lỗi.", "The record is not valid; see each error.")
        raise Problem(422, "invalid_record", text, errors=faults or accepted.rejects, receipt=code)
    return _accepted(request, code, [accepted], accepted.duplicate)


async def _bulk(
    request: Request,
    record_type: str,
    client: Client,
    key: str | None,
    batches: AsyncIterator[list[bytes]],
    full: FullList | None = None,
) -> Response:
    """Take items in chunks of fixed size, one message and one transaction each. `full`: they are said to be a whole list.

    Chunk boundaries follow from the body alone, so the same body with the same key finds its chunks done and goes on
    behind them: that is how an interrupted upload is resumed. While chunks are written, the next is read and checked.
    """
    hub = _hub(request)
    upload = _Upload(hub, client, record_type, key, full)
    size = hub.settings.intake.chunk
    chunk = Chunk(first=0)
    try:
        async for items in batches:
            start = 0
            while start < len(items):
                part = items[start : start + min(_AT_ONCE, size - len(chunk.items))]
                start += len(part)
                chunk.take(hub, record_type, part)
                if len(chunk.items) >= size:
                    await upload.write(chunk)
                    chunk = Chunk(first=chunk.first + len(chunk.items))
                await asyncio.sleep(0)
        if chunk.items or not upload.number:
            if not chunk.items:
                text = Text("Lô không có bản ghi nào.", "The bulk body has no items.")
                raise Problem(400, "empty", text)
            await upload.write(chunk)
        await upload.settle()
    finally:
        await upload.leave()
    code = await upload.finish()
    refused = sum(len(a.rejects) for a in upload.answers)
    told = {} if full is None else {"full_list": await full.told(client.id, refused)}
    reach("ack.before")
    return _accepted(request, code, upload.answers, all(a.duplicate for a in upload.answers), told)


class _Upload:
    """One bulk upload on its way into the ledger, its chunks one behind the other: a resumed one has no gaps."""

    def __init__(self, hub: Hub, client: Client, record_type: str, key: str | None, full: FullList | None) -> None:
        self._hub, self._client, self._type, self._full = hub, client, record_type, full
        self._key = intake_key(client.source, record_type, "upload", key) if key else None
        self._id = 0
        self._under_way: deque[tuple[int, asyncio.Task[list[Accepted]]]] = deque()
        self._turn: Turn | None = None
        self.number = 0
        self.answers: list[Accepted] = []

    def _code(self) -> str:
        return receipt_code(self._hub.keys.hmac("receipt"), self._id)

    async def write(self, chunk: Chunk) -> None:
        """Begin to write a chunk, once the one before the last is written."""
        if not self.number:
            scope = self._client.scope
            school = scope.code if scope.kind == "school" else None
            self._id = await ledger.open_upload(self._hub.core, self._key, self._client.source, self._type, school)
        if self._full is not None:
            self._full.take(chunk.drafts)  # what is outside the scope the ledger refuses, and is counted there
        arrival = chunk.arrival(self._hub, self._client, self._type, self._id, self.number, self._key)
        await self.settle(_UNDER_WAY - 1)
        self._turn = Turn(self._turn)
        task = asyncio.create_task(ledger.accept(self._hub.core, [arrival], self._turn))
        self._under_way.append((self.number, task))
        self.number += 1

    async def settle(self, most: int = 0) -> None:
        """Wait until `most` chunks are on their way. Raises a problem when a chunk's place in this upload held something else."""
        while len(self._under_way) > most:
            place, task = self._under_way[0]
            (accepted,) = await asyncio.shield(task)
            self._under_way.popleft()
            if accepted.conflict:
                raise Problem(422, "key_reused", _CONFLICT, chunk=place, receipt=self._code())
            self.answers.append(accepted)

    async def leave(self) -> None:
        """Whatever broke off the reading: chunks given to the ledger are waited for, never left to themselves."""
        await asyncio.gather(*(task for _, task in self._under_way), return_exceptions=True)

    async def finish(self) -> str:
        """Mark it complete; gives its receipt's code."""
        await ledger.finish_upload(self._hub.core, self._id)
        return self._code()


class _Taken(Response):
    """202 with JSON that is ready: what the framework would work out anew for each."""

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        self.status_code, self.background, self.body = 202, None, body
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *((k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()),
        ]


def _accepted(
    request: Request, code: str, answers: list[Accepted], replayed: bool, more: dict[str, Any] | None = None
) -> Response:
    rejects = [r for a in answers for r in a.rejects]
    body = {
        "receipt": code,
        "records": sum(a.records for a in answers),
        "unchanged": sum(a.unchanged for a in answers),
        "rejected": len(rejects),
        "rejects": error_list(rejects[:_SHOWN_REJECTS]),
        "links": {"receipt": f"/v1/receipts/{code}"},
        **(more or {}),
    }
    headers = {"location": f"/v1/receipts/{code}", **getattr(request.state, "rate", {})}
    if replayed:
        headers["idempotent-replayed"] = "true"
    return _Taken(orjson.dumps(body), headers)
