"""Twelve ways a school's software gets a learner wrong, each with the place the refusal must name.

One concern: spoiling one item of a roster in exactly one way. It must never know how the hub checks: pointer and code
are what the interface's documentation promises for such an item.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from msgspec import Struct

Item = dict[str, Any]


class Fault(Struct, frozen=True):
    """One kind of faulty item: `place` is where the reject's pointer must end, `code` its reason."""

    name: str
    place: str
    code: str
    spoil: Callable[[Item, date], None]
    at_ledger: bool = False
    """True when the item alone looks right and only the hub's directory can refuse it."""


def _set(name: str, value: Any) -> Callable[[Item, date], None]:
    def spoil(item: Item, today: date) -> None:
        item["data"][name] = value

    return spoil


def _drop(item: Item, today: date) -> None:
    del item["data"]["full_name"]


def _short_number(item: Item, today: date) -> None:
    item["data"]["personal_number"] = item["data"]["personal_number"][:11]


def _other_year(item: Item, today: date) -> None:
    number = item["data"]["personal_number"]
    item["data"]["personal_number"] = f"{number[:4]}{(int(number[4:6]) + 1) % 100:02d}{number[6:]}"


def _other_sex(item: Item, today: date) -> None:
    number = item["data"]["personal_number"]
    item["data"]["personal_number"] = f"{number[:3]}{int(number[3]) ^ 1}{number[4:]}"


def _no_province(item: Item, today: date) -> None:
    item["data"]["personal_number"] = "999" + item["data"]["personal_number"][3:]


def _unborn(item: Item, today: date) -> None:
    # Far enough ahead for any clock; the number is left out so that this stays the only fault.
    item["data"]["birth_date"] = (today + timedelta(days=400)).isoformat()
    del item["data"]["personal_number"]


def _old_clock(item: Item, today: date) -> None:
    item["updated_at"] = "1998-01-01T00:00:00+07:00"


def _no_such_event(item: Item, today: date) -> None:
    item["event"] = "DELETE"


FAULTS: tuple[Fault, ...] = (
    Fault("no such day", "/data/birth_date", "invalid_date", _set("birth_date", "2016-02-30")),
    Fault("name missing", "/data/full_name", "required", _drop),
    Fault("name empty", "/data/full_name", "too_short", _set("full_name", "")),
    Fault("personal number of 11 digits", "/data/personal_number", "invalid_form", _short_number),
    Fault("personal number of another year", "/data/personal_number", "personal_number_birth_year", _other_year),
    Fault("personal number of the other sex", "/data/personal_number", "personal_number_sex", _other_sex),
    Fault("personal number of no province", "/data/personal_number", "personal_number_province", _no_province),
    Fault("born in the future", "/data/birth_date", "implausible_date", _unborn),
    Fault("number instead of text", "/data/class_code", "wrong_type", _set("class_code", 11)),
    Fault("school nobody knows", "", "unknown_school", _set("school_code", "3199999999"), at_ledger=True),
    Fault("clock of the last century", "/updated_at", "implausible_time", _old_clock),
    Fault("event nobody knows", "/event", "not_allowed", _no_such_event),
)
"""Twelve, one for each faulty record of the city morning."""
