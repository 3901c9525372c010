"""What a counterparty tells by itself: `POST /v1/callbacks/{connector}/{secret}`.

One concern: that door. A secret path and a signature over time and body, as the adapter's profile has it, both of a generation
that opens (`kernel/ledger/callback_keys.py`); each item becomes a
message of its own under the event's own id, all of them in one commit, and only then 200 is said: whatever comes twice
has one effect. It must never tell a stranger whether a connector exists, nor drop an item it cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from msgspec.structs import replace

from hub.api.context import Hub
from hub.api.problems import Problem
from hub.kernel.failpoints import reach
from hub.kernel.firewall import clean
from hub.kernel.intake import Arrival, Overloaded, Source, intake_key
from hub.kernel.ledger import filing_watch
from hub.kernel.ledger import intake as ledger
from hub.kernel.ledger.callback_keys import FIRST, Generation, opening
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import Draft, Inbound, Reject, Text
from hub.kernel.store.db import sql
from hub.keys import Keys
from mappings.engine import TYPES, today_of

router = APIRouter(prefix="/v1/callbacks", tags=["callbacks"])

_MOST = 1_048_576
_NAME = re.compile(r"[a-z0-9_-]{1,63}")
"""What a connector may be called: nothing else is asked of the database."""
_PUT_OFF: tuple[type[BaseException], ...] = (Overloaded, *TRANSIENT)
_MISSING = Text("Không có địa chỉ này.", "There is no such address.")
_UNSIGNED = Text("Chữ ký hoặc thời điểm ký không hợp lệ.", "The signature or its time is not valid.")
_LARGE = Text("Thông báo quá lớn.", "The callback is too large.")
_REUSED = Text(
    "Mã sự kiện này đã có với nội dung khác; sự kiện không được áp dụng.",
    "This event's id is known with another content; the event was not applied.",
)
_AWAY = Text("Chưa nhận được; hãy gửi lại.", "Not taken; send again.")


def callback_secrets(keys: Keys, connector: str, generation: Generation = FIRST) -> tuple[str, str]:
    """The secret part of a connector's callback address, and the key its counterparty signs with (both hex), of a generation."""
    of = f"{connector}/{generation.number}/{generation.salt.hex()}" if generation.number else connector
    return keys.hmac(f"callback-path/{of}", 20).hex(), keys.hmac(f"callback-key/{of}").hex()


def signature(key: str, stamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 over `<timestamp>.<body>`."""
    return hmac.new(bytes.fromhex(key), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


@router.post("/{connector}/{secret}")
async def told(request: Request, connector: str, secret: str) -> Response:
    """Take a callback. 200 `{taken, refused}` after the commit; 503 asks to send again; all else is no use repeating."""
    hub: Hub = request.app.state.hub
    if _NAME.fullmatch(connector) is None:
        raise Problem(404, "no_address", _MISSING)
    try:
        async with hub.core.pool.acquire() as connection:
            key = _key_of(hub.keys, connector, secret, (await opening(connection, [connector]))[connector])
            row = await connection.fetchrow(sql.pull_connector, connector)
        manifest = hub.manifests.get(row["system"]) if row else None
        if row is None or manifest is None or not manifest.callbacks:
            raise Problem(404, "no_address", _MISSING)
        body = await _body(request)
        rule: dict[str, Any] = manifest.profile(row["settings"].get("profile"))["callback"]
        _signed(request, rule, key, body, hub.core.clock())
        adapter: Any = manifest.build(row["settings"].get("adapter", {}), row["settings"].get("profile"))
        arrivals = await _arrivals(hub, connector, adapter, body, request.headers.get("content-type", ""))
        accepted = await ledger.accept(hub.core, arrivals)
        conflicts = [_other(a) for a, said in zip(arrivals, accepted, strict=True) if said.conflict]
        await ledger.accept(hub.core, conflicts)
    except _PUT_OFF as error:
        raise Problem(503, "busy", _AWAY, headers={"Retry-After": "5"}) from error
    reach("ack.before")
    refused = sum(a.invalid or a.conflict for a in accepted)
    answer = {"error_code": 0, "taken": len(accepted) - refused, "refused": refused}
    return Response(orjson.dumps(answer), 200, {"Cache-Control": "no-store"}, media_type="application/json")


def _key_of(keys: Keys, connector: str, secret: str, generations: list[Generation]) -> str:
    """The key callbacks at this address are signed with. Raises `Problem` when none that opens has the address."""
    for generation in generations:
        path, key = callback_secrets(keys, connector, generation)
        if hmac.compare_digest(secret.encode("utf-8", "replace"), path.encode()):
            return key
    raise Problem(404, "no_address", _MISSING)


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > _MOST:
            raise Problem(413, "too_large", _LARGE)
        parts.append(part)
    return b"".join(parts)


def _signed(request: Request, rule: dict[str, Any], key: str, body: bytes, now: float) -> None:
    stamp = request.headers.get(rule["timestamp_header"], "")
    given = request.headers.get(rule["signature_header"], "").strip().lower()
    good = stamp.isascii() and stamp.isdigit() and len(stamp) < 12
    if not good or abs(now - int(stamp)) > rule["tolerance_s"]:
        raise Problem(401, "not_signed", _UNSIGNED)
    if not hmac.compare_digest(given.encode("utf-8", "replace"), signature(key, stamp, body).encode()):
        raise Problem(401, "not_signed", _UNSIGNED)


async def _arrivals(hub: Hub, connector: str, adapter: Any, body: bytes, content_type: str) -> list[Arrival]:
    """One arrival per item, so that each is told apart from those it comes with the next time."""
    at = hub.core.moment()
    cleaned = clean(body, hub.core.hasher)
    inbound = Inbound(
        source=connector, type="callback", content_type=content_type[:100], body=cleaned.body, received_at=at
    )
    items: list[Draft | Reject] = adapter.decode(inbound)
    tree = orjson.loads(cleaned.body) if any(i.pointer for i in items) else None
    numbers = [str(i.body.get("file_number")) for i in items if isinstance(i, Draft)]
    schools = await filing_watch.schools_of(hub.core, numbers) if numbers else {}
    source = Source("connector", connector)
    arrivals: list[Arrival] = []
    for item in items:
        own = orjson.dumps(_at(tree, item.pointer)) if item.pointer else cleaned.body
        name = item.body.get("event_id") if isinstance(item, Draft) else None
        arrival = Arrival(
            source=source, type="filing_progress", body=own, content_type="application/json",
            digest=bytes.fromhex(hub.core.hasher(own)), removed=cleaned.removed if not arrivals else [],
            key=intake_key(source, "callback", str(name)) if name else intake_key(source, "callback-body", own),
            attributes={"callback": item.pointer or "/"},
        )  # fmt: skip
        if isinstance(item, Draft):
            school = schools.get(str(item.body.get("file_number")))
            if school is not None:
                item = replace(item, school=school, body=item.body | {"school_code": school})
            hub.core.catalogue.standardise_record(TYPES[item.type], item.body, today_of(item.updated_at))
            arrival.drafts, arrival.school = [replace(item, pointer="")], school
        else:
            arrival.invalid = item
        arrivals.append(arrival)
    return arrivals


def _other(arrival: Arrival) -> Arrival:
    """What came under the id of an event that is known, and says something else: kept under its own bytes, as invalid, for a
    person to see. Killed before that, we have not said 200, and it comes again."""
    return Arrival(
        source=arrival.source, type=arrival.type, body=arrival.body, content_type=arrival.content_type, digest=arrival.digest,
        removed=arrival.removed, key=intake_key(arrival.source, "callback-other", arrival.body), attributes=arrival.attributes,
        school=arrival.school, invalid=Reject(pointer=arrival.attributes["callback"].rstrip("/"), code="event_reused", message=_REUSED),
    )  # fmt: skip


def _at(tree: Any, pointer: str) -> Any:
    """The value a pointer of list places and plain names leads to."""
    for part in pointer.split("/")[1:]:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree
