"""What the portal tells by itself: a filing taken, changed, paid for.

One concern: one callback's items into progress of filings. How such a callback looks is assumed and stands in the
profile. It must never raise, whatever the bytes, and never drop an item: what cannot be understood is a reject with its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from adapters.public_service.shapes import line, lines, moment
from hub.kernel.ports import Draft, Inbound, Reject, Text
from mappings.canonical.models import FilingProgress

_SPEAKER = "Cổng Dịch vụ công quốc gia"


def decode(message: Inbound, rule: Mapping[str, Any]) -> list[Draft | Reject]:
    """Drafts and rejects of a callback's items, in their order, each with the item's pointer."""
    try:
        told = orjson.loads(message.body)
    except orjson.JSONDecodeError:
        told = None
    items = told.get(rule["items"]) if isinstance(told, dict) else None
    if not isinstance(items, list) or not 0 < len(items) <= rule["items_max"]:
        text = Text(
            f"Thông báo của Cổng phải có “{rule['items']}” gồm 1 đến {rule['items_max']} mục.",
            f"A callback must hold “{rule['items']}” with 1 to {rule['items_max']} items.",
        )
        return [Reject(pointer="", code="unreadable", message=text)]
    return [_item(item, f"/{rule['items']}/{place}", rule) for place, item in enumerate(items)]


def _item(item: Any, pointer: str, rule: Mapping[str, Any]) -> Draft | Reject:
    if not isinstance(item, dict):
        return _refused(pointer, "wrong_type", "Mục phải là đối tượng { … }.", "The item must be an object { … }.")
    number = line(item.get(rule["number"]), 60)
    kind = rule["kinds"].get(line(item.get(rule["kind"])) or "")
    at = moment(item.get(rule["at"]))
    if kind is None:
        return _refused(pointer, "unknown_event", "Loại sự kiện chưa biết.", "The kind of event is not known.", number)
    if at is None:
        return _refused(pointer, "invalid_time", "Thời gian không đọc được.", "The time cannot be read.", number)
    state = line(item.get(rule["state"])) or kind["state"]
    amount = _amount(item.get(rule["amount"]))
    due = moment(item.get(rule["due"]))
    body: dict[str, Any] = {
        "file_number": number,
        "handler": line(item.get(rule["handler"]), 120) or _SPEAKER,
        "handled_at": at.isoformat(),
        "content": lines(item.get(rule["content"]), 1000) or kind["vi"],
        "status": {"system": "filing-status", "code": state, "canonical": None} if state else None,
        "department": line(item.get(rule["department"])),
        "due_at": due.isoformat() if due else None,
        "said_by": "portal",
        "event_id": line(item.get(rule["id"]), 60),
    }
    if kind.get("payment"):
        if amount is None:
            return _refused(pointer, "invalid_amount", "Số tiền không đọc được.", "The amount cannot be read.", number)
        paid = line(item.get(rule["payment"]), 60)
        body["payment"] = {"amount": amount} | ({"code": paid} if paid else {})
    try:
        kept = msgspec.to_builtins(msgspec.convert({k: v for k, v in body.items() if v is not None}, FilingProgress))
    except msgspec.ValidationError as error:
        return _refused(
            pointer, "invalid_event", f"Sự kiện không hợp lệ: {error}.", f"Not a valid event: {error}.", number
        )
    # As the model has it, but for what it leaves out by default or turns into its own form.
    kept |= {"handled_at": body["handled_at"], "status": body["status"], "said_by": "portal"}
    return Draft(
        type="filing_progress", key=f"{number}/{body['handled_at']}", body=kept, updated_at=at, pointer=pointer
    )


def _amount(value: Any) -> int | None:
    """Đồng, as a whole number or its digits."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 13:
        return int(value)
    return value if isinstance(value, int) and 0 <= value < 10**12 else None


def _refused(pointer: str, code: str, vi: str, en: str, key: str | None = None) -> Reject:
    return Reject(pointer=pointer, code=code, message=Text(vi, en), key=key)
