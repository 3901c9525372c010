"""The result sheet of a verification: an Excel workbook a school can work with, in Vietnamese.

One concern: rows to a workbook. Personal numbers are masked; names are there, for the school must know whom a line is about.
It must never let a text of the data act as a formula.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from mappings.canonical.messages import title
from mappings.verdicts import VERDICTS, words

MIME = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
KINDS = {
    "look_up": "Tra cứu thông tin công dân",
    "verify": "Xác thực thông tin công dân",
    "household": "Thông tin hộ gia đình",
    "relatives": "Thông tin nhân thân",
    "householder": "Thông tin chủ hộ",
    "residence": "Thông tin nơi ở hiện tại",
}
STATES = {
    "waiting": "Chưa hỏi",
    "asked": "Đang chờ trả lời",
    "answered": "Đã có kết quả",
    "skipped": "Không hỏi được",
    "failed": "Không có kết quả",
    "cancelled": "Đã dừng",
}
_HEAD = ("STT", "Mã học sinh", "Họ và tên", "Lớp", "Số định danh cá nhân", "Kết quả", "Mục khác biệt", "Lý do", "Thời điểm xác minh")  # fmt: skip
_WIDTHS = (6, 18, 30, 10, 18, 18, 32, 60, 20)
_COLOURS = {"match": "E3F4E1", "partial": "FFF4CE", "mismatch": "FBD9D7", "not_found": "FBD9D7"}
_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def masked(number: str | None) -> str | None:
    """A personal number as people outside may see it: its last two digits."""
    return None if not number else "•" * (len(number) - 2) + number[-2:]


async def sheet(verification: Any, rows: Sequence[Any]) -> bytes:
    """The workbook's bytes. Built in a thread: a large school's takes a second."""
    return await asyncio.to_thread(build, verification, rows)


def build(verification: Any, rows: Sequence[Any]) -> bytes:
    """The workbook's bytes. `verification` and `rows` as `hub.kernel.ledger.verifications` gives them."""
    from openpyxl import Workbook  # read only where a sheet is asked for: it is large
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment, Font, PatternFill

    book = Workbook(write_only=True)
    page = book.create_sheet("Kết quả xác minh")
    for place, width in enumerate(_WIDTHS):
        page.column_dimensions["ABCDEFGHI"[place]].width = width
    page.freeze_panes = "C7"

    def cell(value: Any, *, bold: bool = False, colour: str | None = None, wrap: bool = False) -> Any:
        made = WriteOnlyCell(page, value)
        if isinstance(value, str):
            # A name that begins with "=" is a name.
            made.data_type = "s"
        if bold:
            made.font = Font(bold=True)
        if colour:
            made.fill = PatternFill("solid", fgColor=colour)
        made.alignment = Alignment(vertical="top", wrap_text=wrap)
        return made

    at = verification["created_at"].astimezone(_ZONE)
    school = verification["school_name"] or verification["school"]
    for line in (
        ("KẾT QUẢ XÁC MINH VỚI CƠ SỞ DỮ LIỆU QUỐC GIA VỀ DÂN CƯ",),
        (f"Trường: {school} ({verification['school']})",),
        (f"Dịch vụ: {KINDS[verification['kind']]} · Mục đích: {verification['purpose']}",),
        (f"Cán bộ tra cứu: {verification['officer']} · Yêu cầu lúc: {at:%d/%m/%Y %H:%M}",),
        (),
    ):
        page.append([cell(text, bold=True) for text in line])
    page.append([cell(text, bold=True, colour="DDE3EA", wrap=True) for text in _HEAD])
    for number, row in enumerate(rows, 1):
        verdict = VERDICTS.get(row["verdict"] or "")
        told = verdict.vi if verdict else STATES[row["state"]]
        checked = row["checked_at"]
        page.append(
            [
                cell(number), cell(row["learner_code"]), cell(row["full_name"]), cell(row["class_code"]), cell(masked(row["personal_number"])),
                cell(told, colour=_COLOURS.get(row["verdict"] or "")), cell(", ".join(_fields(row["differing"])), wrap=True),
                cell("; ".join(words(said).vi for said in row["reasons"] or ()), wrap=True),
                cell(f"{checked.astimezone(_ZONE):%d/%m/%Y %H:%M}" if checked else None),
            ]
        )  # fmt: skip
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _fields(differing: Sequence[str] | None) -> list[str]:
    """The differing fields' titles, each once."""
    return list(dict.fromkeys(title(field).vi for field in differing or ()))
