"""What must hold for any input: nothing raises, places point into the item, answers are codes that exist."""

from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.kernel.ports import Draft
from mappings.canonical.parse import parse_item
from mappings.canonical.registry import TYPES
from mappings.catalogue import base
from mappings.fieldmap import Unmapped, load_field_maps

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
MAPS = load_field_maps()
CATALOGUE = base()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CODE = st.text(min_size=1, max_size=12) | st.sampled_from(["Nam", "Kinh", "10798", "11890", "11329", "1", "studying"])
DAYS = st.dates(date(1900, 1, 1), date(2100, 1, 1))


def _fields(struct: Any) -> list[str]:
    return list(struct.__struct_fields__)


def _item(type_: str) -> st.SearchStrategy[dict[str, Any]]:
    """Items with the right field names and all manner of values."""
    value = JSON | CODE | DAYS.map(str) | st.fixed_dictionaries({"system": CODE, "code": CODE})
    data = st.dictionaries(st.sampled_from(_fields(TYPES[type_].struct)), value)
    return st.fixed_dictionaries(
        {"data": data}, optional={"event": st.sampled_from(["NEW", "CANCEL", "x"]), "updated_at": value}
    )


ITEMS = st.sampled_from(sorted(TYPES)).flatmap(lambda name: st.tuples(st.just(name), JSON | _item(name)))


@settings(max_examples=400, deadline=None)
@given(ITEMS)
def test_nothing_raises_and_places_lie_under_the_pointer(given_: tuple[str, Any]) -> None:
    type_, item = given_
    found = parse_item(type_, json.dumps(item).encode(), "/7", NOW)
    if isinstance(found, Draft):
        assert found.key and found.pointer == "/7"
        json.dumps(found.body)
    else:
        assert found and all(r.pointer.startswith("/7") and r.message.vi and r.message.en for r in found)
    if isinstance(item, dict):
        parsed = parse_item(type_, copy.deepcopy(item), "/7", NOW)
        assert isinstance(parsed, Draft) == isinstance(found, Draft)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=200))
def test_no_bytes_raise(type_: str, raw: bytes) -> None:
    parse_item(type_, raw, "", NOW)


PEOPLE = st.fixed_dictionaries(
    {
        "learner_code": st.from_regex(r"[0-9A-Z]{3,20}", fullmatch=True),
        "full_name": st.text(
            alphabet=st.characters(codec="utf-8", categories=("L",)) | st.just(" "), min_size=1, max_size=60
        ).filter(str.strip),
        "birth_date": st.dates(date(1950, 1, 1), date(2026, 1, 1)).map(str),
        "sex": CODE.filter(lambda c: c.strip() and c.isprintable()),
        "school_code": st.from_regex(r"[0-9A-Z]{4,20}", fullmatch=True),
        "school_level": st.sampled_from(["01", "THCS", "Cấp 3"]),
        "status": st.sampled_from(["studying", "Đang học", "lạ"]),
    },
    optional={
        "ethnicity": CODE.filter(lambda c: c.strip() and c.isprintable()),
        "residence": st.fixed_dictionaries({"ward": st.sampled_from(["11329", "10798", "99999"])}),
    },
)


@settings(max_examples=200, deadline=None)
@given(PEOPLE, st.sampled_from([date(2025, 6, 30), date(2025, 7, 1), date(2026, 11, 23)]))
def test_a_sound_learner_is_read_standardised_and_mapped_or_parked(data: dict[str, Any], on: date) -> None:
    draft = parse_item("learner", json.dumps({"data": data}).encode(), "", NOW)
    assert isinstance(draft, Draft), draft
    spec = TYPES["learner"]
    gaps = CATALOGUE.standardise_record(spec, draft.body, on)
    once = copy.deepcopy(draft.body)
    assert CATALOGUE.standardise_record(spec, draft.body, on) == gaps
    assert draft.body == once
    missing = {g.path for g in gaps}
    for path, value, target in spec.codes_of(draft.body):
        if value["canonical"] is None:
            assert path in missing
        else:
            assert CATALOGUE.systems[target].row(value["canonical"], on) is not None
    meta = {"event": "NEW", "version": 1, "updated_at": NOW, "key": draft.key}
    try:
        mapped = MAPS["ministry.learner"].apply(draft.body, meta, CATALOGUE)
    except Unmapped as gap:
        assert gap.field_title.vi
    else:
        assert mapped["mahocsinh"] == data["learner_code"] and mapped["gioitinh"] in {"0", "1", "2"}
    assert draft.body == once


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(CATALOGUE.systems)), CODE, st.sampled_from(sorted(CATALOGUE.systems)), DAYS)
def test_an_answer_is_a_code_in_force_that_day(system: str, code: str, target: str, on: date) -> None:
    found = CATALOGUE.standardise(system, code, target, on)
    table = CATALOGUE.systems[target]
    assert found == CATALOGUE.standardise(system, code, target, on)
    if found.code is not None:
        assert not found.candidates
        assert found.reason == "fixed" or table.row(found.code, on) is not None
    assert all(table.row(c, on) is not None for c in found.candidates)
    for offer in CATALOGUE.suggest(system, code, target, on):
        assert 0 < offer.score <= 1 and table.row(offer.code, on) is not None
