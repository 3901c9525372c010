"""Explaining every fault of an item that the typed decoder refused.

One concern: the slow path. It holds an item against the JSON Schema generated from the models and turns each error
into a reject with its place and a sentence. It must never run for good items, and never raises for any JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from hub.kernel.ports import Reject, Text
from mappings.canonical.checks import check
from mappings.canonical.messages import shape_message
from mappings.canonical.schema import item_schema

if TYPE_CHECKING:
    import jsonschema

MAX_DEPTH = 16
MAX_FAULTS = 50
"""More faults than this in one item help nobody."""


def _is_date(value: object) -> bool:
    return not isinstance(value, str) or _converts(value, date)


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or _converts(value, datetime)


def _converts(value: str, kind: type) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


@cache
def _validator(type_: str, cancel: bool) -> jsonschema.protocols.Validator:
    import jsonschema  # with the first item that needs explaining

    formats = jsonschema.FormatChecker(formats=())
    formats.checks("date")(_is_date)
    formats.checks("date-time")(_is_time)
    return jsonschema.Draft202012Validator(item_schema(type_, cancel=cancel), format_checker=formats)


def escape(name: str) -> str:
    """A member name as a part of an RFC 6901 pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def too_deep(value: Any) -> bool:
    """True when JSON nests deeper than `MAX_DEPTH`. Iterative: depth is what makes recursion unsafe."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def deep_reject(pointer: str) -> Reject:
    """The refusal of JSON nested too deep."""
    return Reject(
        pointer=pointer,
        code="too_deep",
        message=Text(f"Dữ liệu lồng nhau quá {MAX_DEPTH} tầng.", f"The data is nested deeper than {MAX_DEPTH} levels."),
    )


def explain(type_: str, item: Any, pointer: str, today: str, fallback: str) -> list[Reject]:
    """Every fault of an item. `fallback`: the decoder's own words, used only when the schema finds nothing."""
    if too_deep(item):
        return [deep_reject(pointer)]
    cancel = isinstance(item, dict) and item.get("event") == "CANCEL"
    key = _key(type_, item)
    found: dict[tuple[str, str], Reject] = {}
    for place, kind, rule, name in _faults(_validator(type_, cancel), item):
        code, message = shape_message(kind, place, rule, name)
        found.setdefault((place, code), Reject(pointer=pointer + place, code=code, message=message, key=key))
        if len(found) >= MAX_FAULTS:
            break
    # With the list cut short, which fields are sound is not known: their sense cannot be looked at.
    if len(found) < MAX_FAULTS and isinstance(item, dict) and isinstance(item.get("data"), dict):
        bad = frozenset(place.removeprefix("/data/") for place, _ in found if place.startswith("/data/"))
        for path, code, message in check(type_, item["data"], today, bad):
            place = f"/data/{path}"
            found.setdefault((place, code), Reject(pointer=pointer + place, code=code, message=message, key=key))
    if not found:
        words = Text(f"Bản ghi không hợp lệ ({fallback[:200]}).", f"The record is not valid ({fallback[:200]}).")
        return [Reject(pointer=pointer, code="invalid", message=words, key=key)]
    return list(found.values())


def _key(type_: str, item: Any) -> str | None:
    """The business key as far as it can be read, so that the sender finds the row."""
    from mappings.canonical.registry import TYPES

    data = item.get("data") if isinstance(item, dict) else None
    fields = TYPES[type_].key_fields
    if not isinstance(data, dict) or not all(isinstance(data.get(f), str) for f in fields):
        return None
    return "/".join(data[f] for f in fields)[:200]


def _faults(validator: jsonschema.protocols.Validator, item: Any) -> Iterator[tuple[str, str, Any, str]]:
    """(place, keyword, rule, field name) of every schema error; alternatives are told as the one that was meant."""
    for error in validator.iter_errors(item):
        yield from _fault(error)


def _fault(error: jsonschema.ValidationError) -> Iterator[tuple[str, str, Any, str]]:
    parts = [escape(str(p)) for p in error.absolute_path]
    place = "".join(f"/{p}" for p in parts)
    kind = str(error.validator)
    if kind == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield f"{place}/{escape(name)}", kind, None, name
    elif kind == "additionalProperties":
        for name in error.instance:
            if name not in error.schema.get("properties", {}):
                yield f"{place}/{escape(name)}", kind, None, name
    elif kind == "anyOf":
        yield from _alternatives(error, place, parts[-1] if parts else "")
    else:
        yield place, kind, error.validator_value, parts[-1] if parts else ""


def _alternatives(error: jsonschema.ValidationError, place: str, name: str) -> Iterator[tuple[str, str, Any, str]]:
    groups: dict[int, list[jsonschema.ValidationError]] = {}
    for inner in error.context or ():
        groups.setdefault(int(inner.schema_path[0]), []).append(inner)
    # The alternative whose type fits is the one the sender meant: its faults are the useful ones.
    meant = [g for g in groups.values() if not any(e.validator == "type" and not e.path for e in g)]
    if meant:
        for inner in meant[0]:
            yield from _fault(inner)
    elif any("Coded" in str(option) for option in error.validator_value):
        yield place, "code", None, name
    else:
        types = [t for option in error.validator_value if (t := _type_of(option)) not in (None, "null")]
        yield place, "type", types or ["string"], name


def _type_of(option: dict[str, Any]) -> str | None:
    if "$ref" in option:
        return "object"
    kind = option.get("type")
    return kind if isinstance(kind, str) else None
