"""Comparing addresses across the change of wards: old and new codes of one place agree, whatever the day, and nothing is guessed."""

from __future__ import annotations

import csv
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.population.identity import Address
from adapters.population.places import compare_places, present, words_of
from mappings.tables import HERE

SHORT = {"tdp": "to dan pho", "p": "phuong"}
BEFORE, AFTER = date(2025, 3, 1), date(2026, 9, 5)
with (HERE / "crosswalks" / "vn-ward-2024--vn-ward.csv").open(encoding="utf-8") as stream:
    MOVED = [(row["source"], row["target"]) for row in csv.DictReader(stream)]
SUCCESSORS: dict[str, set[str]] = {}
for old, new in MOVED:
    SUCCESSORS.setdefault(old, set()).add(new)


@settings(deadline=None)
@given(st.sampled_from(MOVED), st.sampled_from([BEFORE, AFTER]))
def test_a_former_ward_agrees_with_each_of_its_successors_and_with_no_other(pair: tuple[str, str], on: date) -> None:
    old, new = pair
    found = Address(province="30", district="288", ward=old)
    assert compare_places(Address(province="31", ward=new), found, on, SHORT).differing == ()
    assert present("ward", old, on, former=True) == frozenset(SUCCESSORS[old])
    other = next(target for _, target in MOVED if target not in SUCCESSORS[old])
    told = compare_places(Address(province="31", ward=other), found, on, SHORT)
    assert told.differing == ("residence/ward",) and told.verdict == "partial"


@given(st.sampled_from(sorted({new for _, new in MOVED})))
def test_a_code_in_force_is_itself_though_it_once_was_another(code: str) -> None:
    assert present("ward", code, AFTER) == {code}


@pytest.mark.parametrize(
    ("mine", "theirs", "agrees"),
    [
        ("Tổ 1", "TỔ 1, phường Thành Đông", True),
        ("TDP số 3", "Tổ dân phố số 3", True),
        ("Số 5, P. Thành Đông", "5 số phường Thành Đông", True),
        ("Tổ 1", "Tổ 2", False),
        ("", "Tổ 2", True),
    ],
)
def test_details_are_compared_by_their_words(mine: str, theirs: str, agrees: bool) -> None:
    told = compare_places(Address(detail=mine), Address(detail=theirs), AFTER, SHORT)
    assert (told.differing == ()) == agrees


@given(st.text(max_size=60))
def test_words_never_raise_and_do_not_hang_on_case(text: str) -> None:
    assert words_of(text, SHORT) == words_of(text, SHORT)
    compare_places(
        Address(detail=text, ward=text, province=text), Address(detail="x", ward="1", province="2"), AFTER, {}
    )


def test_what_is_not_stated_is_not_compared_but_said() -> None:
    asked = Address(province="31", ward="10507")
    assert compare_places(asked, None, AFTER, {}).reasons == ("residence:not_stated",)
    told = compare_places(asked, Address(province="31"), AFTER, {})
    assert told.differing == () and told.reasons == ("residence/ward:not_stated",)
    assert compare_places(Address(), Address(province="01", ward="00001"), AFTER, {}).reasons == ()
