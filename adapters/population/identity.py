"""Does the person the database knows agree with the person a school sent?

One concern: comparing one identity with one citizen of an answer. It must never return or log a personal value: only the
names of fields that differ, and how.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from lxml import etree
from msgspec import Struct
from vn_text import fold

from mappings.verdicts import SOFT, Verdict, reason

ANSWER_NS = "http://www.mic.gov.vn/dancu/1.0"
_Q = f"{{{ANSWER_NS}}}"
_NAME_PARTS = (_Q + "Ho", _Q + "ChuDem", _Q + "Ten")
_PLACE = (_Q + "MaTinhThanh", _Q + "MaQuanHuyen", _Q + "MaPhuongXa", _Q + "ChiTiet")
_NUMBER, _OLD_NUMBER, _NAME, _SEX = _Q + "SoDinhDanh", _Q + "SoCMND", _Q + "HoVaTen", _Q + "GioiTinh"
_BIRTH, _YEAR, _DAY = _Q + "NgayThangNamSinh", _Q + "Nam", _Q + "NgayThangNam"
_LIVES, _REGISTERED = _Q + "NoiOHienTai", _Q + "ThuongTru"
_TONES = frozenset("\u0300\u0301\u0303\u0309\u0323")
_HARD = frozenset({"full_name", "birth_date"})
"""Fields that make it another person when they differ in more than writing."""


class Address(Struct, frozen=True):
    """A place as the database writes it. An empty code was not stated."""

    province: str = ""
    district: str = ""
    ward: str = ""
    detail: str = ""


class Citizen(Struct, frozen=True):
    """One person of an answer, as far as anything is compared with them."""

    number: str = ""
    old_number: str = ""
    name: str = ""
    sex: str = ""
    birth: str = ""
    """`YYYYMMDD` or `YYYY`, zeros for what is not known."""
    residence: Address | None = None
    """Where they live; where that is not stated, where they are registered."""


class Asked(Struct, frozen=True):
    """The identity the question was about, as it went out. An empty text was not given and is not compared."""

    number: str
    name: str
    birth: str
    """`YYYYMMDD` or `YYYY`."""
    sex: str | None
    """Canonical code, None when the school gave none."""


class Comparison(Struct, frozen=True):
    """What differs between a question and one person found."""

    differing: tuple[str, ...]
    """Canonical field names, without their values."""
    reasons: tuple[str, ...] = ()
    """How each differs, and what the answer did not state: words of `mappings.verdicts`."""

    @property
    def verdict(self) -> Verdict:
        """`mismatch` when name or birth are another's, `partial` for everything less, `match` when nothing differs."""
        if not self.differing:
            return "match"
        parted = (said.rpartition(":") for said in self.reasons)
        hard = any(field in _HARD and how not in SOFT and how != "not_stated" for field, _, how in parted)
        return "mismatch" if hard else "partial"


def joined(one: Comparison, *more: Comparison) -> Comparison:
    """Several comparisons as one."""
    every = (one, *more)
    return Comparison(
        tuple(dict.fromkeys(f for c in every for f in c.differing)), tuple(r for c in every for r in c.reasons)
    )


def same_spelling(name: str) -> str:
    """The form in which two names are equal: letter case, spacing, Unicode composition and where in a syllable the tone
    mark is written (hoà, hòa) do not count; every other diacritic does."""
    words = []
    for word in unicodedata.normalize("NFD", name.casefold().replace("\u00f0", "\u0111")).split():
        tones = "".join(mark for mark in word if mark in _TONES)
        words.append("".join(mark for mark in word if mark not in _TONES) + tones if tones else word)
    return " ".join(words)


def name_differs(one: str, other: str) -> str | None:
    """How two names differ: None when they are the same, else `diacritics`, `order` or `different`."""
    if one == other or one.casefold() == other.casefold():
        return None  # as nearly every name is: no need to take it apart
    mine, theirs = same_spelling(one), same_spelling(other)
    if mine == theirs:
        return None
    if sorted(mine.split()) == sorted(theirs.split()):
        return "order"
    plain, found = fold(one), fold(other)
    if plain == found:
        return "diacritics"
    return "order" if sorted(plain.split()) == sorted(found.split()) else "different"


def _known(birth: str) -> str:
    """A birth date without the parts written as zeros: the database writes an unknown day or month so."""
    if len(birth) == 8:
        if birth[4:] == "0000":
            return birth[:4]
        if birth[6:] == "00":
            return birth[:6]
    return birth


def birth_differs(one: str, other: str) -> str | None:
    """How two births differ, as precisely as both are known: None, `swapped` (day and month) or `different`."""
    mine, theirs = _known(one), _known(other)
    precision = min(len(mine), len(theirs))
    if mine[:precision] == theirs[:precision]:
        return None
    if len(mine) == len(theirs) == 8 and mine[:4] + mine[6:] + mine[4:6] == theirs:
        return "swapped"
    return "different"


def is_about(citizen: Citizen, number: str) -> bool:
    """Whether a person found carries the number asked for; true when the answer states no number of that kind."""
    found = citizen.old_number if len(number) == 9 else citizen.number
    return not found or found == number


def compare(asked: Asked, citizen: Citizen, sexes: Mapping[str, str]) -> Comparison:
    """Compare name, birth date and sex. `sexes` gives the canonical code of each code of the database.

    A field either side leaves out is not compared.
    """
    differing: list[str] = []
    reasons: list[str] = []

    def note(field: str, how: str | None) -> None:
        if how is not None:
            reasons.append(reason(field, how))
            if how != "not_stated":
                differing.append(field)

    if not citizen.name:
        note("full_name", "not_stated")
    elif asked.name:
        note("full_name", name_differs(asked.name, citizen.name))
    if not _known(citizen.birth):
        note("birth_date", "not_stated")
    elif asked.birth:
        note("birth_date", birth_differs(asked.birth, citizen.birth))
    sex = sexes.get(citizen.sex)
    if sex is None:
        note("sex", "not_stated")
    elif asked.sex is not None and asked.sex != sex:
        note("sex", "different")
    return Comparison(tuple(differing), tuple(reasons))


def nearest(asked: Asked, people: Sequence[Citizen], sexes: Mapping[str, str]) -> tuple[Citizen, Comparison] | None:
    """The person of an answer who bears the number and agrees best; None when nobody bears it."""
    about = [(one, compare(asked, one, sexes)) for one in people if is_about(one, asked.number)]
    return min(about, key=lambda found: len(found[1].differing), default=None)


# ------------------------------------------------------------------------------------- out of an answer


def _texts(holder: etree._Element) -> dict[Any, str]:
    """Children's texts by tag, in one pass: each is asked for by name a moment later."""
    return {child.tag: text.strip() if (text := child.text) else "" for child in holder}


def full_name(holder: etree._Element | None) -> str:
    """A name written as one text, or as Ho, ChuDem and Ten; the whole name may sit in Ten with the others empty."""
    if holder is None:
        return ""
    found = _texts(holder)
    parts = [part for tag in _NAME_PARTS if (part := found.get(tag))]
    return " ".join(parts) if parts else (holder.text or "").strip()


def _address(holder: etree._Element | None) -> Address | None:
    if holder is None:
        return None
    say = _texts(holder).get
    province, district, ward, detail = _PLACE
    found = Address(say(province, ""), say(district, ""), say(ward, ""), say(detail, ""))
    return found if found.province or found.ward or found.detail else None


def _born(holder: etree._Element | None) -> str:
    if holder is None:
        return ""
    dated = _texts(holder)
    return _known(dated.get(_DAY, "")) or dated.get(_YEAR, "")


def citizen_of(element: etree._Element) -> Citizen:
    """One `CongDan` element, whose schema has been checked."""
    found = {child.tag: child for child in element}

    def text(tag: str) -> str:
        child = found.get(tag)
        return "" if child is None or (said := child.text) is None else said.strip()

    return Citizen(
        text(_NUMBER),
        text(_OLD_NUMBER),
        full_name(found.get(_NAME)),
        text(_SEX),
        _born(found.get(_BIRTH)),
        _address(found.get(_LIVES)) or _address(found.get(_REGISTERED)),
    )


def citizen_of_json(told: Mapping[str, Any]) -> Citizen:
    """One person of a JSON answer: the same fields, the first letter small, a name or a birth also as plain text."""

    def text(value: Any) -> str:
        return value.strip() if isinstance(value, str) else ""

    def inner(value: Any) -> Mapping[str, Any]:
        return value if isinstance(value, Mapping) else {}

    def address(value: Any) -> Address | None:
        held = inner(value)
        found = Address(*(text(held.get(n)) for n in ("maTinhThanh", "maQuanHuyen", "maPhuongXa", "chiTiet")))
        return found if found.province or found.ward or found.detail else None

    name, born = told.get("hoVaTen"), told.get("ngayThangNamSinh")
    parts = [text(inner(name).get(part)) for part in ("ho", "chuDem", "ten")]
    dated = text(inner(born).get("ngayThangNam")) or text(told.get("ngayThangNam"))
    return Citizen(
        number=text(told.get("soDinhDanh")),
        old_number=text(told.get("soCMND")),
        name=text(name) or " ".join(part for part in parts if part),
        sex=text(told.get("gioiTinh")),
        birth=text(born) or _known(dated) or text(inner(born).get("nam")) or text(told.get("nam")),
        residence=address(told.get("noiOHienTai")) or address(told.get("thuongTru")),
    )
