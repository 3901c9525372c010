"""A school's file through the console, and what waits for something to be delivered first."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import openpyxl
import pytest

from tests.browser.seed import SCHOOLS
from tests.browser.test_pages import OVERFLOW

HEADERS = ["Mã lớp", "Mã học sinh", "Họ tên", "Ngày sinh (dd/mm/yyyy)", "Giới tính", "Dân tộc"]
LOOK = os.environ.get("LOOK")


def book(*rows: list[object]) -> bytes:
    made = openpyxl.Workbook()
    for cells in ([*HEADERS], *rows):
        made.worksheets[0].append(cells)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def look(page, name: str) -> None:
    if LOOK:
        page.screenshot(path=str(Path(LOOK) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize(("width", "lang"), [(1280, "vi"), (390, "en")])
def test_a_file_gets_a_receipt_and_comes_back_with_its_faults_marked(site, sign_in, width: int, lang: str) -> None:
    page = sign_in("truong1", width=width, lang=lang)
    page.goto("/receipts")
    assert page.evaluate(OVERFLOW) <= 0 and page.locator("#upload [name=school]").count() == 0, (
        "a school's own need not be said"
    )
    look(page, f"upload-{width}-{lang}")
    with page.expect_download() as got:
        page.locator("#upload a[download]").first.click()
    assert openpyxl.load_workbook(io.BytesIO(Path(got.value.path()).read_bytes())).worksheets
    good = ["6A1", f"HSUP{width}1", "Nguyễn Văn Mẫu", "05/03/2014", "Nam", "Kinh"]
    bad = ["6A1", f"HSUP{width}2", "Trần Thị Ví Dụ", "31/02/2014", "Nữ", "Kinh"]
    file = {"name": "lop6.xlsx", "mimeType": "application/octet-stream", "buffer": book(good, bad)}
    page.set_input_files("#upload [name=file]", file)
    page.click("#upload button.main")
    page.wait_for_url("**/receipts/*-*")
    assert page.evaluate(OVERFLOW) <= 0
    look(page, f"receipt-{width}-{lang}")
    assert "D3" in page.locator("#faults").inner_text() and "dd/mm/yyyy" in page.locator("#faults").inner_text()
    with page.expect_download() as got:
        page.click("#faults a[download]")
    assert (
        "dd/mm/yyyy"
        in openpyxl.load_workbook(io.BytesIO(Path(got.value.path()).read_bytes())).worksheets[0]["D3"].comment.text
    )
    assert (
        site.sql(
            "SELECT data ->> 'purpose' FROM journal WHERE kind = 'unmask' AND actor = 'truong1' ORDER BY id DESC LIMIT 1"
        )[0][0]
        == "errors.xlsx"
    )


def test_a_file_that_is_none_is_refused_in_words_and_auditors_have_no_form(site, sign_in) -> None:
    page = sign_in("vanhanh")
    page.goto("/receipts")
    page.fill("#upload [name=school]", SCHOOLS[0][0])
    page.set_input_files("#upload [name=file]", {"name": "a.xlsx", "mimeType": "x/y", "buffer": b"PK nothing"})
    page.click("#upload button.main")
    assert "không phải sổ tính" in page.locator("[role=alert]").inner_text()
    page = sign_in("giamsat")
    page.goto("/receipts")
    assert page.locator("#upload").count() == 0


@pytest.mark.parametrize(("width", "lang"), [(1280, "vi"), (390, "en")])
def test_a_zip_said_to_be_the_full_list_and_the_list_taken_out(site, sign_in, width: int, lang: str) -> None:
    page = sign_in("truong1", width=width, lang=lang)
    page.goto("/receipts")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("6A1.xlsx", book(["6A1", f"HSZP{width}1", "Nguyễn Văn Mẫu", "05/03/2014", "Nam", "Kinh"]))
        made.writestr("6A2.xlsx", book(["6A2", f"HSZP{width}2", "Trần Thị Ví Dụ", "06/03/2014", "Nữ", "Kinh"]))
    page.set_input_files(
        "#upload [name=file]", {"name": "khoi6.zip", "mimeType": "application/zip", "buffer": out.getvalue()}
    )
    page.check("#upload [name=full]")
    page.click("#upload button.main")
    taken = page.locator("#taken")
    assert taken.locator("tbody tr").count() == 2 and taken.locator("li").count() == 1
    assert page.evaluate(OVERFLOW) <= 0
    look(page, f"zip-{width}-{lang}")
    assert site.sql("SELECT count(*) FROM roster_rows WHERE key LIKE $1", f"HSZP{width}%")[0][0] == 2

    page.fill("#export [name=purpose]", "Nộp báo cáo đầu năm")
    with page.expect_download() as got:
        page.click("#export button")
    sheet = openpyxl.load_workbook(io.BytesIO(Path(got.value.path()).read_bytes())).worksheets[0]
    assert f"HSZP{width}1" in {cell.value for line in sheet.iter_rows() for cell in line}
    told = site.sql("SELECT data FROM journal WHERE kind = 'export' AND actor = 'truong1' ORDER BY id DESC LIMIT 1")[0][
        0
    ]
    assert "Nộp báo cáo đầu năm" in str(told)
    page = sign_in("quantri", width=width, lang=lang)
    page.goto("/audit?kind=export")
    assert page.evaluate(OVERFLOW) <= 0
    look(page, f"audit-export-{width}-{lang}")


@pytest.mark.parametrize(("width", "lang"), [(1280, "vi"), (390, "en")])
def test_what_waits_is_shown_with_its_reason_and_can_be_sent_anyway(site, sign_in, width: int, lang: str) -> None:
    rows = site.sql("SELECT id FROM deliveries WHERE state = 4 ORDER BY id LIMIT 2")
    ids = [r["id"] for r in rows]
    name = f"school:{SCHOOLS[0][0]}/"
    site.sql("UPDATE deliveries SET waits_for = $2, cause = 'prerequisite' WHERE id = ANY ($1::bigint[])", ids, name)
    try:
        page = sign_in("vanhanh", width=width, lang=lang)
        page.goto("/parked")
        assert page.evaluate(OVERFLOW) <= 0
        look(page, f"waits-{width}-{lang}")
        section = page.locator("#waits")
        assert SCHOOLS[0][0] in section.inner_text()
        section.locator("summary").first.click()
        section.locator("[name=why]").first.fill("Bộ đã có trường")
        section.locator("button").first.click()
        moved = site.sql("SELECT count(*) FROM deliveries WHERE id = ANY ($1::bigint[]) AND state = 2 AND anyway", ids)
        assert moved[0][0] == len(ids) > 0
        page.goto("/deliveries?state=waiting")
        assert page.evaluate(OVERFLOW) <= 0
    finally:
        site.sql(
            "UPDATE deliveries SET state = 4, waits_for = NULL, cause = 'try_later', anyway = false WHERE id = ANY ($1::bigint[])",
            ids,
        )
