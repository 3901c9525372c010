"""Reading items: good ones become drafts, bad ones tell every fault with its place in both languages."""

from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from hub.kernel.ports import Draft, Reject
from mappings.canonical import export
from mappings.canonical.checks import personal_number_faults
from mappings.canonical.messages import TITLES
from mappings.canonical.models import Coded
from mappings.canonical.parse import parse_item
from mappings.canonical.registry import TYPES
from mappings.catalogue import base

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)

LEARNER: dict[str, Any] = {
    "event": "NEW",
    "updated_at": "2026-11-20T08:00:00",
    "data": {
        "learner_code": "3112345678",
        "personal_number": "031214000001",
        "full_name": "  Nguye\u0302\u0303n  Văn Mẫu ",
        "birth_date": "2014-03-05",
        "sex": "Nam",
        "ethnicity": {"system": "vn-ethnicity-1979", "code": "04"},
        "school_code": "31HP0123001",
        "class_code": "6A1",
        "grade": "6",
        "school_level": "THCS",
        "status": "studying",
        "residence": {"ward": "11329", "detail": "Số 1 đường Thử Nghiệm"},
        "parents": [{"relation": "mother", "full_name": "Trần Thị Ví Dụ", "phone": "0900000001"}],
        "enrolled_on": "2026-09-05",
    },
}
FILING: dict[str, Any] = {
    "data": {
        "file_number": "000.00.12.H24-260907-0001",
        "procedure_code": "2.002481",
        "procedure_name": "Chuyển trường",
        "applicant": {"kind": "citizen", "name": "Nguyễn Văn Mẫu", "identity_number": "031085000001"},
        "submitted_at": "2026-09-07T08:00:00+07:00",
        "status": "1",
        "content": "Xin chuyển trường\n\tcho con",
        "agency": "Sở Giáo dục và Đào tạo",
        "school_code": "31HP0123001",
    }
}


def read(type_: str, item: Any, pointer: str = "/4") -> Draft:
    """The draft; from bytes and from parsed JSON alike."""
    from_bytes = parse_item(type_, json.dumps(item).encode(), pointer, NOW)
    assert isinstance(from_bytes, Draft), from_bytes
    assert parse_item(type_, copy.deepcopy(item), pointer, NOW) == from_bytes
    return from_bytes


def refuse(type_: str, item: Any, pointer: str = "/4") -> dict[str, str]:
    """Pointer → code of every fault."""
    found = parse_item(type_, json.dumps(item).encode(), pointer, NOW)
    assert isinstance(found, list) and found
    assert all(isinstance(r, Reject) and r.message.vi and r.message.en and r.message.vi != r.message.en for r in found)
    return {r.pointer: r.code for r in found}


def changed(item: dict[str, Any], **data: Any) -> dict[str, Any]:
    out = copy.deepcopy(item)
    for name, value in data.items():
        if value is ...:
            out["data"].pop(name, None)
        else:
            out["data"][name] = value
    return out


def test_a_good_learner() -> None:
    draft = read("learner", LEARNER)
    assert (draft.type, draft.key, draft.event, draft.school) == ("learner", "3112345678", "NEW", "31HP0123001")
    assert draft.pointer == "/4"
    assert draft.updated_at == datetime(2026, 11, 20, 1, tzinfo=UTC)
    assert draft.body["full_name"] == "Nguyễn Văn Mẫu"
    assert draft.body["sex"] == {"system": "vn-sex", "code": "Nam", "canonical": None}
    assert draft.body["ethnicity"]["system"] == "vn-ethnicity-1979"
    json.dumps(draft.body)


def test_standardising_it_fills_every_code() -> None:
    draft = read("learner", LEARNER)
    assert base().standardise_record(TYPES["learner"], draft.body, date(2026, 11, 20)) == []
    assert draft.body["ethnicity"]["canonical"] == "06"
    assert draft.body["residence"]["ward"]["canonical"] == "11329"


def test_an_unmapped_code_blocks_nothing_and_is_told() -> None:
    draft = read("learner", changed(LEARNER, ethnicity="Ngạn Lạ"))
    (gap,) = base().standardise_record(TYPES["learner"], draft.body, date(2026, 11, 20))
    assert (gap.path, gap.system, gap.code, gap.target) == ("ethnicity", "vn-ethnicity", "Ngạn Lạ", "vn-ethnicity")
    assert draft.body["ethnicity"]["canonical"] is None


def test_a_sender_cannot_set_the_canonical_code() -> None:
    draft = read("learner", changed(LEARNER, sex={"system": "vn-sex", "code": "Nam", "canonical": "female"}))
    assert draft.body["sex"]["canonical"] is None


@pytest.mark.parametrize(
    ("as_of", "updated_at", "system"),
    [
        (None, "2026-11-20T08:00:00+07:00", "vn-ward"),
        ("2025-06-30", "2026-11-20T08:00:00+07:00", "vn-ward-2024"),
        ("2025-07-01", "2026-11-20T08:00:00+07:00", "vn-ward"),
        (None, "2025-06-30T23:59:59", "vn-ward-2024"),
        (None, "2025-06-30T17:00:00Z", "vn-ward"),
    ],
)
def test_a_bare_ward_code_belongs_to_its_day(as_of: str | None, updated_at: str, system: str) -> None:
    place = {"ward": "11329"} | ({"as_of": as_of} if as_of else {})
    draft = read("learner", changed(LEARNER, residence=place, enrolled_on=...) | {"updated_at": updated_at})
    assert draft.body["residence"]["ward"]["system"] == system


def test_all_faults_of_an_item_are_told_at_once() -> None:
    item = changed(LEARNER, birth_date="05/03/2014", sex=1, status=..., favourite="x", full_name="")
    item["data"]["parents"][0] |= {"relation": "aunt", "personal_number": "999000000000"}
    item["data"]["residence"] = {"ward": {"code": "1"}}
    assert refuse("learner", item, "/items/3") == {
        "/items/3/data/birth_date": "invalid_date",
        "/items/3/data/sex": "invalid_code",
        "/items/3/data/status": "required",
        "/items/3/data/favourite": "unknown_field",
        "/items/3/data/full_name": "too_short",
        "/items/3/data/parents/0/relation": "not_allowed",
        "/items/3/data/parents/0/personal_number": "personal_number_province",
        "/items/3/data/residence/ward/system": "required",
    }


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"birth_date": "2014-02-30"}, "birth_date", "invalid_date"),
        ({"birth_date": "1899-12-31", "personal_number": None}, "birth_date", "implausible_date"),
        ({"birth_date": "2026-11-24", "personal_number": None, "enrolled_on": None}, "birth_date", "implausible_date"),
        ({"personal_number": "12345"}, "personal_number", "invalid_form"),
        ({"personal_number": "031214000001\n"}, "personal_number", "invalid_form"),
        ({"personal_number": "０31214000001"}, "personal_number", "invalid_form"),
        ({"personal_number": "003214000001"}, "personal_number", "personal_number_province"),
        ({"personal_number": "031215000001"}, "personal_number", "personal_number_birth_year"),
        ({"personal_number": "031314000001"}, "personal_number", "personal_number_sex"),
        ({"enrolled_on": "2010-09-05"}, "enrolled_on", "implausible_date"),
        ({"full_name": " \t "}, "full_name", "too_short"),
        ({"full_name": "A\u0000B"}, "full_name", "invalid_form"),
        ({"full_name": "x" * 121}, "full_name", "too_long"),
        ({"full_name": ["x"]}, "full_name", "wrong_type"),
        ({"learner_code": "a/b"}, "learner_code", "invalid_form"),
        ({"learner_code": 12345}, "learner_code", "wrong_type"),
        ({"school_code": "x" * 21}, "school_code", "too_long"),
        ({"ethnicity": ""}, "ethnicity", "too_short"),
        ({"ethnicity": "  "}, "ethnicity", "invalid_code"),
        ({"ethnicity": {"system": "vn-ethnicity", "code": "01", "x": 1}}, "ethnicity/x", "unknown_field"),
        ({"parents": "none"}, "parents", "wrong_type"),
        ({"parents": [{}] * 7}, "parents", "too_long"),
    ],
)
def test_one_fault(change: dict[str, Any], place: str, code: str) -> None:
    assert refuse("learner", changed(LEARNER, **change)).get(f"/4/data/{place}") == code


def test_the_words_are_for_a_school_clerk() -> None:
    (one,) = parse_item("learner", changed(LEARNER, birth_date="5/3/2014"), "", NOW)  # type: ignore[misc]
    assert one.message.vi == "Ngày sinh phải là ngày có thật, dạng YYYY-MM-DD."
    assert one.message.en == "Date of birth must be a real day, as YYYY-MM-DD."
    assert one.key == "3112345678"


def test_no_personal_value_is_repeated() -> None:
    item = changed(LEARNER, full_name="x" * 200, personal_number="031314000001", birth_date="1850-01-01")
    found = parse_item("learner", item, "", NOW)
    assert isinstance(found, list)
    text = " ".join(r.message.vi + r.message.en for r in found)
    assert "031314000001" not in text and "1850" not in text and "xxx" not in text


@pytest.mark.parametrize(
    ("number", "born", "sex", "codes"),
    [
        ("031085000001", "1985-01-01", "male", []),
        ("030185000001", "1985-01-01", "female", []),
        ("031214000001", "2014-01-01", "male", []),
        ("031314000001", "2014-01-01", "female", []),
        ("031314000001", None, None, []),
        ("031514000001", "2114-01-01", "female", []),
        ("000085000001", "1986-01-01", "female", ["province", "birth_year", "sex"]),
    ],
)
def test_personal_number(number: str, born: str | None, sex: str | None, codes: list[str]) -> None:
    found = [code for _, code, _ in personal_number_faults(number, born, sex, "personal_number")]
    assert found == [f"personal_number_{c}" for c in codes]


def test_cancel_needs_the_key_alone() -> None:
    draft = read("learner", {"event": "CANCEL", "data": {"learner_code": "3112345678", "school_code": "31HP0123001"}})
    assert (draft.event, draft.key, draft.school) == ("CANCEL", "3112345678", "31HP0123001")
    assert refuse("learner", {"event": "CANCEL", "data": {"school_code": "31HP0123001"}}) == {
        "/4/data/learner_code": "required"
    }
    whole = read("learner", LEARNER | {"event": "CANCEL"})
    assert whole.event == "CANCEL" and whole.body["full_name"]


@pytest.mark.parametrize(
    ("updated_at", "code"),
    [
        ("2026-11-25T00:00:00Z", "implausible_time"),
        ("1970-01-01T00:00:00Z", "implausible_time"),
        ("0001-01-01T00:00:00+14:00", "implausible_time"),
        ("9999-12-31T23:59:59-12:00", "implausible_time"),
        ("yesterday", "invalid_time"),
        (5, "wrong_type"),
    ],
)
def test_time_of_update(updated_at: Any, code: str) -> None:
    assert refuse("learner", LEARNER | {"updated_at": updated_at}) == {"/4/updated_at": code}


def test_without_a_time_of_update_the_time_of_receipt_stands() -> None:
    item = {k: v for k, v in LEARNER.items() if k != "updated_at"}
    assert read("learner", item).updated_at == NOW


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b'"x"', b"[]", b"null", b"1", b"NaN", b'{"data": 1}', b'{"data": []}', b'{"event": []}'],
)
def test_what_is_no_item_is_refused(raw: bytes) -> None:
    for type_ in TYPES:
        found = parse_item(type_, raw, "/0", NOW)
        assert isinstance(found, list) and found


@pytest.mark.parametrize("raw", [b"[" * 200_000, b'{"data":' * 50_000, b'{"data":' * 40 + b"1" + b"}" * 40])
def test_deep_nesting_is_a_reject_like_any_other(raw: bytes) -> None:
    found = parse_item("learner", raw, "/0", NOW)
    assert isinstance(found, list) and found[0].code in {"too_deep", "invalid_json"}
    nested: Any = {}
    for _ in range(5000):
        nested = {"residence": nested}
    found = parse_item("learner", {"data": nested}, "/0", NOW)
    assert isinstance(found, list) and found[0].code == "too_deep"


def test_an_unknown_type_is_refused() -> None:
    found = parse_item("diploma-x", b"{}", "", NOW)
    assert isinstance(found, list) and found[0].code == "unknown_type"


def test_a_good_filing_and_its_faults() -> None:
    draft = read("filing", FILING)
    assert draft.key == "000.00.12.H24-260907-0001"
    assert draft.body["applicant"]["kind"] == {"system": "applicant-kind", "code": "citizen", "canonical": None}
    assert draft.body["content"] == "Xin chuyển trường\ncho con"
    assert refuse("filing", changed(FILING, file_number="000.00.12.H24-261332-0001")) == {
        "/4/data/file_number": "implausible_date"
    }
    assert refuse("filing", changed(FILING, file_number="H24-0001", content="x" * 1001)) == {
        "/4/data/file_number": "invalid_form",
        "/4/data/content": "too_long",
    }
    bad = changed(FILING, attachments=[{"id": "1", "name": "a", "url": "javascript:alert(1)"}])
    assert refuse("filing", bad) == {"/4/data/attachments/0/url": "invalid_form"}


def test_a_class_is_known_by_school_class_and_year() -> None:
    item = {
        "data": {
            "class_code": "6A1",
            "name": "Lớp 6A1",
            "grade": "6",
            "school_code": "31HP0123001",
            "school_year": "2026-2027",
        }
    }
    assert read("class", item).key == "31HP0123001/6A1/2026-2027"
    assert refuse("class", changed(item, school_year="2026-2028")) == {"/4/data/school_year": "implausible_school_year"}


def test_a_check_in_gets_its_times() -> None:
    item = {
        "data": {
            "person_code": "3112345678",
            "device": "gate-01",
            "school_code": "31HP0123001",
            "device_time_raw": "2026-11-23 07:01:02",
        }
    }
    draft = read("checkin", item)
    assert draft.body["corrected_time"] == "2026-11-23T07:01:02+07:00"
    assert draft.body["received_at"] == NOW.isoformat()
    assert draft.key == "gate-01/3112345678/2026-11-23 07:01:02"
    for raw in ("2026-02-30 07:01:02", "soon"):
        assert "corrected_time" not in read("checkin", changed(item, device_time_raw=raw)).body
    assert TYPES["checkin"].order_key(draft.body) is None


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_path_of_a_type_leads_somewhere(name: str) -> None:
    import msgspec

    spec = TYPES[name]

    def walk(struct: Any, parts: list[str]) -> Any:
        found = {f.name: f.type for f in msgspec.structs.fields(struct)}
        assert parts[0] in found, (name, parts)
        rest = [p for p in parts[1:] if p != "*"]
        return walk(inner(found[parts[0]]), rest) if rest else found[parts[0]]

    def inner(annotation: Any) -> Any:
        if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct) and annotation is not Coded:
            return annotation
        return next((t for a in getattr(annotation, "__args__", ()) if (t := inner(a)) is not None), None)

    for path in (*spec.personal_fields, *spec.sensitive_fields, *spec.names, *spec.texts, *spec.key_fields):
        walk(spec.struct, path.split("/"))
    for path, (source, target) in spec.code_fields.items():
        assert Coded in _flat(walk(spec.struct, path.split("/")))
        assert source in base().systems and target in base().systems


def _flat(annotation: Any) -> list[Any]:
    return [annotation, *(t for a in getattr(annotation, "__args__", ()) for t in _flat(a))]


def test_every_field_has_a_title_in_both_languages() -> None:
    import msgspec

    from mappings.canonical import models

    structs = [
        v
        for v in vars(models).values()
        if isinstance(v, type) and issubclass(v, msgspec.Struct) and v is not msgspec.Struct
    ]
    names = {f.name for s in structs for f in msgspec.structs.fields(s)}
    assert names <= set(TITLES), names - set(TITLES)


def test_the_exported_schemas_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--check"]) == 0, capsys.readouterr().out
    assert export.main([]) == 2


def test_rejects_are_bounded() -> None:
    item = changed(LEARNER, **{f"extra{n}": n for n in range(500)}, birth_date=5, parents=[{"personal_number": 1}])
    found = parse_item("learner", item, "", NOW)
    assert isinstance(found, list) and len(found) == 50


def test_a_long_history_of_times_does_not_matter() -> None:
    for n in range(300):
        assert isinstance(parse_item("learner", copy.deepcopy(LEARNER), "", NOW + timedelta(seconds=n)), Draft)
