"""Edit and resend: a person's correction of a record, as a new message linked to the one it corrects.

The original is never changed. It must never accept what the parser would refuse a school.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from hub.kernel.access import Scope
from hub.kernel.firewall import clean
from hub.kernel.intake import Accepted, Arrival, Source
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.operations import note
from hub.kernel.ports import Draft, Reject, Text
from hub.kernel.store.db import sql
from mappings.canonical.parse import parse_item
from mappings.canonical.registry import TYPES
from mappings.fieldmap import today_of


class NoSuchRecord(Exception):
    """Không có bản ghi này. / There is no such record, or its content has expired."""


async def original(core: Core, record: int) -> dict[str, Any]:
    """A record with its content, to be corrected. Raises `NoSuchRecord`."""
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.record_one, record)
    if row is None or row["body"] is None:
        raise NoSuchRecord(record)
    return dict(row)


async def edit_and_resend(
    core: Core, actor: str, record: int, data: dict[str, Any], why: str, scope: Scope
) -> Accepted | list[Reject]:
    """Send a corrected content of a record through the front door, in the actor's name.

    Gives the new message, whose `corrects` names the record it corrects, or what is wrong with the correction. Business key and
    type stay the record's own. Raises `NoSuchRecord`.
    """
    old = await original(core, record)
    now = core.moment()
    found = parse_item(old["type"], {"event": "UPDATE", "updated_at": now.isoformat(), "data": data}, "", now)
    if isinstance(found, list):
        return found
    if found.key != old["key"]:
        raise NoSuchRecord(found.key)
    core.catalogue.standardise_record(TYPES[found.type], found.body, today_of(found.updated_at))
    cleaned = clean(msgspec.json.encode(data), core.hasher)
    if cleaned.removed:
        text = Text(
            "Bản sửa không được chứa ảnh hay mẫu sinh trắc.", "A correction must hold no image or biometric template."
        )
        return [Reject(pointer=r.pointer, code="biometrics", message=text, key=found.key) for r in cleaned.removed]
    body = cleaned.body
    # Before, as with every order of a person: what came of it stands with the message, whose attributes name the record.
    async with core.pool.acquire() as connection, connection.transaction():
        await note(core, connection, actor, "correct", subject=record, why=why)
    arrival = Arrival(
        source=Source("operator", actor), type=found.type, body=body, content_type="application/json",
        digest=hashlib.sha256(core.hasher(body).encode()).digest(), drafts=[found], school=found.school, scope=scope,
        attributes={"corrects": str(record), "why": why},
    )  # fmt: skip
    (accepted,) = await accept(core, [arrival])
    return accepted


def as_pushed(draft: Draft | dict[str, Any]) -> dict[str, Any]:
    """A record's content in the form a school pushes: codes without what the hub made of them."""
    body = draft.body if isinstance(draft, Draft) else draft

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == {"system", "code", "canonical"}:
                return {"system": value["system"], "code": value["code"]}
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return value

    result: dict[str, Any] = plain(body)
    return result
