"""The firewall for workbooks: pictures, macros, formulas, bombs and links do not get through; cells do."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import openpyxl
import pytest
from python_calamine import CalamineWorkbook

from hub.kernel import firewall_book
from hub.kernel.firewall_book import clean_book
from hub.kernel.ports import BookRefused

PNG = b"\x89PNG\r\n\x1a\n" + b"MARK" * 40
NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def hasher(data: bytes) -> str:
    return f"{len(data):064x}"


def book(**cells: Any) -> bytes:
    made = openpyxl.Workbook()
    for place, value in cells.items():
        made.worksheets[0][place] = value
    made.worksheets[0].merge_cells("A1:B1")
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def with_parts(body: bytes, replace: dict[str, bytes] | None = None, **added: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, (replace or {}).get(name, old.read(name)))
        for name, data in added.items():
            new.writestr(name, data)
    return out.getvalue()


def cells(body: bytes) -> list[list[Any]]:
    return CalamineWorkbook.from_filelike(io.BytesIO(body)).get_sheet_by_index(0).to_python(skip_empty_area=False)


def test_only_cells_come_through_and_cleaning_twice_changes_nothing() -> None:
    body = with_parts(
        book(A1="Họ tên", A2="=1+1", B2="=HYPERLINK(\"http://x\")", A3="=cmd|' /C calc'!A0", C3=5),
        **{"xl/media/image1.png": PNG, "xl/embeddings/oleObject1.bin": b"\xd0\xcf\x11\xe0" + b"MARK", "xl/comments1.xml": b"<a/>",
           "xl/externalLinks/externalLink1.xml": b"<a/>", "customXml/item1.xml": b"<a>MARK</a>"},
    )  # fmt: skip
    cleaned = clean_book(body, hasher)
    assert b"MARK" not in cleaned.body
    with zipfile.ZipFile(io.BytesIO(cleaned.body)) as archive:
        whole = b"".join(archive.read(n) for n in archive.namelist())
        assert b"<f>" not in whole and b"MARK" not in whole and b"HYPERLINK" not in whole
        assert all(
            n.startswith(("xl/w", "xl/s", "xl/theme", "xl/_rels", "_rels", "[Content")) for n in archive.namelist()
        )
    assert {(r.pointer, r.reason) for r in cleaned.removed} == {
        ("/xl/media/image1.png", "image"),
        ("/xl/embeddings/oleObject1.bin", "embedded"),
    }
    assert cells(cleaned.body)[0][0] == "Họ tên" and cells(cleaned.body)[2][2] == 5
    assert openpyxl.load_workbook(io.BytesIO(cleaned.body)).worksheets[0].merged_cells.ranges
    again = clean_book(cleaned.body, hasher)
    assert again.removed == [] and cells(again.body) == cells(cleaned.body)


def test_a_picture_typed_into_a_cell_goes_too() -> None:
    import base64

    picture = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4).decode()
    cleaned = clean_book(book(A1="Ảnh", A2=picture, A3="Nguyễn Văn Mẫu"), hasher)
    assert [r.reason for r in cleaned.removed] and cells(cleaned.body)[2][0] == "Nguyễn Văn Mẫu"
    assert "base64,/9j/" not in str(cells(cleaned.body))


def _bomb() -> bytes:
    return with_parts(book(A1="x"), **{"xl/media/big.png": b"\0" * 40_000_000})


def _lies() -> bytes:
    """A member that says it is small and is not."""
    body = bytearray(with_parts(book(A1="x"), **{"xl/media/big.png": b"\0" * 3_000_000}))
    size = (3_000_000).to_bytes(4, "little")
    at = body.rfind(size)
    body[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(body)


SHEET = "xl/worksheets/sheet1.xml"


def sheet(rows: str) -> bytes:
    return f"<worksheet {NS}><sheetData>{rows}</sheetData></worksheet>".encode()


HOSTILE = {
    "not a zip": (b"x" * 100, "not_a_workbook"),
    "cut short": (book(A1="x")[:-40], "not_a_workbook"),
    "no workbook": (with_parts(b"PK\x05\x06" + b"\0" * 18, a=b""), "not_a_workbook"),
    "macros": (with_parts(book(A1="x"), **{"xl/vbaProject.bin": b"x"}), "macros"),
    "macro sheet": (with_parts(book(A1="x"), **{"xl/macrosheets/sheet1.xml": b"<a/>"}), "macros"),
    "bomb": (_bomb(), "too_large_unpacked"),
    "far cell": (with_parts(book(A1="x"), {SHEET: sheet('<row r="1048576"><c r="XFD1048576"/></row>')}), "too_large_unpacked"),
    "wide cell": (with_parts(book(A1="x"), {SHEET: sheet('<row r="1"><c r="AAA1"/></row>')}), "too_large_unpacked"),
    "entities": (with_parts(book(A1="x"), {SHEET: b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet><sheetData/></worksheet>'}), "forbidden_xml"),
    "utf-16": (with_parts(book(A1="x"), {SHEET: "<worksheet/>".encode("utf-16")}), "forbidden_xml"),
    "no cells": (with_parts(book(A1="x"), {SHEET: f"<worksheet {NS}/>".encode()}), "not_a_workbook"),
    "broken book": (with_parts(book(A1="x"), {"xl/workbook.xml": b"<workbook"}), "not_a_workbook"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_a_reason(name: str) -> None:
    body, code = HOSTILE[name]
    with pytest.raises(BookRefused) as refused:
        clean_book(body, hasher)
    assert refused.value.code == code and refused.value.text.vi and refused.value.text.en


def test_a_member_that_lies_about_its_size_is_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall_book, "UNPACKED_MAX", 100_000)
    try:
        assert len(clean_book(_lies(), hasher).body) < 100_000
    except BookRefused as refused:
        assert refused.code in ("too_large_unpacked", "not_a_workbook")
