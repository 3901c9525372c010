"""Documents of filings: `POST /v1/files` keeps one, `GET /v1/files/{token}` hands one out to whoever was given its address.

One concern: that door. What comes in is a document by its bytes and has passed the biometric firewall; what goes out was
granted, to one counterparty, until a certain time, and is logged before its first byte. It must never list documents, tell
why a token is refused, or hold a document's bytes in clear longer than the request.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from hub.api.auth import CurrentClient, require
from hub.api.context import Hub
from hub.api.fields import Line
from hub.api.problems import Problem
from hub.kernel.documents import PDF, REFUSED, XML, kind_of
from hub.kernel.file_tokens import Grant, grant_of
from hub.kernel.firewall import clean
from hub.kernel.ledger import alarms, files
from hub.kernel.ledger.alarms import Alarm
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ledger.files import File
from hub.kernel.ports import Text
from hub.keys import CannotDecrypt
from hub.signatures import Verdict, verify

router = APIRouter(prefix="/v1/files", tags=["files"])

_HELD_MAX = 4
"""Uploads in memory at once in one gateway."""
_CLIENT_MAX = 2
"""Of these, one client's: nobody shuts the door for others."""
_SILENT_S = 15.0
_WHOLE_S = 180.0
"""How long an upload may stand still, and last: whoever holds a place has to use it."""
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_NAME = re.compile(r"[^\w .,()+-]", re.UNICODE)
_MISSING = Text("Không có tài liệu này.", "There is no such document.")
_EXPIRED = Text("Đường dẫn tài liệu đã hết hạn.", "The document's address has expired.")
_AWAY = Text("Cơ sở dữ liệu tạm thời không trả lời.", "The database does not answer for now.")
_uploads = asyncio.Semaphore(_HELD_MAX)
_taking: Counter[str] = Counter()


@router.post("", status_code=201)
async def keep(request: Request, client: CurrentClient, name: str, school: Line | None = None) -> Response:
    """Keep a document (PDF, XML, DOCX, XLSX): the body is the file, `name` its name. Answers `{file, content_type, bytes}`;
    a filing's `attachments` or `results` then name it by `file`. One sent again under the same Idempotency-Key is kept once."""
    require(client, "push")
    hub: Hub = request.app.state.hub
    if school is None and client.scope.kind == "school":
        school = client.scope.code
    if not hub.core.directory.permits(client.scope, school):
        raise Problem(403, "outside_scope", Text("Ngoài phạm vi của tài khoản.", "Outside the account's scope."))
    shown = " ".join(_NAME.sub(" ", name).split())[:200]
    if not shown:
        raise Problem(422, "invalid_name", Text("Thiếu tên tài liệu.", "The document's name is missing."))
    async with _slot(client.id):
        body = await _body(request, hub.settings.files.max_bytes)
        kind, digest = await asyncio.to_thread(_checked, body, hub)
        key = request.headers.get("idempotency-key")
        if key is not None and len(key) > 200:
            raise Problem(400, "bad_idempotency_key", Text("Idempotency-Key quá dài.", "Idempotency-Key is too long."))
        # The same key with the same bytes is the same document; nobody can guess another's.
        secret = hub.keys.hmac("file-id").hex()
        id_ = uuid.uuid5(uuid.NAMESPACE_OID, f"{secret}/{client.id}/{key}/{digest.hex()}") if key else uuid.uuid4()
        try:
            verdict, refused = await asyncio.to_thread(_verdict, body, kind, hub)
            await _say_refused(request.app.state, refused)
            found = verdict.state, msgspec.to_builtins(verdict.signatures) or None
            fresh = await files.keep(
                hub.core, client.source, id_, school, kind, shown, body, hub.keys.encrypt, found, digest
            )
        except TRANSIENT as error:
            raise Problem(503, "database_away", _AWAY, headers={"Retry-After": "2"}) from error
    headers = {} if fresh else {"Idempotent-Replayed": "true"}
    answer = {"file": id_.hex, "content_type": kind, "bytes": len(body), "signatures": verdict.state}
    return _json(answer, 201, headers)


@asynccontextmanager
async def _slot(client: str) -> AsyncIterator[None]:
    """A place among the uploads in memory. Raises a 503 problem when there is none, or the client has its share."""
    if _uploads.locked() or _taking[client] >= _CLIENT_MAX:
        busy = Text("Đang nhận nhiều tài liệu; hãy gửi lại.", "Many documents are being taken; send again.")
        raise Problem(503, "busy", busy, headers={"Retry-After": "2"})
    _taking[client] += 1
    try:
        async with _uploads:
            yield
    finally:
        _taking[client] -= 1
        if not _taking[client]:
            del _taking[client]


def _verdict(body: bytes, kind: str, hub: Hub) -> tuple[Verdict, dict[str, str] | None]:
    """In a thread: what was signed is judged by whom the settings trust, now and never again. With it, the files of the
    trusted that could not be read; None for a document without signatures, which asks nobody."""
    if b"/ByteRange" not in body and b"http://www.w3.org/2000/09/xmldsig#" not in body:
        return Verdict(), None
    from hub.signatures import trust  # with its large libraries: for signed documents only

    trusted = trust.load(hub.settings.files.trusted)
    return asyncio.run(verify(body, kind, trusted)), trusted.refused


async def _say_refused(state: Any, refused: dict[str, str] | None) -> None:
    """An alarm for each file of the trusted that cannot be read, and the end of those that can be now."""
    if refused is None or getattr(state, "trust_refused", None) == refused:
        return
    await alarms.report(
        state.hub.core,
        "trusted_file",
        [
            Alarm(
                "trusted_file",
                name,
                Text(
                    f"Tệp chứng thư tin cậy {name} không đọc được.",
                    f"{name} of the trusted certificates cannot be read.",
                ),
            )
            for name in refused
        ],
    )
    state.trust_refused = refused


def _checked(body: bytes, hub: Hub) -> tuple[str, bytes]:
    """Its kind and its keyed hash."""
    kind = kind_of(body)
    if kind is None:
        raise Problem(415, "not_a_document", REFUSED)
    if kind == XML and clean(body, hub.core.hasher).removed:
        raise Problem(422, "holds_biometrics", REFUSED)
    return kind, bytes.fromhex(hub.core.hasher(body))


async def _body(request: Request, most: int) -> bytes:
    large = Text(f"Tài liệu vượt quá {most} byte.", f"The document exceeds {most} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise Problem(413, "too_large", large)
    parts: list[bytes] = []
    size = 0
    loop = asyncio.get_running_loop()
    ends = loop.time() + _WHOLE_S
    try:
        async with asyncio.timeout(_SILENT_S) as limit:
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Problem(413, "too_large", large)
                parts.append(part)
                limit.reschedule(min(loop.time() + _SILENT_S, ends))
    except TimeoutError:
        slow = Text("Tài liệu đến quá chậm; hãy gửi lại.", "The document came too slowly; send it again.")
        raise Problem(408, "too_slow", slow, headers={"Connection": "close"}) from None
    return b"".join(parts)


@router.api_route("/{token}", methods=["GET", "HEAD"])
async def hand_out(request: Request, token: str) -> Response:
    """A document, or the range of it that is asked for (`Range: bytes=…`)."""
    hub: Hub = request.app.state.hub
    grant = grant_of(hub.keys.hmac("file-token"), token)
    if grant is None:
        raise Problem(404, "no_document", _MISSING)
    if grant.until < hub.core.clock():
        raise Problem(410, "expired", _EXPIRED)
    try:
        found = await files.find(hub.core, grant.file, hub.keys.decrypt)
        if found is None:
            raise Problem(404, "no_document", _MISSING)
        etag = f'"{found.digest.hex()[:32]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        span = _span(request, found.size, etag)
        first, last = span or (0, found.size - 1)
        headers = _headers(found, etag) | {"Content-Length": str(last - first + 1)}
        if span is not None:
            headers["Content-Range"] = f"bytes {first}-{last}/{found.size}"
        if request.method == "HEAD":
            return Response(status_code=206 if span else 200, headers=headers, media_type=found.content_type)
        await files.said(hub.core, _who(hub, grant), found, first, last)
        return StreamingResponse(
            _pieces(hub, found, first, last), 206 if span else 200, headers, media_type=found.content_type
        )
    except TRANSIENT as error:
        raise Problem(503, "database_away", _AWAY, headers={"Retry-After": "2"}) from error
    except CannotDecrypt as error:
        raise Problem(404, "no_document", _MISSING) from error


async def _pieces(hub: Hub, file: File, first: int, last: int) -> AsyncIterator[bytes]:
    async for part in files.read(hub.core, file, first, last, hub.keys.decrypt):
        yield part


def _who(hub: Hub, grant: Grant) -> str:
    name = next((name for name, number in hub.core.connectors.items() if number == grant.connector), None)
    return f"connector:{name or grant.connector}"


def _span(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """The one range asked for, both ends included; None for the whole. Raises a 416 problem for one that cannot be."""
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", etag) != etag:
        return None
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found.group(1) == found.group(2) == "":
        return None
    if found.group(1) == "":
        first, last = max(0, size - int(found.group(2))), size - 1
    else:
        first = int(found.group(1))
        last = min(int(found.group(2)), size - 1) if found.group(2) else size - 1
    if first > last or first >= size:
        text = Text("Khoảng byte không có trong tài liệu.", "The document has no such range.")
        raise Problem(416, "no_range", text, headers={"Content-Range": f"bytes */{size}"})
    return first, last


def _headers(file: File, etag: str) -> dict[str, str]:
    plain = file.name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
    how = "inline" if file.content_type == PDF else "attachment"
    return {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "Content-Disposition": f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name)}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


def _json(content: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    return Response(
        orjson.dumps(content), status, {"Cache-Control": "no-store", **headers}, media_type="application/json"
    )
