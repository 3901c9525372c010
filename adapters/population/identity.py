"""Does the person the database knows agree with the person a school sent?

One concern: comparing one identity with one `CongDan` element. It must never return or log a personal value: only the
names of fields that differ.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from lxml import etree
from msgspec import Struct
from vn_text import fold

ANSWER_NS = "http://www.mic.gov.vn/dancu/1.0"
_Q = f"{{{ANSWER_NS}}}"
_NAME_PARTS = (_Q + "Ho", _Q + "ChuDem", _Q + "Ten")
_NUMBER, _OLD_NUMBER, _NAME, _SEX, _BIRTH = (
    _Q + "SoDinhDanh",
    _Q + "SoCMND",
    _Q + "HoVaTen",
    _Q + "GioiTinh",
    _Q + "NgayThangNamSinh",
)
_YEAR, _DAY = _Q + "Nam", _Q + "NgayThangNam"
_TONES = frozenset("\u0300\u0301\u0303\u0309\u0323")


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
    details: tuple[str, ...] = ()
    """How they differ (`mismatch_diacritics`) and what the answer did not state (`not_stated:birth_date`)."""


def same_spelling(name: str) -> str:
    """The form in which two names are equal: letter case, spacing, Unicode composition and where in a syllable the tone
    mark is written (hoà, hòa) do not count; every other diacritic does."""
    words = []
    for word in unicodedata.normalize("NFD", name.casefold().replace("\u00f0", "\u0111")).split():
        tones = "".join(mark for mark in word if mark in _TONES)
        words.append("".join(mark for mark in word if mark not in _TONES) + tones if tones else word)
    return " ".join(words)


def _text(parent: etree._Element, tag: str) -> str:
    value = parent.findtext(tag)
    return value.strip() if value else ""


def full_name(citizen: etree._Element) -> str:
    """Ho, ChuDem and Ten joined. The whole name may sit in Ten with the others empty."""
    holder = citizen.find(_NAME)
    if holder is None:
        return ""
    return " ".join(part for part in (_text(holder, tag) for tag in _NAME_PARTS) if part)


def _known(birth: str) -> str:
    """A birth date without the parts written as zeros: the database writes an unknown day or month so."""
    if len(birth) == 8:
        if birth[4:] == "0000":
            return birth[:4]
        if birth[6:] == "00":
            return birth[:6]
    return birth


def is_about(citizen: etree._Element, number: str) -> bool:
    """Whether a person found carries the number asked for; true when the answer states no number of that kind."""
    found = _text(citizen, _OLD_NUMBER if len(number) == 9 else _NUMBER)
    return not found or found == number


def compare(asked: Asked, citizen: etree._Element, sexes: Mapping[str, str]) -> Comparison:
    """Compare name, birth date and sex. `sexes` gives the canonical code of each code of the database.

    A field either side leaves out is not compared; dates are compared as precisely as both are known.
    """
    differing: list[str] = []
    details: list[str] = []
    found = full_name(citizen)
    if not found:
        details.append("not_stated:full_name")
    elif asked.name and same_spelling(asked.name) != same_spelling(found):
        differing.append("full_name")
        if fold(asked.name) == fold(found):
            details.append("mismatch_diacritics")
    holder = citizen.find(_BIRTH)
    birth = "" if holder is None else _known(_text(holder, _DAY)) or _text(holder, _YEAR)
    if not birth:
        details.append("not_stated:birth_date")
    elif asked.birth:
        wanted = _known(asked.birth)
        precision = min(len(wanted), len(birth))
        if wanted[:precision] != birth[:precision]:
            differing.append("birth_date")
    sex = sexes.get(_text(citizen, _SEX))
    if sex is None:
        details.append("not_stated:sex")
    elif asked.sex is not None and asked.sex != sex:
        differing.append("sex")
    return Comparison(tuple(differing), tuple(details))
