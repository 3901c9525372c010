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
from mappings.canonical.parse import field_names, parse_item, parse_quick
from mappings.canonical.registry import TYPES
from mappings.canonical.schema import item_schema

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
    quick = parse_quick("learner", raw, "/3", AT, untouched)
    if quick is None:
        return
    cleaned = clean(raw, hasher)
    assert cleaned.removed == [] and cleaned.body == raw
    slow = parse_item("learner", cleaned.tree, "/3", AT)
    assert quick == slow


def test_an_ordinary_item_is_read_quickly() -> None:
    raw = msgspec.json.encode(
        _learner("Nguyễn Văn Mẫu", "Số 12, phố Ví Dụ, phường Ví Dụ, Hải Phòng", "Trần Thị Ví Dụ", {})
    )
    assert isinstance(parse_quick("learner", raw, "", AT, untouched), Draft)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[", b"7", b'{"data": 7}', b"\xff\xfe", b'{"data":' * 200, b"[" * 10_000,
        msgspec.json.encode(_learner("A", "B", "C", {"photo": JPEG})), msgspec.json.encode(_learner("A", JPEG, "C", {})),
        msgspec.json.encode(_learner("A", "B", "C", {"parents": []})) + b"x",
    ],
)  # fmt: skip
def test_everything_else_goes_the_long_way(raw: bytes) -> None:
    assert parse_quick("learner", raw, "", AT, untouched) is None


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
