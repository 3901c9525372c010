"""The Ministry's templates, written and read: headers by name, cells by what they mean, faults where they stand."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from adapters.ministry.excel import write
from adapters.ministry.excel.books import MinistryBooks
from adapters.ministry.excel.read import letters, read
from adapters.ministry.excel.template import template_of, template_types
from hub.kernel.ports import Book, BookRefused, Draft
from mappings.canonical.parse import parse_item
from mappings.canonical.registry import TYPES
from mappings.catalogue import base

TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
GIVEN = {"school_code": "31HP0123001", "school_level": "03", "school_year": "2026-2027"}


def sheet(*rows: list[Any], mac: bool = False, merge: tuple[str, ...] = ()) -> bytes:
    made = openpyxl.Workbook()
    if mac:
        made.epoch = CALENDAR_MAC_1904
    for cells in rows:
        made.worksheets[0].append(cells)
    for place in merge:
        made.worksheets[0].merge_cells(place)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def known(record_type: str) -> dict[str, Any]:
    fields = TYPES[record_type].struct.__struct_fields__
    return {k: v for k, v in GIVEN.items() if k in fields} | {"today": TODAY}


def taken(body: bytes, record_type: str = "learner", is_csv: bool = False) -> Book:
    return read(record_type, body, is_csv=is_csv, given=known(record_type), codes=base())


def test_a_results_template_has_three_header_rows_and_35_columns() -> None:
    template = template_of("study_result")
    assert (template.header_rows, len(template.columns)) == (3, 35)
    assert all(template_of(t).assumed and len(template_of(t).why) > 30 for t in template_types())


def test_headers_are_matched_by_name_whatever_their_order_spelling_and_place() -> None:
    rows = [
        ["SỞ GIÁO DỤC VÀ ĐÀO TẠO"],
        [],
        ["HỌ  VÀ TÊN *", "ngay sinh", "Ghi chú của cô", "mã_học_sinh", "GIỚI TÍNH", "Lớp"],
        ["Nguyễn Văn Mẫu", "05/03/2014", "ngoan", "HS001", "nam", "6A1"],
    ]
    book = taken(sheet(*rows))
    (row,) = book.rows
    assert row.pointer == "/sheets/1/4" and book.ignored == ["Sheet!C Ghi chú của cô"]
    assert row.item["data"] == {
        "learner_code": "HS001", "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "nam", "class_code": "6A1",
        "status": "Đang học", "school_code": "31HP0123001", "school_level": "03",
    }  # fmt: skip
    assert row.columns["data/birth_date"] == "B" and row.columns["data/learner_code"] == "D"


@pytest.mark.parametrize(
    ("cell", "mac", "wanted"),
    [
        (41703, False, "2014-03-05"), (40241, True, "2014-03-05"), (date(2014, 3, 5), False, "2014-03-05"),
        (date(2014, 3, 5), True, "2014-03-05"), ("5/3/2014", False, "2014-03-05"), ("05-03-2014", False, "2014-03-05"),
        ("5.3.2014", False, "2014-03-05"), ("2014-03-05", False, "2014-03-05"), (" 05 / 03 / 2014 ", False, "2014-03-05"),
        ("30/02/2014", False, None), ("3/5/14", False, None), ("tháng ba", False, None), (-3, False, None), (9e9, False, None),
    ],
)  # fmt: skip
def test_dates(cell: Any, mac: bool, wanted: str | None) -> None:
    (row,) = taken(sheet(["Mã học sinh", "Họ tên", "Ngày sinh"], ["HS001", "A", cell], mac=mac)).rows
    assert row.item["data"].get("birth_date") == wanted
    if wanted is None:
        assert [(r.pointer, r.code) for r in row.rejects] == [("/sheets/1/2/C", "invalid_date")]
        assert "dd/mm/yyyy" in row.rejects[0].message.vi


def test_numbers_that_are_codes() -> None:
    heads = ["Mã học sinh", "Họ tên", "Số định danh cá nhân", "Số điện thoại mẹ", "Họ tên mẹ", "Mã lớp"]
    (row,) = taken(sheet(heads, [3112345678, "A", 31214000001, 912345678, "B", 61])).rows
    data = row.item["data"]
    assert (data["learner_code"], data["personal_number"], data["class_code"]) == ("3112345678", "031214000001", "61")
    assert data["parents"] == [{"relation": "mother", "phone": "0912345678", "full_name": "B"}]
    assert row.columns["data/parents/0/phone"] == "D"


def test_what_is_outside_the_catalogue_is_refused_with_what_is_like_it() -> None:
    (row,) = taken(sheet(["Mã học sinh", "Họ tên", "Dân tộc", "Giới tính"], ["HS001", "A", "Tàyy", "?"])).rows
    assert [(r.pointer, r.code) for r in row.rejects] == [
        ("/sheets/1/2/C", "outside_catalogue"),
        ("/sheets/1/2/D", "outside_catalogue"),
    ]
    assert "Tày" in row.rejects[0].message.vi and "Tàyy" not in row.rejects[0].message.vi, "values are not repeated"


def test_a_formula_is_its_stored_value_or_nothing_never_evaluated() -> None:
    (row,) = taken(sheet(["Mã học sinh", "Họ tên", "Mã lớp"], ["HS001", "A", '="6A"&"1"'])).rows
    assert "class_code" not in row.item["data"]


def test_merged_headers_over_three_rows_are_found_by_the_lowest() -> None:
    rows = [
        ["Mã học sinh", "Học kỳ", "Môn học", None, None],
        [None, None, "Điểm số", None, "Nhận xét"],
        [None, None, "Toán", "Vật lý", "GDTC"],
        ["HS001", "HK2", "8,5", 7, "Đ"],
    ]
    (row,) = taken(sheet(*rows, merge=("A1:A3", "B1:B3", "C1:E1", "C2:D2")), "study_result").rows
    assert row.item["data"]["term"] == "HK2" and row.pointer == "/sheets/1/4"
    assert row.item["data"]["marks"] == [
        {"subject": "TOAN", "mark": 8.5}, {"subject": "VATLI", "mark": 7.0}, {"subject": "GDTC", "rating": "Đ"},
    ]  # fmt: skip
    assert row.columns["data/marks/1/mark"] == "D"


def test_the_sheet_that_has_the_columns_is_read_wherever_it_is_and_category_sheets_are_not() -> None:
    made = openpyxl.load_workbook(io.BytesIO(MinistryBooks().blank("learner", base())))
    made.move_sheet("Hồ sơ học sinh", offset=5)
    made["Hồ sơ học sinh"]["D2"], made["Hồ sơ học sinh"]["F2"] = "HS001", "A"
    out = io.BytesIO()
    made.save(out)
    (row,) = taken(out.getvalue()).rows
    assert row.pointer == "/sheets/6/2"


def test_csv_with_its_separators_and_a_wrong_alphabet() -> None:
    for separator in ",;\t":
        text = separator.join(["Mã học sinh", "Họ tên"]) + "\r\n" + separator.join(["HS001", '"Nguyễn ""Bé"" Văn"'])
        (row,) = taken(text.encode("utf-8-sig"), is_csv=True).rows
        assert row.item["data"]["full_name"] == 'Nguyễn "Bé" Văn'
        (row,) = taken(text.encode("utf-16"), is_csv=True).rows
        assert row.item["data"]["learner_code"] == "HS001"
    with pytest.raises(BookRefused) as refused:
        taken("Mã học sinh,Họ tên".encode("cp1258", "replace") + b"\xff\xd2", is_csv=True)
    assert refused.value.code == "not_utf8"
    # Software may name the fields as the hub does.
    (row,) = taken(b"learner_code,full_name\nHS001,A\n", is_csv=True).rows
    assert row.item["data"]["learner_code"] == "HS001"


def test_missing_columns_are_named() -> None:
    with pytest.raises(BookRefused) as refused:
        taken(sheet(["Họ tên", "Giới tính"], ["A", "Nam"]))
    assert "Mã học sinh" in refused.value.text.vi


def learner_body() -> dict[str, Any]:
    data = {
        "learner_code": "HS001", "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "Nam", "school_code": "31HP0123001",
        "school_level": "03", "status": "studying", "ethnicity": "01", "grade": "6", "class_code": "6A1", "personal_number": "031214000001",
        "status_since": "2026-09-05", "residence": {"ward": "11311", "detail": "=Số 1"}, "poor_household": "0",
        "parents": [{"relation": "father", "full_name": "Nguyễn Văn Thử", "phone": "0900000001"}],
    }  # fmt: skip
    return canonical("learner", data)


def canonical(record_type: str, data: dict[str, Any]) -> dict[str, Any]:
    found = parse_item(record_type, {"data": data}, "", NOW)
    assert isinstance(found, Draft), found
    base().standardise_record(TYPES[record_type], found.body, TODAY)
    return found.body


@pytest.mark.parametrize("record_type", ["learner", "study_result", "class", "staff"])
def test_what_is_written_into_a_template_is_read_back_the_same(record_type: str) -> None:
    bodies = {
        "learner": learner_body(),
        "study_result": canonical("study_result", {
            "learner_code": "HS001", "school_code": "31HP0123001", "school_year": "2026-2027", "term": "CN", "average": 8.4, "study_level": "2",
            "conduct": "1", "promoted": True, "retrain": False, "days_absent": 3,
            "marks": [{"subject": "TOAN", "mark": 9.5}, {"subject": "GDTC", "rating": "CĐ"}],
            }),
        "class": canonical("class", {"class_code": "6A1", "name": "Lớp 6A1", "grade": "6", "school_code": "31HP0123001", "school_year": "2026-2027"}),
        "staff": canonical("staff", {
            "staff_code": "GV001", "full_name": "Trần Thị Ví Dụ", "birth_date": "1985-03-05", "sex": "Nữ", "school_code": "31HP0123001",
            "group": "teacher", "status": "working", "social_insurance": "0123456789", "joined_on": "2010-08-01"}),
    }  # fmt: skip
    body = write.filled(record_type, [bodies[record_type]], base())
    (row,) = taken(body, record_type).rows
    assert not row.rejects
    back = canonical(record_type, row.item["data"])

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return value["canonical"] if "canonical" in value else {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list) else value

    wanted = plain(bodies[record_type])
    got = plain(back)
    assert {k: got.get(k) for k in wanted} == wanted


def test_marks_never_make_a_formula_out_of_a_text() -> None:
    body = "Mã học sinh,Họ tên\n=1+1,@x\n".encode()
    back = openpyxl.load_workbook(
        io.BytesIO(
            write.marked(body, is_csv=True, faults=[("/sheets/1/2/A", "Mã học sinh sai."), ("/sheets/1/2", "Thiếu.")])
        )
    )
    cell = back.worksheets[0]["A2"]
    assert cell.value == "=1+1" and cell.data_type == "s" and cell.comment.text == "Mã học sinh sai.\nThiếu."
    assert write.marked(body, is_csv=True, faults=[("/nowhere", "x"), ("/sheets/9/1/A", "y"), ("/sheets/1/1/A", "z")])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.none(),
                st.text(max_size=12),
                st.floats(allow_nan=False, allow_infinity=False),
                st.booleans(),
                st.dates(),
            ),
            max_size=6,
        ),
        max_size=6,
    )
)
def test_no_cells_whatever_raise_anything_but_a_refusal(rows: list[list[Any]]) -> None:
    clean = [[c if not isinstance(c, str) else "".join(x for x in c if x.isprintable()) for c in r] for r in rows]
    body = sheet(["Mã học sinh", "Họ tên", "Ngày sinh", "Giới tính", "Hộ nghèo", "Mã tạm"], *clean)
    for row in taken(body).rows:
        found = parse_item("learner", row.item, row.pointer, NOW)
        assert isinstance(found, Draft | list)


def test_letters() -> None:
    assert [letters(n) for n in (0, 25, 26, 34, 51, 52, 701)] == ["A", "Z", "AA", "AI", "AZ", "BA", "ZZ"]
