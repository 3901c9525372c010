"""Is the place the database knows the place a school sent, when wards and provinces have changed between the two?

One concern: comparing two addresses by their codes' meaning on the day of the event, and by the words of their details.
It must never guess: where a former ward was split, each of its successors agrees.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from vn_text import fold

from adapters.population.identity import Address, Comparison
from mappings.canonical.registry import WARDS_CHANGED
from mappings.catalogue import Catalogue, base
from mappings.verdicts import reason

_NEW = {"ward": "vn-ward", "province": "vn-province"}
_OLD = {"ward": "vn-ward-2024", "province": "vn-province-2024"}


def present(kind: str, code: str, on: date, *, former: bool = False, tables: Catalogue | None = None) -> frozenset[str]:
    """The present codes a code may stand for. `kind`: `ward` or `province`.

    `former`: it certainly is a code of before July 2025 (a district stands beside it). Otherwise a code in force on the
    day is itself; one that is not is looked up among the former ones. 113 ward codes have had both meanings.
    """
    tables = tables or base()
    day = max(on, WARDS_CHANGED)
    if not former:
        same = tables.standardise(_NEW[kind], code, _NEW[kind], day)
        if same.reason == "same":
            return frozenset({code})
    moved = tables.standardise(_OLD[kind], code, _NEW[kind], day)
    return frozenset({moved.code} if moved.code is not None else moved.candidates)


def words_of(detail: str, shortened: Mapping[str, str]) -> frozenset[str]:
    """The words of an address's details without case, diacritics and punctuation; `shortened` spells abbreviations out."""
    found: list[str] = []
    for word in fold(detail).split():
        found += shortened.get(word, word).split()
    return frozenset(found)


def compare_places(
    asked: Address, found: Address | None, on: date, shortened: Mapping[str, str], field: str = "residence"
) -> Comparison:
    """Compare codes and details; what either side leaves out is not compared, and what the answer leaves out is said.

    Details agree when all the words of the shorter are among those of the longer: one side often names the ward again.
    """
    differing: list[str] = []
    reasons: list[str] = []

    def note(part: str, how: str) -> None:
        reasons.append(reason(f"{field}/{part}", how))
        if how != "not_stated":
            differing.append(f"{field}/{part}")

    if found is None:
        return Comparison((), (reason(field, "not_stated"),))
    for kind in ("province", "ward"):
        mine, theirs = getattr(asked, kind), getattr(found, kind)
        if not mine:
            continue
        if not theirs:
            note(kind, "not_stated")
            continue
        former = kind == "ward" and bool(found.district)
        known = present(kind, theirs, on, former=former)
        if (known and not known & present(kind, mine, on)) or (not known and mine != theirs):
            note(kind, "different")
    if asked.detail and found.detail:
        mine_words, their_words = words_of(asked.detail, shortened), words_of(found.detail, shortened)
        if not (mine_words <= their_words or their_words <= mine_words):
            note("detail", "different")
    return Comparison(tuple(differing), tuple(reasons))
