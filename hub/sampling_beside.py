"""Samples of what is no reply to a delivery's own call: an inquiry's answer, a page of a list, an event the counterparty told.

One concern: these three, by the rules of `hub.sampling`: a sample stands for itself, and nothing original is in it.
"""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import to_builtins
from msgspec.structs import replace

from adapters.samples import plain, plain_call
from hub.kernel.ledger.evidence import Exchanged
from hub.kernel.ports import Draft, Inbound, Reply
from hub.retelling import Retelling
from hub.sampling import (
    Made,
    Refused,
    Telling,
    as_it_was,
    case_files,
    learn,
    lines,
    reply_files,
    reply_of,
    reply_retold,
    retold,
    values_of,
)
from hub.wiring import House


def settled(house: House, found: Exchanged, key: bytes | None = None) -> Made:
    """The sample of an inquiry and what it settled. `found.about`: the call it asks about. Raises `Refused`."""
    about, row = found.about, found.call
    assert about is not None
    reply = reply_of(found)
    told = Telling.of(house, row, key)
    before = as_it_was(house, about, told.before)
    after = retold(house, about, before, told.stand_ins, told.after)
    place = list(about.call["deliveries"]).index(row["deliveries"][0])
    asked, asks = (w.adapter.inquire(w.call.deliveries[place], w.call) for w in (before, after))
    if asked.body != bytes(row["body"] or b"") or (asked.method, asked.path) != (row["method"], row["path"]):
        raise Refused("bộ chuyển đổi giờ hỏi lại theo cách khác", "the adapter asks in another way now")
    learn(before.call, after.call, told.stand_ins)
    learn(asked, asks, told.stand_ins)
    was = before.adapter.settle(asked, reply)
    if was.reference:
        told.stand_ins.of("code", was.reference)
    retelling = Retelling(told.manifest, told.stand_ins)
    again = reply_retold(retelling, reply, row["content_type"])
    now = after.adapter.settle(asks, again)
    if was.verdict != now.verdict or (was.going_on is None) != (now.going_on is None):
        raise Refused("trả lời sau khi thay được hiểu khác", "the answer told again is understood differently")
    names = [o.name for o in told.manifest.outcomes if o.kind == now.verdict]
    if not names:
        raise Refused(f"bản khai không có kết cục {now.verdict}", f"the manifest declares no outcome {now.verdict}")
    case = {"what": "settle", "outcome": names[0], "delivery": after.call.deliveries[place]} | told.case
    if after.state is not None:
        case["state"] = after.state
    files = {"outgoing.json": lines(plain(after.outgoing)), "settlement.json": lines(plain(now))}
    files |= case_files(case) | reply_files(again)
    told.check(files, *values_of(asks), *again.headers)
    return Made(system=told.manifest.system, outcome=names[0], files=files, blanked=retelling.blanked)


def heard(house: House, row: Any, key: bytes | None = None) -> Made:
    """The sample of a page pulled or an event told, from its stored message. Raises `Refused`."""
    if row["body"] is None:
        raise Refused("nội dung đã hết hạn lưu và đã bị xoá", "a body has expired and was erased")
    told = Telling.of(house, row, key)
    if "pull" in row["attributes"]:
        return _page(told, row, str(row["attributes"]["pull"]))
    return _event(told, row)


def _page(told: Telling, row: Any, what: str) -> Made:
    """Told as the first page of its list: which page it was says nothing about what stands on it."""
    cursor, at = row["attributes"].get("cursor") or None, row["received_at"]
    reply = Reply(status=200, body=bytes(row["body"]), headers={"content-type": row["content_type"]})
    was = told.before.pulled(what, told.before.pull(what, cursor, at), reply)
    for draft in was.drafts:
        told.stand_ins.record(draft.type, draft.body)
    retelling = Retelling(told.manifest, told.stand_ins)
    again = reply_retold(retelling, reply, row["content_type"])
    now = told.after.pulled(what, told.after.pull(what, cursor, at), again)
    if _shape(was.drafts + was.rejects) != _shape(now.drafts + now.rejects) or (was.next is None) != (now.next is None):
        raise Refused("trang sau khi thay được hiểu khác", "the page told again is understood differently")
    golden = plain(replace(now, next=None)) | {"next": plain_call(now.next) if now.next else None}
    case = {"what": "pulled", "pull": what, "at": at.isoformat()} | ({"cursor": cursor} if cursor else {}) | told.case
    files = case_files(case) | reply_files(again) | {"pulled.json": lines(golden)}
    told.check(files, *again.headers)
    return Made(system=told.manifest.system, outcome="pulled", files=files, blanked=retelling.blanked)


def _event(told: Telling, row: Any) -> Made:
    body = _placed(orjson.loads(row["body"]), str(row["attributes"]["callback"]))
    inbound = Inbound(
        source=told.manifest.system,
        type="callback",
        content_type=row["content_type"],
        body=body,
        received_at=row["received_at"],
    )
    was = told.before.decode(inbound)
    for one in was:
        if isinstance(one, Draft):
            told.stand_ins.record(one.type, one.body)
    retelling = Retelling(told.manifest, told.stand_ins)
    again = retelling.body(body, row["content_type"])
    now = told.after.decode(replace(inbound, body=again))
    if _shape(was) != _shape(now):
        raise Refused("sự kiện sau khi thay được hiểu khác", "the event told again is understood differently")
    golden = [{"kind": type(made).__name__, **plain(made)} for made in now]
    files = case_files({"what": "decode"} | told.case) | {"body": again, "decoded.json": lines(golden)}
    files["inbound.json"] = lines(to_builtins(replace(inbound, body=b"")))
    told.check(files)
    return Made(system=told.manifest.system, outcome="decode", files=files, blanked=retelling.blanked)


def _shape(made: list[Any]) -> list[tuple[str, str]]:
    """What each item is understood as, whoever it is about."""
    return [("draft", one.type) if isinstance(one, Draft) else ("reject", one.code) for one in made]


def _placed(item: Any, pointer: str) -> bytes:
    """An item kept by itself, back at the place it was told at; in a list it is the only one now."""
    for name in reversed(pointer.strip("/").split("/") if pointer != "/" else []):
        item = [item] if name.isdigit() else {name: item}
    return orjson.dumps(item)
