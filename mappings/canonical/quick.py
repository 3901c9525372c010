"""Reading an item that is in order: decoded, tidied, coded and standardised in one pass over its members.

One concern: speed for the many items nothing is wrong with. Whatever gives pause (a fault, another spelling, a member that
could hide something) is declined and left to `mappings.canonical.parse`, which says what is wrong; what is taken here
is exactly what the long way would have made of it. It must never refuse an item, nor raise for any input.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from functools import cache
from typing import Any

import msgspec

from hub.kernel.ports import Draft
from mappings.canonical.checks import FIRST_UPDATE, check
from mappings.canonical.parse import FIRST_LOCAL, VIETNAM, check_in, latest_of, text_lines
from mappings.canonical.registry import TYPES, WARDS_CHANGED, Body, TypeSpec
from mappings.canonical.schema import envelope
from mappings.catalogue import Catalogue

Sure = Callable[[bytes, int, list[str]], bool]
"""`sure(raw, members, texts)`: whether the bytes hold nothing but what was decoded: so many members (the envelope's own
with them), and no text of `LONG` characters or more but these."""

LONG = 32
_LONG_FRACTION = re.compile(rb"\.[0-9]{10}")
"""A moment may be followed by any number of digits, which no text that was decoded shows."""

_LINE, _LINES, _CODE, _WARD, _INSIDE = range(5)
_CODES_KEPT = 2000
"""Spellings of one field's codes remembered: more than any table has, and no more than that for a sender who invents."""

Codes = dict[str, tuple[str, str, str | None]]
"""Code as sent → (system, code, canonical code)."""


class _Member(msgspec.Struct, frozen=True):
    """What is to be done with one member of an object."""

    kind: int
    inside: dict[str, _Member] = {}
    place: int = 0
    """Of a code: place of its spellings among the type's; a ward's old table has the next one."""
    system: str = ""
    target: str = ""


class _Type:
    """One record type, compiled."""

    def __init__(self, spec: TypeSpec) -> None:
        self.spec = spec
        self.decode = msgspec.json.Decoder(envelope(spec.name)).decode
        self.places: list[tuple[str, str]] = []
        """Of each place the code system of a plain code, and the canonical one."""
        self.members: dict[str, _Member] = {}
        for path in spec.names:
            self._add(path.split("/"), _Member(_LINE))
        for path in spec.texts:
            self._add([path], _Member(_LINES))
        for path, (system, target) in spec.code_fields.items():
            parts = path.split("/")
            ward = system == "vn-ward" and len(parts) > 1
            self._add(parts, _Member(_WARD if ward else _CODE, {}, len(self.places), system, target))
            self.places += [(system, target), ("vn-ward-2024", target)] if ward else [(system, target)]
        self._catalogue: Catalogue | None = None
        self._codes: dict[int, list[Codes]] = {}

    def _add(self, parts: list[str], member: _Member) -> None:
        members = self.members
        for part in parts[:-1]:
            if part != "*":
                members = members.setdefault(part, _Member(_INSIDE, {})).inside
        members[parts[-1]] = member

    def codes(self, catalogue: Catalogue, period: int) -> list[Codes]:
        """The spellings met so far in a period of the catalogue, place by place."""
        if self._catalogue is not catalogue:
            self._catalogue, self._codes = catalogue, {}
        found = self._codes.get(period)
        if found is None:
            found = self._codes[period] = [{} for _ in self.places]
        return found


@cache
def _compiled(type_: str) -> _Type:
    return _Type(TYPES[type_])


class _Declined(Exception):
    """The item is left to the long way."""


class _Pass:
    """One item's pass: what it needs of its day, and what it found."""

    __slots__ = ("catalogue", "codes", "old", "on", "period", "places", "texts")

    def __init__(self, compiled: _Type, catalogue: Catalogue, on: date) -> None:
        self.catalogue, self.on = catalogue, on
        self.period = catalogue.period(on)
        self.codes = compiled.codes(catalogue, self.period)
        self.places = compiled.places
        self.old = on < WARDS_CHANGED
        self.texts: list[str] = []

    def of(self, node: Body, members: dict[str, _Member]) -> int:
        """Put an object in its stored form, in place; how many members it has with those inside. Raises `_Declined`."""
        count = len(node)
        for name, value in node.items():
            member = members.get(name)
            kind = value.__class__
            if kind is str:
                if len(value) >= LONG:
                    self.texts.append(value)
                if member is None:
                    continue
                todo = member.kind
                if todo == _LINE:
                    if not value.isascii():
                        value = unicodedata.normalize("NFC", value)
                    value = " ".join(value.split())
                    if not value or not value.isprintable():
                        raise _Declined
                    node[name] = value
                elif todo == _CODE:
                    known = self.codes[member.place].get(value) or self._learn(member.place, value)
                    node[name] = {"system": known[0], "code": known[1], "canonical": known[2]}
                elif todo == _WARD:
                    day = node.get("as_of")
                    place = member.place + ((date.fromisoformat(day) < WARDS_CHANGED) if day else self.old)
                    known = self.codes[place].get(value) or self._learn(place, value)
                    node[name] = {"system": known[0], "code": known[1], "canonical": known[2]}
                elif todo == _LINES:
                    node[name] = _lines(value)
            elif kind is dict:
                if member is None:
                    count += self.of(value, _NOTHING)
                elif member.kind == _INSIDE:
                    count += self.of(value, member.inside)
                else:
                    count += self._own_system(node, name, value, member)
            elif kind is list:
                inside = _NOTHING if member is None else member.inside
                for item in value:
                    if item.__class__ is not dict:
                        raise _Declined
                    count += self.of(item, inside)
        return count

    def _learn(self, place: int, value: str) -> tuple[str, str, str | None]:
        """A plain code not met before."""
        system, target = self.places[place]
        code = value.strip()
        if not code or not code.isprintable():
            raise _Declined
        known = system, code, self.catalogue.resolve(system, code, target, self.on, self.period).code
        codes = self.codes[place]
        if len(codes) >= _CODES_KEPT:
            codes.clear()
        codes[value] = known
        return known

    def _own_system(self, node: Body, name: str, value: Body, member: _Member) -> int:
        """A code that names its system."""
        if member.kind not in (_CODE, _WARD):
            raise _Declined
        self.texts += [text for text in value.values() if text.__class__ is str and len(text) >= LONG]
        system, code = value["system"], value["code"].strip()
        if not code or not code.isprintable():
            raise _Declined
        found = self.catalogue.resolve(system, code, member.target, self.on, self.period)
        node[name] = {"system": system, "code": code, "canonical": found.code}
        # A `canonical` that is None was not sent; one sent as null is a member too few here, and for a closer look.
        return len(value) - (value["canonical"] is None)


_NOTHING: dict[str, _Member] = {}


def _lines(text: str) -> str:
    faults: list[Any] = []
    text = text_lines(text, "", faults)
    if faults:
        raise _Declined
    return text


def read_quick(
    type: str, raw: bytes, pointer: str, received_at: datetime, catalogue: Catalogue, sure: Sure
) -> Draft | None:
    """`parse_item` and `standardise_record` in one, for the bytes of an item in order; None where they have to look.

    `sure` is asked whether the bytes hold nothing beside what was decoded; it may decline. Raises nothing.
    """
    compiled = _compiled(type)
    try:
        item: Any = compiled.decode(raw)
        body: Body = msgspec.to_builtins(item.data)
        today, latest, latest_local = latest_of(received_at)
        updated_at: datetime | None = item.updated_at
        members = 1
        if updated_at is None:
            updated_at = received_at
            on = updated_at.astimezone(VIETNAM).date()
        else:
            members = 2
            if updated_at.tzinfo is None:
                if not FIRST_LOCAL <= updated_at <= latest_local:
                    return None
                on = updated_at.date()
                updated_at = updated_at.replace(tzinfo=VIETNAM)
            else:
                if not FIRST_UPDATE <= updated_at <= latest:
                    return None
                on = updated_at.astimezone(VIETNAM).date()
        event = item.event
        if event is not None:
            members += 1
        one = _Pass(compiled, catalogue, on)
        members += one.of(body, compiled.members)
    except (_Declined, msgspec.MsgspecError, RecursionError, UnicodeError, ValueError, TypeError, OverflowError):
        return None
    if not sure(raw, members, one.texts) or _LONG_FRACTION.search(raw) is not None or check(type, body, today):
        return None
    if type == "checkin":
        check_in(body, received_at)
    return Draft(
        type=type, key=compiled.spec.key(body), body=body, event=event or "UPDATE", updated_at=updated_at,
        school=body.get("school_code"), pointer=pointer,
    )  # fmt: skip


__all__ = ["LONG", "Sure", "read_quick"]
