"""Workbooks over HTTP: a school's file, row by row, and what it gets back."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import Any

import openpyxl

S1, S2 = "31HP0000001", "31HP0000002"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PICTURE = b"\xff\xd8\xff\xe0MARK-7f3a" + bytes(range(256)) * 8
HEADERS = [
    "Mã lớp",
    "Mã học sinh",
    "Họ tên",
    "Ngày sinh (dd/mm/yyyy)",
    "Giới tính",
    "Dân tộc",
    "Trạng thái HS",
    "Số định danh cá nhân",
]


def row(code: str, **more: Any) -> list[Any]:
    full = {
        "lop": "6A1",
        "ma": code,
        "ten": "Nguyễn Văn Mẫu",
        "sinh": "05/03/2014",
        "gt": "Nam",
        "dt": "Kinh",
        "tt": "Đang học",
        "so": None,
    }
    return list((full | more).values())


def book(*rows: list[Any], headers: list[str] = HEADERS, pictures: bool = False) -> bytes:
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    sheet.title = "Danh sách lớp 6"
    sheet.append(["TRƯỜNG THCS THỬ NGHIỆM"])
    sheet.append(headers)
    for cells in rows:
        sheet.append(cells)
    out = io.BytesIO()
    made.save(out)
    if pictures:
        with zipfile.ZipFile(out, "a") as archive:
            archive.writestr("xl/media/image1.jpeg", PICTURE)
    return out.getvalue()


def test_rows_are_taken_or_refused_each_with_its_cell(gateway: Any) -> None:
    rows = [row(f"WA{n}") for n in range(250)]
    rows[10] = row("WA10", sinh="30/02/2014", dt="Kinhh")
    rows[200] = row("WA200", ten=None)
    with gateway.client("key-of-school-1", **{"Content-Type": XLSX}) as c:
        reply = c.post("/v1/messages/learner", content=book(*rows))
        assert reply.status_code == 202, reply.text
        told = reply.json()
        assert (told["records"], told["rejected"], told["ignored_columns"]) == (248, 2, [])
        first, second = told["rejects"]
        assert (first["code"], first["sheet"], first["row"]) == ("several_faults", 1, 13)
        assert "/sheets/1/13/D" in first["vi"] and "/sheets/1/13/F" in first["vi"] and "Gần giống: Kinh" in first["vi"]
        assert (second["sheet"], second["row"]) == (1, 203) and "Họ và tên" in second["vi"]
        receipt = c.get(f"/v1/receipts/{told['receipt']}?limit=1000").json()
        assert len(receipt["records"]) == 248 and len(receipt["messages"]) == 3, "in chunks, one message each"
        assert receipt["records"][0]["pointer"] == "/sheets/1/3"

        errors = c.get(told["links"]["errors"])
        assert errors.status_code == 200 and errors.headers["content-type"] == XLSX
        marked = openpyxl.load_workbook(io.BytesIO(errors.content))
        sheet = marked["Danh sách lớp 6"]
        assert "dd/mm/yyyy" in sheet["D13"].comment.text and "danh mục" in sheet["F13"].comment.text
        assert sheet["D13"].fill.fgColor.rgb.endswith("F8B4B4") and sheet["D12"].comment is None
        assert "còn thiếu" in sheet["A203"].comment.text
        assert [r[1].value for r in marked["Lỗi cần sửa"].iter_rows(min_row=2)] == ["D13", "F13", "A203"]

        # Corrected in that very file and sent again: what was right is unchanged, what was wrong is taken.
        sheet["D13"], sheet["F13"], sheet["C203"] = "28/02/2014", "Kinh", "Nguyễn Văn Mới"
        out = io.BytesIO()
        marked.save(out)
        again = c.post("/v1/messages/learner", content=out.getvalue()).json()
        assert (again["records"], again["unchanged"], again["rejected"]) == (250, 248, 0)
    with gateway.client("key-of-school-2") as other:
        assert other.get(f"/v1/receipts/{told['receipt']}/errors.xlsx").status_code == 404


def test_the_stored_file_holds_no_picture(gateway: Any, ledger: Any) -> None:
    with gateway.client("key-of-school-1", **{"Content-Type": XLSX}) as c:
        assert c.post("/v1/messages/learner", content=book(row("WB1"), pictures=True)).status_code == 202

    async def look() -> None:
        async with ledger() as led:
            (stored,) = await led.rows("SELECT body, removed FROM messages")
            assert b"MARK-7f3a" not in stored["body"]
            with zipfile.ZipFile(io.BytesIO(stored["body"])) as archive:
                assert not any(b"MARK-7f3a" in archive.read(n) or "media" in n for n in archive.namelist())
            assert [r["pointer"] for r in stored["removed"]] == ["/xl/media/image1.jpeg"]

    asyncio.run(look())


def test_the_same_file_with_the_same_key_is_one_upload(gateway: Any) -> None:
    body = book(*(row(f"WC{n}") for n in range(120)))
    with gateway.client("key-of-school-1", **{"Content-Type": XLSX, "Idempotency-Key": "lop-6"}) as c:
        first, second = (c.post("/v1/messages/learner", content=body) for _ in range(2))
        assert first.json()["receipt"] == second.json()["receipt"] and second.headers["idempotent-replayed"] == "true"
        other = c.post("/v1/messages/learner", content=book(row("WC1")))
        assert other.status_code == 422 and other.json()["code"] == "key_reused"


def test_csv_and_whose_school_it_is(gateway: Any) -> None:
    text = (
        "\ufeff"
        + ";".join(HEADERS)
        + "\n"
        + ";".join(["6A1", "WD1", "Nguyễn Văn Mẫu", "5/3/2014", "Nam", "Kinh", "Đang học", ""])
        + "\n"
    )
    with gateway.client("key-of-department", **{"Content-Type": "text/csv; charset=utf-8"}) as c:
        refused = c.post("/v1/messages/learner", content=text.encode())
        assert (refused.status_code, refused.json()["code"]) == (422, "school_needed")
        taken = c.post(f"/v1/messages/learner?school={S2}", content=text.encode()).json()
        assert taken["records"] == 1
    with gateway.client("key-of-school-1", **{"Content-Type": "text/csv"}) as c:
        # Another school's rows are refused one by one, whoever's file they stand in.
        wide = ",".join([*HEADERS, "Mã trường"]) + "\n" + f"6A1,WD2,Nguyễn Văn Mẫu,5/3/2014,Nam,Kinh,,,{S2}\n"
        told = c.post(f"/v1/messages/learner?school={S2}", content=wide.encode()).json()
        assert (told["records"], told["rejected"]) == (0, 1) and told["rejects"][0]["code"] == "outside_scope"
        back = openpyxl.load_workbook(io.BytesIO(c.get(told["links"]["errors"]).content))
        assert back.worksheets[0]["B2"].value == "WD2" and back.worksheets[0]["A2"].comment is not None


def test_a_file_that_comes_back_with_codes_joins_the_learners_it_left_as(gateway: Any, ledger: Any) -> None:
    number = "031214000001"
    with gateway.client("key-of-school-1", **{"Content-Type": XLSX}) as c:
        left = book(row("TAM-1", so=number), row("TAM-2", ten="Trần Thị Ví Dụ", gt="Nữ", so="031314000002"))
        assert c.post("/v1/messages/learner", content=left).json()["records"] == 2
        # The Ministry's file: one recognised by who it is (its number a number cell), one told by a column.
        headers = [*HEADERS, "Mã tạm"]
        back = book(
            [*row("3190000001", so=31214000001), None],
            [*row("3190000002", ten="Trần Thị Khác", gt="Nữ"), "TAM-2"],
            headers=headers,
        )
        told = c.post("/v1/messages/learner", content=back).json()
        assert told["rejected"] == 0, told

    async def look() -> None:
        async with ledger() as led:
            rows = await led.rows(
                "SELECT key, version FROM streams WHERE type = 'learner' AND event <> 'MOVED' ORDER BY key"
            )
            assert [r["key"] for r in rows] == [f"TAM-1@{S1}", f"TAM-2@{S1}"]
            assert await led.value("SELECT count(*) FROM codes_given") == 2

    asyncio.run(look())


def test_templates_can_be_fetched_and_results_pushed_in_theirs(gateway: Any) -> None:
    with gateway.client("key-of-school-1") as c:
        for kind in ("learner", "study_result", "class", "staff"):
            assert c.get(f"/v1/templates/{kind}.xlsx").status_code == 200
        assert c.get("/v1/templates/filing.xlsx").status_code == 404
        sheet = (
            made := openpyxl.load_workbook(io.BytesIO(c.get("/v1/templates/study_result.xlsx").content))
        ).worksheets[0]
        heads = {sheet.cell(3, n).value: n for n in range(1, 36)}
        assert len(heads) == 35
        cells = {"Mã học sinh": "WE1", "Học kỳ": "Học kỳ I", "Toán": 8.5, "Ngữ văn": "7,5", "Giáo dục thể chất": "Đạt", "Kết quả học tập": "Khá",
                 "Kết quả rèn luyện": "Tốt", "Điểm tổng kết": "11", "Số ngày nghỉ": 2, "Được lên lớp": "x"}  # fmt: skip
        for name, value in cells.items():
            sheet.cell(4, heads[name]).value = value
            sheet.cell(5, heads[name]).value = (
                8.2 if name == "Điểm tổng kết" else "WE2" if name == "Mã học sinh" else value
            )
        out = io.BytesIO()
        made.save(out)
        told = c.post(
            "/v1/messages/study_result?school_year=2025-2026", content=out.getvalue(), headers={"Content-Type": XLSX}
        ).json()
        assert (told["records"], told["rejected"]) == (1, 1)
        assert told["rejects"][0]["column"] == "AB" and told["rejects"][0]["row"] == 4


def test_a_file_that_is_none_is_refused_with_a_reason(gateway: Any) -> None:
    cases = [
        (b"PK\x03\x04 nothing", "not_a_workbook"),
        (b"\xd0\xcf\x11\xe0 old", "old_or_locked"),
        (b"", "not_a_workbook"),
        (book(headers=["A", "B"]), "no_table"),
        (book(headers=[*HEADERS, "Họ và tên"]), "repeated_header"),
        (book(), "empty"),
    ]
    with gateway.client("key-of-school-1", **{"Content-Type": XLSX}) as c:
        for content, code in cases:
            reply = c.post("/v1/messages/learner", content=content)
            assert (reply.status_code, reply.json()["code"]) == (422, code), reply.text
            assert reply.json()["texts"]["vi"] and reply.json()["texts"]["en"]
        assert c.post("/v1/messages/filing", content=book(row("W1"))).json()["code"] == "no_template"
