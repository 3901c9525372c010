"""Rules a record's values must keep beyond their shape.

One concern: sense (a personal number against birth date and sex, dates that can be, a file number's day). Each rule
looks only at fields whose shape is right, so that all faults of an item are told at once. It must never look anything
up outside the item and the code tables, and never repeats a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from vn_ident.tables import PROVINCES

from hub.kernel.ports import Text
from mappings.canonical.messages import say

Body = dict[str, Any]
Fault = tuple[str, str, Text]
"""(path in the record, reject code, message)"""

_BIRTH_PROVINCES = frozenset(code for code, _ in PROVINCES)
_MALE, _FEMALE = "male", "female"
_OLDEST = "1900-01-01"
_DATES = {"learner": ("enrolled_on", "status_since"), "staff": ("joined_on",)}


def personal_number_faults(number: str, birth_date: str | None, sex: str | None, path: str) -> list[Fault]:
    """Faults of a 12-digit number: province of registration, birth year and sex (digits 1-3, 4, 5-6).

    There is no check digit, so a number that passes may still be wrong. `birth_date` as YYYY-MM-DD; `sex` as the
    canonical code; either None when not known.
    """
    faults: list[Fault] = []
    if number[:3] not in _BIRTH_PROVINCES:
        message = say(path, "có 3 số đầu không phải mã tỉnh", "starts with three digits that are no province's code")
        faults.append((path, "personal_number_province", message))
    digit = ord(number[3]) - 48
    if birth_date is not None and (digit // 2) * 100 + 1900 + int(number[4:6]) != int(birth_date[:4]):
        message = say(path, "không khớp năm sinh", "does not agree with the year of birth")
        faults.append((path, "personal_number_birth_year", message))
    if sex in (_MALE, _FEMALE) and (digit % 2 == 0) != (sex == _MALE):
        message = say(path, "không khớp giới tính", "does not agree with the sex given")
        faults.append((path, "personal_number_sex", message))
    return faults


@lru_cache(maxsize=1024)
def _canonical_sex(system: str, code: str) -> str | None:
    from mappings.catalogue import base  # the catalogue needs the registry: importing it late breaks the circle

    return base().standardise(system, code, "vn-sex", date.max).code


def _sex(body: Body) -> str | None:
    """Canonical sex when the tables know it; None otherwise: an unmapped code is no fault."""
    value = body.get("sex")
    if isinstance(value, dict):
        return _canonical_sex(value["system"], value["code"])
    return _canonical_sex("vn-sex", value) if isinstance(value, str) else None


def _person(type_: str, body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    faults: list[Fault] = []
    born: str | None = body.get("birth_date") if good("birth_date") else None
    if born is not None and not _OLDEST <= born <= today:
        message = say("birth_date", "phải từ 1900 đến hôm nay", "must lie between 1900 and today")
        faults.append(("birth_date", "implausible_date", message))
        born = None
    number = body.get("personal_number")
    if number is not None and good("personal_number"):
        faults += personal_number_faults(number, born, _sex(body) if good("sex") else None, "personal_number")
    for name in _DATES[type_]:
        day = body.get(name)
        if day is None or not good(name):
            continue
        if (born is not None and day < born) or not _OLDEST <= day <= _plus_year(today):
            message = say(
                name, "không hợp lý so với ngày sinh và hôm nay", "is not plausible beside the date of birth and today"
            )
            faults.append((name, "implausible_date", message))
    return faults


def _plus_year(today: str) -> str:
    return f"{int(today[:4]) + 1}{today[4:]}"


def _learner(body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    faults = _person("learner", body, good, today)
    parents = body.get("parents")
    for i, parent in enumerate(parents if isinstance(parents, list) else ()):
        if isinstance(parent, dict) and (number := parent.get("personal_number")):
            path = f"parents/{i}/personal_number"
            if good(path):
                faults += personal_number_faults(number, None, None, path)
    return faults


def _staff(body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    return _person("staff", body, good, today)


def _class(body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    year = body.get("school_year")
    if year and good("school_year") and int(year[5:]) != int(year[:4]) + 1:
        message = say("school_year", "phải là hai năm liền nhau", "must name two years in a row")
        return [("school_year", "implausible_school_year", message)]
    return []


def _result(body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    faults = _class(body, good, today)
    seen: set[str] = set()
    marks = body.get("marks")
    for i, one in enumerate(marks if isinstance(marks, list) else ()):
        if not isinstance(one, dict) or not good(f"marks/{i}"):
            continue
        if one.get("mark") is None and one.get("rating") is None:
            path = f"marks/{i}/mark"
            faults.append((path, "required", say(path, "hoặc mức đánh giá còn thiếu", "or rating is missing")))
        subject = one.get("subject")
        code = str(subject.get("code") if isinstance(subject, dict) else subject)
        if code in seen:
            path = f"marks/{i}/subject"
            faults.append((path, "repeated", say(path, "có hai lần trong một kết quả", "is there twice in one result")))
        seen.add(code)
    return faults


def _health(body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    faults = _class(body, good, today)
    day = body.get("checked_on")
    if day is not None and good("checked_on") and not "2000-01-01" <= day <= today:
        message = say("checked_on", "phải từ năm 2000 đến hôm nay", "must lie between 2000 and today")
        faults.append(("checked_on", "implausible_date", message))
    return faults


def _filing(body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    faults: list[Fault] = []
    number = body.get("file_number")
    if number and good("file_number"):
        day = number.rsplit("-", 2)[1]
        try:
            date(2000 + int(day[:2]), int(day[2:4]), int(day[4:]))
        except ValueError:
            message = say(
                "file_number", "có phần yyMMdd không phải ngày có thật", "has a yyMMdd part that is no real day"
            )
            faults.append(("file_number", "implausible_date", message))
    applicant = body.get("applicant")
    if isinstance(applicant, dict) and good("applicant/identity_number"):
        identity = applicant.get("identity_number")
        if identity and len(identity) == 12:
            faults += personal_number_faults(identity, None, None, "applicant/identity_number")
    for i, one in enumerate(body.get("attachments") or () if good("attachments") else ()):
        if isinstance(one, dict) and not one.get("url") and not one.get("file"):
            path = f"attachments/{i}/url"
            faults.append((path, "required", say(path, "còn thiếu (hoặc cần “file”)", "is missing (or “file”)")))
    return faults


def _filing_progress(body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    faults: list[Fault] = []
    for name in ("said_by", "event_id", "payment", "quarantine"):
        if body.get(name) not in (None, "agency") and good(name):
            message = say(name, "do trục đặt, bên gửi không được ghi", "is set by the hub, never by a sender")
            faults.append((name, "not_allowed", message))
    return faults


def _none(body: Body, good: Callable[[str], bool], today: str) -> list[Fault]:
    return []


_RULES: dict[str, Callable[[Body, Callable[[str], bool], str], list[Fault]]] = {
    "learner": _learner,
    "staff": _staff,
    "class": _class,
    "study_result": _result,
    "health_check": _health,
    "filing": _filing,
    "filing_progress": _filing_progress,
}


def _always(path: str) -> bool:
    return True


def check(type_: str, body: Body, today: str, bad: frozenset[str] = frozenset()) -> list[Fault]:
    """Faults of a record's sense. `body`: plain data with dates as text; `today` as
    YYYY-MM-DD; `bad`: paths whose shape is already refused.
    """
    rules = _RULES.get(type_)
    if rules is None:
        return []
    if not bad:
        return rules(body, _always, today)

    def good(path: str) -> bool:
        return path not in bad and not any(b.startswith(path + "/") for b in bad)

    return rules(body, good, today)


_DEVICE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}", re.ASCII)


def local_time(raw: str) -> str | None:
    """The instant (ISO 8601, +07:00) of a device's naive local time, or None when it cannot be read.

    Only for the hub's own zone; a device family with another zone corrects the time itself.
    """
    if _DEVICE_TIME.fullmatch(raw) is None:
        return None
    try:
        return datetime.fromisoformat(raw.replace(" ", "T") + "+07:00").isoformat()
    except ValueError:
        return None


FIRST_UPDATE = datetime(2000, 1, 1, tzinfo=UTC)
"""Before any system that could send: an older time is a clock at its factory setting."""
FUTURE_LIMIT = timedelta(days=1)
"""How far ahead of the hub's clock an update may claim to be: more is a wrong clock or a trick to win every version."""
