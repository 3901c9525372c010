"""What may be shown of personal data before a purpose is stated."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.console import masks

LEARNER = {
    "learner_code": "HS1",
    "full_name": "Nguyễn Thị Minh Khai",
    "birth_date": "2014-05-06",
    "personal_number": "031214005678",
    "ethnicity": {"system": "vn-ethnicity", "code": "01", "canonical": "01"},
    "residence": {"detail": "12 Lạch Tray", "ward": {"system": "vn-ward", "code": "11359", "canonical": "11359"}},
    "parents": [{"relation": "mother", "full_name": "Trần Lan", "phone": "0912345678"}],
    "class_code": "6A1",
}
SECRETS = (
    "Nguyễn",
    "Minh",
    "Khai",
    "2014-05-06",
    "031214005678",
    "Lạch Tray",
    "Trần",
    "0912345678",
    "20140506",
    "06/05/2014",
)


def test_canonical_records_by_their_declared_fields() -> None:
    masked = masks.mask_record("learner", LEARNER)
    text = json.dumps(masked, ensure_ascii=False)
    assert not [s for s in SECRETS if s in text]
    assert masked["ethnicity"] == masks.HIDDEN
    assert masked["class_code"] == "6A1" and masked["residence"]["ward"]["code"] == "11359", (
        "what is not personal stays readable"
    )
    assert LEARNER["full_name"] == "Nguyễn Thị Minh Khai", "the record itself is not touched"


def test_a_record_of_unknown_shape_is_no_error() -> None:
    assert masks.mask_record("learner", {"parents": "x", "residence": [1], "full_name": 7})["full_name"] == "•"
    assert masks.mask_record("no-such-type", {"a": "Nguyễn An"})["a"] == "N••••• A•"


def test_counterparties_json_by_shape_and_by_the_field_maps() -> None:
    body = {
        "goi": [{"hovaten": "NGUYỄN THỊ MINH KHAI", "ngaysinh": "20140506", "dantoc": "01", "gioitinh": "2", "sodinhdanh": "031214005678", "malop": "6A1"}],
        "thoigian": "2026-11-22T08:00:00+07:00", "tong": 1,
    }  # fmt: skip
    text = masks.show_body(json.dumps(body, ensure_ascii=False).encode())
    assert text is not None
    for secret in ("KHAI", "20140506", "031214005678"):
        assert secret not in text
    assert '"dantoc": "01"' not in text, "sensitive by the field map's own lineage"
    assert '"gioitinh": "2"' in text and '"malop": "6A1"' in text and "2026-11-22T08:00:00+07:00" in text


def test_xml_too() -> None:
    body = '<a:Tra xmlns:a="urn:x" ma="00"><HoVaTen>Nguyễn An</HoVaTen><SoDinhDanh>031214005678</SoDinhDanh><ok>true</ok><!-- 031214005678 --></a:Tra>'
    text = masks.show_body(body.encode())
    assert (
        text is not None
        and "031214005678" not in text
        and "Nguyễn" not in text
        and 'ma="00"' in text
        and "<ok>true</ok>" in text
    )


def test_known_values_are_hidden_whatever_their_shape() -> None:
    known = masks.personal_values([("learner", {**LEARNER, "full_name": "LAN"})])
    text = masks.show_body(b'{"x": "LAN", "y": "6A1"}', known=known)
    assert text is not None and "LAN" not in text and "6A1" in text


def test_what_cannot_be_read_is_not_shown_masked() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    for body in (b"Nguyen An;031214005678", b'{"half": "Nguy', b"\xff\xd8\xff", bomb, b"", b"[" * 50_000, b"<a>" * 300):
        assert masks.show_body(body) is None
    assert masks.show_body(b"Nguyen An;1", masked=False) == "Nguyen An;1"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ABCDĐàáạNguyễnệ ", min_size=2, max_size=20), st.from_regex(r"[0-9]{9,12}", fullmatch=True))
def test_no_name_or_number_gets_through(name: str, number: str) -> None:
    name = f"Nguyễn {name.strip() or 'Ẩn'}"
    text = masks.show_body(
        json.dumps({"a": name, "b": [number], "c": {"d": f"số {number}"}, number: name, "n": int(number)}).encode()
    )
    assert text is not None
    assert name not in text and number not in text


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_whatever(body: bytes) -> None:
    masks.show_body(body)
    masks.show_body(body, masked=False)
