"""Writing workbooks: the templates with their category sheets, filled or empty, and a school's own with its faults marked.

One concern: cells out. It must never write a formula, whatever a text begins with.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from adapters.ministry.excel.read import csv_rows, faults_in, letters
from adapters.ministry.excel.template import Column, Template, template_of

_AUTHOR = "Liên Thông"
_FAULTS = "Lỗi cần sửa"
_LIST_ROWS = 5_000
_LONGEST = 1_000


def filled(record_type: str, bodies: Iterable[Mapping[str, Any]], codes: Any) -> bytes:
    """A workbook in the Ministry's template with a row for each canonical record; none gives the empty template."""
    from openpyxl import Workbook  # with the first workbook
    from openpyxl.styles import Alignment, Border, Font, PatternFill, Side

    template = template_of(record_type)
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.title = template.sheet
    depth = template.header_rows
    thin = Border(*(Side(style="thin", color="A0A0A0"),) * 4)
    for place, column in enumerate(template.columns, start=1):
        texts = [*column.group, *[""] * (depth - 1 - len(column.group))]
        for row, text in enumerate([*texts, column.header] if depth > 1 else [column.header], start=1):
            cell = sheet.cell(row=row, column=place, value=text or None)
            cell.font, cell.border = Font(bold=True), thin
            cell.fill = PatternFill("solid", fgColor="DDE7F3")
            cell.alignment = Alignment(wrap_text=True, horizontal="center", vertical="center")
        sheet.column_dimensions[letters(place - 1)].width = column.width
    _merge(sheet, template, depth)
    sheet.freeze_panes = f"A{depth + 1}"
    for number, body in enumerate(bodies, start=1):
        for place, column in enumerate(template.columns, start=1):
            value = number if column.header == "STT" else _value(column, body, codes)
            if value is not None:
                _put(sheet.cell(row=depth + number, column=place), value)
    _categories(book, sheet, template, depth, codes)
    return _saved(book)


def _merge(sheet: Any, template: Template, depth: int) -> None:
    """Equal groups side by side become one cell; a header with nothing above it reaches up."""
    for row in range(1, depth):
        start = 1
        for place in range(2, len(template.columns) + 2):
            same = (
                place <= len(template.columns)
                and template.columns[place - 1].group[:row] == template.columns[start - 1].group[:row]
            )
            if same:
                continue
            if place - start > 1 and len(template.columns[start - 1].group) >= row:
                sheet.merge_cells(start_row=row, end_row=row, start_column=start, end_column=place - 1)
            start = place


def _value(column: Column, body: Mapping[str, Any], codes: Any) -> Any:
    """A record's field as the template's cell has it; None when the record has none."""
    if column.to is None or not column.to.startswith("data/"):
        return None
    parts = column.to.split("/")[1:]
    holder: Any = body
    if parts[0] in ("parents", "marks"):
        key = "relation" if parts[0] == "parents" else "subject"
        holder = next((i for i in body.get(parts[0], ()) if _plain(i.get(key)) == parts[1]), None)
        parts = parts[2:]
    for part in parts:
        holder = holder.get(part) if isinstance(holder, Mapping) else None
    if holder is None:
        return None
    if column.kind == "date":
        return date.fromisoformat(holder)
    if column.kind == "flag":
        return "Có" if holder else "Không"
    if isinstance(holder, Mapping):
        code = _plain(holder)
        title = codes.title(column.codes, code) if column.codes else None
        return code if title is None or column.codes == "mark-rating" else title.vi
    return holder


def _plain(value: Any) -> Any:
    return (value.get("canonical") or value.get("code")) if isinstance(value, Mapping) else value


def _put(cell: Any, value: Any) -> None:
    cell.value = value
    if isinstance(value, str):
        cell.data_type = "s"  # also what begins with an equals sign
        cell.number_format = "@"
    elif isinstance(value, date):
        cell.number_format = "dd/mm/yyyy"


def _categories(book: Any, sheet: Any, template: Template, depth: int, codes: Any) -> None:
    """A sheet per code system with codes and titles, and a list to choose from in its columns."""
    from openpyxl.worksheet.datavalidation import DataValidation

    made: dict[str, str] = {}
    for place, column in enumerate(template.columns):
        if column.codes is None or (table := codes.systems.get(column.codes)) is None:
            continue
        if column.codes not in made:
            name = f"DM {column.header}"[:31].replace("/", " ")
            own = book.create_sheet(name)
            own.append(["Mã", "Tên"])
            rows = [r for r in table.rows if r.effective_to is None]
            for r in rows:
                own.append([r.code, r.vi])
            shown = "A" if column.codes == "mark-rating" else "B"
            own.column_dimensions["B"].width = 40
            made[column.codes] = f"'{name}'!${shown}$2:${shown}${len(rows) + 1}"
        choice = DataValidation(type="list", formula1=made[column.codes], allow_blank=True)
        choice.error, choice.errorTitle = "Chọn một giá trị trong danh mục.", column.header[:30]
        sheet.add_data_validation(choice)
        choice.add(f"{letters(place)}{depth + 1}:{letters(place)}{depth + _LIST_ROWS}")


def marked(body: bytes, *, is_csv: bool, faults: Sequence[tuple[str, str]]) -> bytes:
    """The workbook with each fault's cell in red and a comment on it, and a last sheet that lists them.

    `faults`: (pointer, sentence in Vietnamese); a fault of a whole row marks its first cell. Raises ValueError when the
    stored workbook cannot be opened any more.
    """
    from openpyxl import Workbook, load_workbook
    from openpyxl.comments import Comment
    from openpyxl.styles import Font, PatternFill

    if is_csv:
        book = Workbook()
        _fill_csv(book.worksheets[0], body)
    else:
        try:
            book = load_workbook(io.BytesIO(body))
        except Exception as error:
            # A workbook calamine reads may still be beyond the library that writes.
            raise ValueError(str(error)) from error
    red = PatternFill("solid", fgColor="F8B4B4")
    said: dict[tuple[int, str], list[str]] = {}
    for pointer, sentence in faults:
        spot = faults_in(pointer)
        if spot is not None and 0 < spot[0] <= len(book.worksheets):
            said.setdefault((spot[0], f"{spot[2] or 'A'}{spot[1]}"), []).append(sentence[:_LONGEST])
    listed = book.create_sheet(_FAULTS if _FAULTS not in book.sheetnames else f"{_FAULTS} {len(book.sheetnames)}")
    listed.append(["Trang", "Ô", "Cần sửa"])
    for column, width in (("A", 24), ("B", 10), ("C", 100)):
        listed.column_dimensions[column].width = width
        listed[f"{column}1"].font = Font(bold=True)
    for (number, where), sentences in said.items():
        sheet = book.worksheets[number - 1]
        cell = sheet[where]
        if not hasattr(cell, "comment") or cell.__class__.__name__ == "MergedCell":
            cell = sheet.cell(row=int("".join(c for c in where if c.isdigit())), column=1)
        cell.fill = red
        text = "\n".join(sentences)
        cell.comment = Comment(text, _AUTHOR, width=320, height=40 + 20 * len(sentences))
        row = listed.max_row + 1
        for place, value in enumerate((sheet.title, where, text), start=1):
            _put(listed.cell(row=row, column=place), value)
    return _saved(book)


def _fill_csv(sheet: Any, body: bytes) -> None:
    for row, cells in enumerate(csv_rows(body), start=1):
        for place, value in enumerate(cells, start=1):
            if value:
                _put(sheet.cell(row=row, column=place), value)


def _saved(book: Any) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
