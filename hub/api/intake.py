"""REST intake and receipts: `POST /v1/messages/{type}`, single or bulk, and `GET /v1/receipts/{code}`.

202 is said only after the commit. A bulk body is taken item by item; only one that cannot be read at all is refused
whole. It must never store a byte the biometric firewall has not seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from hub.api.auth import Client, CurrentClient, require
from hub.api.context import Hub
from hub.api.problems import Problem, error_list
from hub.kernel.failpoints import reach
from hub.kernel.firewall import clean
from hub.kernel.intake import Accepted, Arrival, Overloaded, intake_key
from hub.kernel.ledger import intake as ledger
from hub.kernel.ledger import parties
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.lifecycle import State
from hub.kernel.ports import Draft, Reject, Removed, Text
from hub.kernel.receipts import receipt_code, receipt_id
from mappings.canonical.parse import parse_item
from mappings.canonical.registry import TYPES
from mappings.fieldmap import today_of

router = APIRouter(prefix="/v1")

PUSHED = ("learner", "staff", "school", "class", "checkin", "filing", "filing_progress")
_SHOWN_REJECTS = 200
_ARRAY_MAX = 64 * 1024 * 1024
_KEY_MAX = 200

_UNREADABLE = Text("Nội dung không phải JSON hợp lệ: {0}", "The body is not valid JSON: {0}")
_BUSY = Text(
    "Trục đang quá tải hoặc cơ sở dữ liệu chưa sẵn sàng; chưa nhận gì, hãy gửi lại.",
    "The hub is overloaded or its database is away; nothing was taken, send again.",
)
_AWAY: tuple[type[BaseException], ...] = (Overloaded, *TRANSIENT)
_CONFLICT = Text(
    "Khóa Idempotency-Key này đã dùng cho một nội dung khác.", "This Idempotency-Key was used with another body."
)


def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


def _known(record_type: str) -> str:
    if record_type not in PUSHED:
        text = Text(
            f"Không có loại bản ghi “{record_type}”; có: {', '.join(PUSHED)}.",
            f"No record type “{record_type}”; there are: {', '.join(PUSHED)}.",
        )
        raise Problem(404, "unknown_type", text)
    return record_type


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= _KEY_MAX:
        text = Text(
            f"Idempotency-Key phải dài 1–{_KEY_MAX} ký tự.", f"Idempotency-Key must have 1 to {_KEY_MAX} characters."
        )
        raise Problem(400, "bad_idempotency_key", text)
    return key


async def _body(request: Request, most: int) -> bytes:
    """The body, refused as soon as it is known to be too large."""
    large = Text(
        f"Nội dung vượt quá {most} byte; hãy gửi theo lô NDJSON.",
        f"The body exceeds {most} bytes; send NDJSON in bulk.",
    )
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > most:
        raise Problem(413, "too_large", large)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Problem(413, "too_large", large)
        parts.append(part)
    return b"".join(parts)


def _drafts(
    record_type: str, item: bytes, pointer: str, at: datetime, hub: Hub
) -> tuple[bytes, list[Draft], list[Reject], list[Removed]]:
    """One item through the firewall and the model."""
    cleaned = clean(item, hub.core.hasher)
    found = parse_item(record_type, cleaned.tree if cleaned.is_json else cleaned.body, pointer, at)
    removed = (
        [Removed(pointer + r.pointer, r.digest, r.bytes, r.reason) for r in cleaned.removed]
        if pointer
        else cleaned.removed
    )
    if isinstance(found, Draft):
        hub.core.catalogue.standardise_record(TYPES[record_type], found.body, today_of(found.updated_at))
        return cleaned.body, [found], [], removed
    return cleaned.body, [], found, removed


@router.post("/messages/{record_type}", status_code=202, tags=["intake"])
async def push(request: Request, record_type: str, client: CurrentClient) -> Response:
    """Push records of one type.

    `application/json` with one object: a single record in the event envelope (≤ 1 MB). With an array, or
    `application/x-ndjson` with one envelope a line: bulk, each item taken or rejected by itself, resumable by sending
    the same body with the same Idempotency-Key.
    """
    _known(record_type)
    require(client, f"push:{record_type}" if f"push:{record_type}" in client.rights else "push")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    key = _idempotency_key(request)
    try:
        if content_type == "application/x-ndjson":
            return await _bulk(request, record_type, client, key, _lines(request))
        if content_type != "application/json":
            text = Text(
                "Chỉ nhận application/json hoặc application/x-ndjson.",
                "Only application/json and application/x-ndjson are taken.",
            )
            raise Problem(415, "unsupported_media_type", text)
        hub = _hub(request)
        bulk = request.query_params.get("bulk") == "true"
        body = await _body(request, _ARRAY_MAX if bulk else hub.settings.http.single_max_bytes)
        if body.lstrip()[:1] == b"[":
            return await _bulk(request, record_type, client, key, _array(body))
        return await _single(request, record_type, client, key, body)
    except _AWAY:
        raise Problem(503, "busy", _BUSY, headers={"Retry-After": "2"}) from None


async def _single(request: Request, record_type: str, client: Client, key: str | None, body: bytes) -> Response:
    hub = _hub(request)
    at = datetime.now(UTC)
    cleaned, drafts, rejects, removed = _drafts(record_type, body, "", at, hub)
    if any(r.code == "invalid_json" for r in rejects):
        raise Problem(400, "unreadable", rejects[0].message, errors=rejects)
    arrival = Arrival(
        source=client.source, type=record_type, body=cleaned, content_type="application/json", digest=bytes.fromhex(hub.core.hasher(body)),
        key=intake_key(client.source, record_type, key) if key else None, removed=removed, drafts=drafts,
        rejects=[_together("", rejects)] if rejects else [], school=drafts[0].school if drafts else None, scope=client.scope,
    )  # fmt: skip
    accepted = await request.app.state.group.put(arrival)
    reach("ack.before")
    if accepted.conflict:
        raise Problem(422, "key_reused", _CONFLICT)
    code = receipt_code(hub.keys.hmac("receipt"), accepted.message)
    if accepted.rejects:
        text = Text("Bản ghi không hợp lệ; xem từng lỗi.", "The record is not valid; see each error.")
        raise Problem(422, "invalid_record", text, errors=rejects or accepted.rejects, receipt=code)
    return _accepted(request, code, [accepted], accepted.duplicate)


async def _array(body: bytes) -> AsyncIterator[bytes]:
    """The items of a JSON array, unparsed. Raises a problem when it is no array that can be read."""
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error)
        raise Problem(400, "unreadable", Text(_UNREADABLE.vi.format(reason), _UNREADABLE.en.format(reason))) from None
    for item in items:
        yield bytes(item)


async def _lines(request: Request) -> AsyncIterator[bytes]:
    """The lines of an NDJSON body as they arrive; blank ones are passed over. A line may be as long as a single push."""
    most = _hub(request).settings.http.single_max_bytes
    whole = _hub(request).settings.http.bulk_max_bytes
    rest = b""
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > whole:
            text = Text(f"Lô vượt quá {whole} byte; hãy chia nhỏ.", f"The bulk body exceeds {whole} bytes; split it.")
            raise Problem(413, "too_large", text)
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > most:
            text = Text(f"Một dòng vượt quá {most} byte.", f"A line exceeds {most} bytes.")
            raise Problem(413, "too_large", text)
    if rest.strip():
        yield rest


async def _bulk(
    request: Request, record_type: str, client: Client, key: str | None, items: AsyncIterator[bytes]
) -> Response:
    """Take items in chunks of fixed size, one message and one transaction each.

    Chunk boundaries follow from the body alone, so the same body with the same key finds its chunks done and goes on
    behind them: that is how an interrupted upload is resumed.
    """
    hub = _hub(request)
    size = hub.settings.intake.chunk
    upload_key = intake_key(client.source, record_type, "upload", key) if key else None
    upload: int | None = None
    answers: list[Accepted] = []
    chunk: list[bytes] = []
    number = index = 0

    under_way: tuple[int, asyncio.Task[list[Accepted]]] | None = None

    async def settle() -> None:
        """Wait for the chunk on its way. Chunks commit one after the other, so that a resumed upload has no gaps."""
        nonlocal under_way
        if under_way is None:
            return
        place, task = under_way
        under_way = None
        (accepted,) = await task
        if accepted.conflict:
            assert upload is not None
            raise Problem(
                422, "key_reused", _CONFLICT, chunk=place, receipt=receipt_code(hub.keys.hmac("receipt"), upload)
            )
        answers.append(accepted)

    async def commit() -> None:
        nonlocal upload, number, chunk, under_way
        if upload is None:
            upload = await ledger.open_upload(
                hub.core,
                upload_key,
                client.source,
                record_type,
                client.scope.code if client.scope.kind == "school" else None,
            )
        arrival = _chunk(hub, client, record_type, chunk, index - len(chunk), upload, number, upload_key)
        await settle()
        # The next chunk is read and checked while this one is written.
        under_way = number, asyncio.create_task(ledger.accept(hub.core, [arrival]))
        number, chunk = number + 1, []
        await asyncio.sleep(0)

    try:
        async for item in items:
            chunk.append(item)
            index += 1
            if len(chunk) >= size:
                await commit()
        if chunk or not number:
            if not index:
                text = Text("Lô không có bản ghi nào.", "The bulk body has no items.")
                raise Problem(400, "empty", text)
            await commit()
        await settle()
    finally:
        if under_way is not None:
            # Whatever broke off the reading: a chunk given to the ledger is waited for, never left to itself.
            await asyncio.gather(under_way[1], return_exceptions=True)
    assert upload is not None
    await ledger.finish_upload(hub.core, upload)
    reach("ack.before")
    return _accepted(
        request, receipt_code(hub.keys.hmac("receipt"), upload), answers, all(a.duplicate for a in answers)
    )


def _chunk(
    hub: Hub,
    client: Client,
    record_type: str,
    items: list[bytes],
    first: int,
    upload: int,
    number: int,
    upload_key: bytes | None,
) -> Arrival:
    at = datetime.now(UTC)
    bodies: list[bytes] = []
    drafts: list[Draft] = []
    rejects: list[Reject] = []
    removed: list[Removed] = []
    for place, item in enumerate(items, start=first):
        body, good, bad, out = _drafts(record_type, item, f"/{place}", at, hub)
        bodies.append(body)
        drafts += good
        rejects += bad
        removed += out
    schools = {d.school for d in drafts}
    return Arrival(
        source=client.source, type=record_type, body=b"\n".join(bodies), content_type="application/x-ndjson",
        digest=bytes.fromhex(hub.core.hasher(b"\n".join(items))), key=intake_key(client.source, "chunk", upload_key, str(number)) if upload_key else None,
        removed=removed, drafts=drafts, rejects=_one_per_item(rejects), school=schools.pop() if len(schools) == 1 else None,
        scope=client.scope, upload=upload, chunk=number,
    )  # fmt: skip


def _one_per_item(rejects: list[Reject]) -> list[Reject]:
    """An item with several faults is one reject in the account; its faults stand together in one text."""
    by_item: dict[str, list[Reject]] = {}
    for r in rejects:
        by_item.setdefault(r.pointer.split("/")[1], []).append(r)
    return [_together(f"/{item}", faults) for item, faults in by_item.items()]


def _together(pointer: str, faults: list[Reject]) -> Reject:
    if len(faults) == 1:
        return faults[0]
    text = Text(
        "; ".join(f"{f.pointer}: {f.message.vi}" for f in faults),
        "; ".join(f"{f.pointer}: {f.message.en}" for f in faults),
    )
    return Reject(pointer=pointer, code="several_faults", key=faults[0].key, message=text)


def _accepted(request: Request, code: str, answers: list[Accepted], replayed: bool) -> Response:
    rejects = [r for a in answers for r in a.rejects]
    body = {
        "receipt": code,
        "records": sum(a.records for a in answers),
        "unchanged": sum(a.unchanged for a in answers),
        "rejected": len(rejects),
        "rejects": error_list(rejects[:_SHOWN_REJECTS]),
        "links": {"receipt": f"/v1/receipts/{code}"},
    }
    headers = {"Location": f"/v1/receipts/{code}", **getattr(request.state, "rate", {})}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(orjson.dumps(body), 202, headers, media_type="application/json")


_OUTCOMES = {None: "pending", 2: "invalid", 3: "duplicate", 4: "routed"}
_DISPOSITIONS = {1: "accepted", 2: "unchanged", 3: "quarantined"}


@router.get("/receipts/{code}", tags=["intake"])
async def receipt(
    request: Request,
    code: str,
    client: CurrentClient,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """What became of a push: status per record and per delivery, in pages (`after` is the cursor in `next`)."""
    hub = _hub(request)
    missing = Problem(404, "no_receipt", Text("Không có biên nhận này.", "There is no such receipt."))
    number = receipt_id(hub.keys.hmac("receipt"), code)
    if number is None:
        raise missing
    found = await parties.receipt(hub.core, number, after, limit)
    if found is None:
        raise missing
    own = found["source"]["kind"] == "client" and found["source"]["name"] == client.id
    if (
        not own
        and not client.scope.whole
        and not all(hub.core.directory.permits(client.scope, m["school"]) for m in found["messages"])
    ):
        raise missing
    names = {n: name for name, n in hub.core.connectors.items()}
    deliveries: dict[int, list[dict[str, Any]]] = {}
    for d in found["deliveries"]:
        deliveries.setdefault(d["record"], []).append(
            {
                "connector": names.get(d["connector"], "?"), "state": State(d["state"]).word, "since": d["at"].isoformat(),
                "cause": d["cause"], "attempts": d["attempts"], **({"text": d["task"]} if d["task"] else {}),
            }
        )  # fmt: skip
    results = [m for m in found["messages"] if m["outcome"] is not None]
    records = found["records"]
    body = {
        "receipt": code,
        "received_at": (found["upload"]["started_at"] if found["upload"] else found["messages"][0]["received_at"]).isoformat(),
        "complete": found["upload"]["finished_at"] is not None if found["upload"] else True,
        "type": found["upload"]["type"] if found["upload"] else found["messages"][0]["type"],
        "messages": [{"outcome": _OUTCOMES[m["outcome"]], "chunk": m["chunk"]} for m in found["messages"]],
        "items": sum(m["items"] for m in results),
        "rejected": sum(m["rejected"] for m in results),
        "records": [
            {
                "pointer": r["pointer"], "key": r["key"], "event": r["event"], "version": r["version"],
                "status": _DISPOSITIONS[r["disposition"]], "deliveries": deliveries.get(r["id"], []),
            }
            for r in records
        ],
        "rejects": [{"pointer": r["pointer"], "code": r["code"], "key": r["key"], **r["text"]} for r in found["rejects"]],
        "next": f"/v1/receipts/{code}?after={records[-1]['id']}&limit={limit}" if len(records) == limit else None,
    }  # fmt: skip
    return Response(orjson.dumps(body), 200, {"Cache-Control": "no-store"}, media_type="application/json")
