"""Comparing identities: what counts as the same person, and that no value leaves the comparison."""

from __future__ import annotations

import unicodedata
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from vn_text import deaccent, strip_stroke

from adapters.population.identity import (
    Asked,
    Citizen,
    birth_differs,
    citizen_of,
    compare,
    full_name,
    is_about,
    name_differs,
    same_spelling,
)

SEXES = {"1": "male", "2": "female"}
SYLLABLES = st.sampled_from(
    ["Nguyễn", "Trần", "Lê", "Phạm", "Đặng", "Hoà", "Thúy", "Quỳnh", "Đức", "Ánh", "Mỹ", "Ngọc", "Yến", "Khuê", "Uyên"]
)
FULL_NAMES = st.lists(SYLLABLES, min_size=2, max_size=5).map(" ".join)


def citizen(ho: str = "", dem: str = "", ten: str = "", sex: str = "", year: str = "", day: str = "") -> Citizen:
    element = etree.fromstring(
        f'<CongDan xmlns="http://www.mic.gov.vn/dancu/1.0"><SoDinhDanh>031215000001</SoDinhDanh><SoCMND/>'
        f"<HoVaTen><Ho>{escape(ho)}</Ho><ChuDem>{escape(dem)}</ChuDem><Ten>{escape(ten)}</Ten></HoVaTen>"
        f"<GioiTinh>{sex}</GioiTinh>"
        f"<NgayThangNamSinh><Nam>{year}</Nam><NgayThangNam>{day}</NgayThangNam></NgayThangNamSinh></CongDan>"
    )
    return citizen_of(element)


def asked(name: str = "Lê Thử", birth: str = "20150103", sex: str | None = "male") -> Asked:
    return Asked("031215000001", name, birth, sex)


@given(FULL_NAMES, st.sampled_from([str.upper, str.lower, str.title]), st.sampled_from(["NFC", "NFD"]))
def test_case_spacing_composition_and_place_in_the_parts_do_not_count(name: str, case: object, form: str) -> None:
    written = unicodedata.normalize(form, case(name))  # type: ignore[operator, arg-type]
    words = written.split()
    for found in (
        citizen(ten=f"  {written} "),
        citizen(words[0], " ".join(words[1:-1]), words[-1]),
        citizen(words[0], "", "  ".join(words[1:])),
    ):
        assert compare(asked(name, "", None), found, SEXES).differing == ()


@given(FULL_NAMES)
def test_a_name_without_its_diacritics_differs_and_is_told_apart(name: str) -> None:
    plain = strip_stroke(deaccent(name))
    result = compare(asked(plain, "", None), citizen(ten=name), SEXES)
    if plain == name:
        assert result.differing == ()
    else:
        assert result.differing == ("full_name",) and result.verdict == "partial"
        assert set(result.reasons) & {"full_name:diacritics", "full_name:order"}


@pytest.mark.parametrize(
    ("one", "other"), [("Hoà", "Hòa"), ("THUÝ", "Thúy"), ("Ðức", "Đức"), ("quý", "QÚY"), ("khoẻ", "khỏe")]
)
def test_the_place_of_the_tone_mark_is_spelling(one: str, other: str) -> None:
    assert same_spelling(one) == same_spelling(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Hòa", "Hóa"), ("Hoa", "Hoà"), ("Đức", "Dức"), ("Tuân", "Tuấn"), ("Cư", "Cu")]
)
def test_other_marks_make_other_names(one: str, other: str) -> None:
    assert same_spelling(one) != same_spelling(other)


@pytest.mark.parametrize(
    ("wanted", "year", "day", "differs"),
    [
        ("20150103", "2015", "20150103", False),
        ("20150103", "2015", "20150104", True),
        ("20150103", "2015", "", False),
        ("20150103", "2014", "", True),
        ("2015", "2015", "20150103", False),
        ("2014", "2015", "20150103", True),
        ("20150103", "2015", "20150000", False),
        ("20150103", "2015", "20150100", False),
        ("20150203", "2015", "20150100", True),
        ("20150103", "", "", False),
        ("", "2015", "20150103", False),
    ],
)
def test_births_are_compared_as_precisely_as_both_are_known(wanted: str, year: str, day: str, differs: bool) -> None:
    result = compare(asked(birth=wanted), citizen(ten="Lê Thử", sex="1", year=year, day=day), SEXES)
    assert result.differing == (("birth_date",) if differs else ())
    assert ("birth_date:not_stated" in result.reasons) == (not year and not day)


@pytest.mark.parametrize(
    ("wanted", "found", "differing", "stated"),
    [("male", "1", (), True), ("male", "2", ("sex",), True), (None, "2", (), True), ("male", "", (), False)],
)
def test_sex(wanted: str | None, found: str, differing: tuple[str, ...], stated: bool) -> None:
    result = compare(asked(sex=wanted), citizen(ten="Lê Thử", sex=found, year="2015"), SEXES)
    assert result.differing == differing
    assert ("sex:not_stated" in result.reasons) != stated


def test_whose_answer_it_is() -> None:
    someone = citizen(ten="Lê Thử")
    assert is_about(someone, "031215000001") and not is_about(someone, "031215000009")
    assert is_about(someone, "031000004")
    assert full_name(etree.fromstring("<CongDan/>")) == "" == citizen_of(etree.fromstring("<CongDan/>")).name


@given(FULL_NAMES, st.randoms(use_true_random=False))
def test_the_order_of_a_names_words_makes_it_partial_never_another(name: str, dice: object) -> None:
    words = name.split()
    dice.shuffle(words)  # type: ignore[attr-defined]
    turned = " ".join(words)
    result = compare(asked(turned, "", None), citizen(ten=name.upper()), SEXES)
    assert result.verdict == ("match" if same_spelling(turned) == same_spelling(name) else "partial")


@given(FULL_NAMES, FULL_NAMES)
def test_a_name_differs_the_same_from_both_sides(one: str, other: str) -> None:
    assert name_differs(one, other) == name_differs(other, one)
    assert (name_differs(one, other) is None) == (same_spelling(one) == same_spelling(other))
    assert name_differs(one, one.swapcase()) is None


@given(st.dates(), st.dates())
def test_births_differ_the_same_from_both_sides(one: object, other: object) -> None:
    a, b = f"{one:%Y%m%d}".zfill(8), f"{other:%Y%m%d}".zfill(8)
    assert birth_differs(a, b) == birth_differs(b, a)
    assert birth_differs(a, a) is None is birth_differs(a, a[:4])
    swapped = a[:4] + a[6:] + a[4:6]
    assert birth_differs(a, swapped) == (None if swapped == a else "swapped")


@pytest.mark.parametrize(
    ("name", "birth", "sex", "verdict"),
    [
        ("Lê Thử", "20150103", "male", "match"),
        ("Lê Thử", "20150103", "female", "partial"),
        ("Le Thu", "20150301", "female", "partial"),
        ("Lê Thử", "20150104", "male", "mismatch"),
        ("Lê Khác", "20150103", "male", "mismatch"),
    ],
)
def test_what_makes_a_verdict(name: str, birth: str, sex: str, verdict: str) -> None:
    result = compare(asked(name, birth, sex), citizen(ten="LÊ THỬ", sex="1", year="2015", day="20150103"), SEXES)
    assert result.verdict == verdict
    assert bool(result.differing) == (verdict != "match")
