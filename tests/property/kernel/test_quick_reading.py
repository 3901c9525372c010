"""The quick reading of a pushed item: where it does not decline, the firewall and the parser would have said the same."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.kernel.firewall import clean, harmless_names, untouched
from hub.kernel.ports import Draft
from mappings.canonical.parse import field_names, parse_item
from mappings.canonical.quick import read_quick
from mappings.canonical.registry import TYPES
from mappings.canonical.schema import item_schema
from mappings.catalogue import base
from mappings.fieldmap import today_of

AT = datetime(2026, 9, 5, 7, 0, tzinfo=UTC)
JPEG = "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUV"

_TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            JPEG, JPEG[:40], f"data:image/jpeg;base64,{JPEG}", f'{{"photo": "{JPEG}"}}', f'"{JPEG}"', " " * 40, "[" * 40,
            "0123456789abcdef" * 10, "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ", "Số 12, phố Ví Dụ, phường Ví Dụ, thành phố Hải Phòng",
            "a" * 96, "Ab1/" * 60, "UklGR" + "x" * 40, "x\":\"y", "\\u0070hoto", "đường 3/2 " * 12,
        ]
    ),
)  # fmt: skip


def hasher(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _learner(name: str, detail: str, relation_name: str, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "event": "NEW",
        "data": {
            "learner_code": "HS1", "full_name": name, "birth_date": "2014-03-05", "sex": "1", "school_code": "31HP0123001",
            "school_level": "03", "status": "studying", "residence": {"detail": detail},
            "parents": [{"relation": "mother", "full_name": relation_name}], **more,
        },
    }  # fmt: skip


def _agree(type_: str, raw: bytes) -> None:
    """What was read quickly, if it was, is what the long way says, codes and all."""
    quick = read_quick(type_, raw, "/3", AT, base(), untouched)
    if quick is None:
        return
    cleaned = clean(raw, hasher)
    assert cleaned.removed == [] and cleaned.body == raw
    slow = parse_item(type_, cleaned.tree, "/3", AT)
    assert isinstance(slow, Draft)
    base().standardise_record(TYPES[type_], slow.body, today_of(slow.updated_at))
    assert quick == slow


@settings(max_examples=300, deadline=None)
@given(
    name=_TEXTS,
    detail=_TEXTS,
    parent=_TEXTS,
    more=st.dictionaries(
        st.sampled_from(["grade", "class_code", "ethnicity", "photo", "nationality"]), _TEXTS, max_size=3
    ),
    twice=st.one_of(st.none(), _TEXTS),
    spaced=st.booleans(),
)
def test_what_is_read_quickly_is_what_the_long_way_says(
    name: str, detail: str, parent: str, more: dict[str, Any], twice: str | None, spaced: bool
) -> None:
    raw = msgspec.json.encode(_learner(name, detail, parent, more))
    if twice is not None:
        raw = raw.replace(b'"full_name":', b'"full_name":' + msgspec.json.encode(twice) + b',"full_name":', 1)
    if spaced:
        raw = raw.replace(b'":', b'" :', 2)
    _agree("learner", raw)


_CODES = st.one_of(
    st.sampled_from(["10507", "27688", " 01 ", "Kinh", "VN", "6", "", "x" * 40, "không có mã này"]),
    st.builds(lambda s, c: {"system": s, "code": c}, st.sampled_from(["vn-ward", "vn-ward-2024", "nowhere"]), st.text(max_size=8)),
    st.builds(lambda c: {"system": "vn-ward", "code": c, "canonical": "made up"}, st.sampled_from(["10507", " 27688"])),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    ward=_CODES,
    province=_CODES,
    ethnicity=_CODES,
    as_of=st.sampled_from([None, "2024-01-01", "2025-07-01", "2026-01-01"]),
    updated_at=st.sampled_from(
        [None, "2025-06-30T23:59:59", "2025-06-30T23:59:59+00:00", "2026-09-05T08:00:00+07:00", "1999-01-01T00:00:00", "2030-01-01T00:00:00Z"]
    ),
    relation=st.sampled_from(["mother", "father"]),
)  # fmt: skip
def test_codes_and_moments_are_read_alike(
    ward: Any, province: Any, ethnicity: Any, as_of: str | None, updated_at: str | None, relation: str
) -> None:
    item = _learner("Nguyễn Văn Mẫu", "Số 12, phố Ví Dụ", "Trần Thị Ví Dụ", {"ethnicity": ethnicity})
    item["data"]["residence"] |= {"ward": ward, "province": province} | ({"as_of": as_of} if as_of else {})
    item["data"]["parents"][0]["relation"] = relation
    if updated_at is not None:
        item["updated_at"] = updated_at
    _agree("learner", msgspec.json.encode(item))


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("checkin", {"person_code": "31001", "device": "G1", "school_code": "31HP0123001", "device_time_raw": "2026-09-05T07:00:01.5",
                     "direction": "in", "method": "face", "verify_status": "allowed"}),
        ("study_result", {"learner_code": "HS1", "school_code": "31HP0123001", "school_year": "2026-2027", "term": "1",
                          "marks": [{"subject": "TOAN", "mark": 9.5}]}),
        ("class", {"school_code": "31HP0123001", "class_code": "6A1", "school_year": "2026-2027", "name": "6A1", "grade": "6", "school_level": "03"}),
    ],
)  # fmt: skip
def test_other_types_are_read_alike(type_: str, data: dict[str, Any]) -> None:
    _agree(type_, msgspec.json.encode({"data": data}))


def test_an_ordinary_item_is_read_quickly() -> None:
    raw = msgspec.json.encode(
        _learner("Nguyễn Văn Mẫu", "Số 12, phố Ví Dụ, phường Ví Dụ, Hải Phòng", "Trần Thị Ví Dụ", {})
    )
    assert isinstance(read_quick("learner", raw, "", AT, base(), untouched), Draft)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[", b"7", b'{"data": 7}', b"\xff\xfe", b'{"data":' * 200, b"[" * 10_000,
        msgspec.json.encode(_learner("A", "B", "C", {"photo": JPEG})), msgspec.json.encode(_learner("A", JPEG, "C", {})),
        msgspec.json.encode(_learner("A", "B", "C", {"parents": []})) + b"x",
    ],
)  # fmt: skip
def test_everything_else_goes_the_long_way(raw: bytes) -> None:
    assert read_quick("learner", raw, "", AT, base(), untouched) is None


@pytest.mark.parametrize(
    "sex", ['"1"', '{"system":"vn-sex","code":"1"}', '{"system":"vn-sex","code":"1","canonical":null}']
)
@pytest.mark.parametrize(
    "twice",
    [
        '"school_level":{"system":"school-level","code":"2","canonical":"%s","canonical":null}',
        '"school_level":{"system":"school-level","code":"%s","code":"2"}',
        '"school_level":"%s","school_level":"03"',
        '"residence":{"detail":"%s","detail":"Số 12"}',
    ],
)
def test_no_member_given_twice_hides_behind_a_code(sex: str, twice: str) -> None:
    kept = msgspec.json.encode(
        {"learner_code": "HS1", "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "school_code": "31HP0123001"}
    )
    raw = b'{"data":' + kept[:-1] + f',"status":"studying","sex":{sex},{twice % JPEG}'.encode() + b"}}"
    assert read_quick("learner", raw, "", AT, base(), untouched) is None
    once = b'{"data":' + kept[:-1] + f',"status":"studying","sex":{sex},"school_level":"03"'.encode() + b"}}"
    _agree("learner", once)
    assert (read_quick("learner", once, "", AT, base(), untouched) is None) == ("null" in sex)


def test_no_text_hides_in_a_moment_nor_any_number_beyond_the_ledgers() -> None:
    item = _learner("Nguyễn Văn Mẫu", "Số 12", "Trần Thị Ví Dụ", {}) | {
        "updated_at": "2024-01-01T00:00:00.DIGITS+07:00"
    }
    for digits in ("5", "123456", "0123456789" * 400):
        raw = msgspec.json.encode(item).replace(b"DIGITS", digits.encode())
        _agree("learner", raw)
        assert (read_quick("learner", raw, "", AT, base(), untouched) is None) == (len(digits) > 9)
    for number in (1, 2**63 - 1, 2**63, 10**30):
        raw = (
            b'{"data":{"person_code":"31001","device":"G1","school_code":"31HP0123001","device_time_raw":'
            b'"2026-09-05T07:00:01.5","direction":"in","method":"face","verify_status":"allowed","merged_into":%d}}'
            % number
        )
        _agree("checkin", raw)
        assert read_quick("checkin", raw, "", AT, base(), untouched) is None or number < 2**63


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_types_field_names_are_all_there_can_be(name: str) -> None:
    """The quick way trusts the decoder to refuse unknown members: so no part of a model may be an open object."""

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object":
                assert node.get("additionalProperties") is False, node
            for key, value in node.items():
                assert not (key == "properties" and {} in value.values()), "a member of any shape"
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(item_schema(name))
    assert {"data", "event", "updated_at"} <= field_names(name)
    # A person sent to a gate may name a picture; nobody pushes those by the hundred thousand.
    assert harmless_names(field_names(name)) or name == "gate_person", (
        "a field named after an image makes every push of this type slow"
    )
