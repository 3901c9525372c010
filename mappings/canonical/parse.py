"""Reading one item a school sent into a draft record.

One concern: `parse_item`. Good items take the hot path (one typed decode); refused ones are explained in full by
`mappings.canonical.explain`. It must never raise for any input, look up a school or a person, or standardise a code.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from functools import cache, lru_cache
from typing import Any

import msgspec

from hub.kernel.ports import Draft, Event, Reject, Text
from mappings.canonical.checks import FIRST_UPDATE, FUTURE_LIMIT, Fault, check, local_time
from mappings.canonical.explain import deep_reject, explain
from mappings.canonical.messages import say
from mappings.canonical.registry import TYPES, WARDS_CHANGED, Body, TypeSpec, holders
from mappings.canonical.schema import envelope, item_schema

VIETNAM = timezone(timedelta(hours=7), "Asia/Ho_Chi_Minh")
"""No summer time since 1975: a fixed offset is exact for every record the hub can get."""


FIRST_LOCAL = FIRST_UPDATE.astimezone(VIETNAM).replace(tzinfo=None)


class _Reader(msgspec.Struct, frozen=True):
    spec: TypeSpec
    decode: Callable[[bytes], Any]
    item: type[msgspec.Struct]
    cancel: type[msgspec.Struct]
    top_names: tuple[str, ...]
    deep_names: tuple[tuple[str, ...], ...]


@cache
def _reader(type_: str) -> _Reader:
    spec = TYPES[type_]
    return _Reader(
        spec,
        msgspec.json.Decoder(envelope(type_)).decode,
        envelope(type_),
        envelope(type_, cancel=True),
        tuple(p for p in spec.names if "/" not in p),
        tuple(tuple(p.split("/")) for p in spec.names if "/" in p),
    )


def parse_item(type: str, raw: bytes | dict[str, Any], pointer: str, received_at: datetime) -> Draft | list[Reject]:
    """Read one item `{event?, updated_at?, data}` of a record type.

    `raw`: the item's JSON bytes, or the item already parsed. `pointer`: RFC 6901 pointer of the item in its message.
    A naive `updated_at` is local time of Vietnam; without one the time of receipt stands. Returns the draft, its codes
    not yet standardised, or every fault found. Raises nothing.
    """
    if type not in TYPES:
        return [Reject(pointer=pointer, code="unknown_type", message=_unknown_type(type))]
    reader = _reader(type)
    try:
        item: Any = reader.decode(raw) if isinstance(raw, bytes) else msgspec.convert(raw, reader.item)
        body: Body = msgspec.to_builtins(item.data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError, TypeError) as error:
        return _refused(reader, raw, pointer, received_at, str(error))
    return _finish(reader, item.event, item.updated_at, body, pointer, received_at)


@cache
def field_names(type: str) -> frozenset[str]:
    """Every member name an item of a type may have, at any depth: no other passes its decoder."""
    schema = item_schema(type)
    return frozenset(n for part in (schema, *schema["$defs"].values()) for n in part.get("properties", {}))


def _unknown_type(type_: str) -> Text:
    known = ", ".join(TYPES)
    return Text(
        f"Không có loại bản ghi “{type_[:40]}”; các loại: {known}.",
        f"There is no record type “{type_[:40]}”; the types are: {known}.",
    )


def _refused(
    reader: _Reader, raw: bytes | dict[str, Any], pointer: str, received_at: datetime, words: str
) -> Draft | list[Reject]:
    """The slow path: a CANCEL item that only has its key fields, or an item whose faults must be told."""
    try:
        parsed = msgspec.json.decode(raw) if isinstance(raw, bytes) else raw
    except RecursionError:
        return [deep_reject(pointer)]
    except (msgspec.MsgspecError, UnicodeError, ValueError):
        message = Text("Nội dung không phải JSON hợp lệ (UTF-8).", "The content is not valid JSON (UTF-8).")
        return [Reject(pointer=pointer, code="invalid_json", message=message)]
    if isinstance(parsed, dict) and parsed.get("event") == "CANCEL":
        try:
            cancelled: Any = msgspec.convert(parsed, reader.cancel)
            body = {k: v for k, v in msgspec.to_builtins(cancelled.data).items() if v is not None}
        except (msgspec.MsgspecError, RecursionError, ValueError, TypeError) as error:
            words = str(error)
        else:
            return _finish(reader, "CANCEL", cancelled.updated_at, body, pointer, received_at)
    return explain(reader.spec.name, parsed, pointer, latest_of(received_at)[0], words)


def _finish(
    reader: _Reader, event: Event | None, updated_at: datetime | None, body: Body, pointer: str, received_at: datetime
) -> Draft | list[Reject]:
    spec = reader.spec
    faults: list[Fault] = []
    today, latest, latest_local = latest_of(received_at)
    if updated_at is None:
        updated_at = received_at
    else:
        if updated_at.tzinfo is None:
            # Compared as local times: a comparison across zones costs ten times as much.
            plausible = FIRST_LOCAL <= updated_at <= latest_local
            updated_at = updated_at.replace(tzinfo=VIETNAM)
        else:
            plausible = FIRST_UPDATE <= updated_at <= latest
        if not plausible:
            words = ("phải từ năm 2000 đến không quá một ngày sau giờ nhận", "must lie between 2000 and a day from now")
            faults.append(("../updated_at", "implausible_time", say("updated_at", *words)))
            updated_at = received_at
    for name in reader.top_names:
        if (text := body.get(name)) is not None:
            body[name] = _tidy(text, name, faults)
    for parts in reader.deep_names:
        if parts[0] in body:
            for holder in holders(body, parts):
                if (text := holder.get(parts[-1])) is not None:
                    holder[parts[-1]] = _tidy(text, "/".join(parts), faults)
    for name in spec.texts:
        if (text := body.get(name)) is not None:
            body[name] = text_lines(text, name, faults)
    _code(spec, body, updated_at, faults)
    faults += check(spec.name, body, today)
    if spec.name == "checkin":
        check_in(body, received_at)
    key = spec.key(body)
    if faults:
        return [_reject(pointer, path, code, message, key) for path, code, message in faults]
    return Draft(
        type=spec.name,
        key=key,
        body=body,
        event=event or "UPDATE",
        updated_at=updated_at,
        school=body.get("school_code"),
        pointer=pointer,
    )


def latest_of(received_at: datetime) -> tuple[str, datetime, datetime]:
    """The local day of receipt (YYYY-MM-DD) and the latest believable update, as an instant and as local time."""
    return _latest_of(received_at.replace(microsecond=0))  # to the second: many items are received in one


@lru_cache(maxsize=256)
def _latest_of(received_at: datetime) -> tuple[str, datetime, datetime]:
    local = received_at.astimezone(VIETNAM)
    latest = local + FUTURE_LIMIT
    return local.date().isoformat(), latest, latest.replace(tzinfo=None)


def _reject(pointer: str, path: str, code: str, message: Text, key: str) -> Reject:
    place = path.removeprefix("../") if path.startswith("../") else f"data/{path}"
    return Reject(pointer=f"{pointer}/{place}", code=code, message=message, key=key)


def _tidy(text: str, path: str, faults: list[Fault]) -> str:
    """One line of text in composed form, no blanks around or doubled inside."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = " ".join(text.split())
    if not text.isprintable():
        faults.append((path, "invalid_form", say(path, "có ký tự điều khiển", "has control characters")))
    elif not text:
        faults.append((path, "too_short", say(path, "không được để trống", "must not be empty")))
    return text


def text_lines(text: str, path: str, faults: list[Fault]) -> str:
    """Several lines of text, each tidied."""
    lines = [_tidy(line, path, faults) if line.strip() else "" for line in text.splitlines()]
    joined = "\n".join(lines).strip()
    if not joined:
        faults.append((path, "too_short", say(path, "không được để trống", "must not be empty")))
    return joined


def _code(spec: TypeSpec, body: Body, updated_at: datetime, faults: list[Fault]) -> None:
    """Give every code its stored form; nobody but the hub's own tables sets `canonical`."""
    for name, system, _ in spec.top_codes:
        if (value := body.get(name)) is not None:
            if value.__class__ is str and value.isalnum():
                # Most codes by far: nothing to trim, nothing to refuse.
                body[name] = {"system": system, "code": value, "canonical": None}
            else:
                body[name] = _coded(value, system, name, faults)
    for parts, path, system, _ in spec.deep_codes:
        if parts[0] in body:
            for holder in holders(body, parts):
                if (value := holder.get(parts[-1])) is not None:
                    if isinstance(value, str) and system == "vn-ward":
                        day = holder.get("as_of")
                        if (date.fromisoformat(day) if day else updated_at.astimezone(VIETNAM).date()) < WARDS_CHANGED:
                            system = "vn-ward-2024"
                    holder[parts[-1]] = _coded(value, system, path, faults)


def _coded(value: str | dict[str, Any], system: str, path: str, faults: list[Fault]) -> dict[str, Any]:
    if isinstance(value, str):
        code = value.strip()
    else:
        system, code = value["system"], value["code"].strip()
    if not code.isprintable() or not code:
        faults.append((path, "invalid_code", say(path, "không phải mã hợp lệ", "is not a valid code")))
    return {"system": system, "code": code, "canonical": None}


def check_in(body: Body, received_at: datetime) -> None:
    """Fill what a check-in sent without a gate's help lacks: when it came and, in local time, when it was."""
    body.setdefault("assumed_zone", VIETNAM.tzname(None))
    body.setdefault("received_at", received_at.isoformat())
    if "corrected_time" not in body and body["assumed_zone"] == VIETNAM.tzname(None) and "device_time_raw" in body:
        instant = local_time(body["device_time_raw"])
        if instant is not None:
            body["corrected_time"] = instant
