"""Reading a school's workbook or CSV file: sheets found by their headers, rows turned into items with their places.

One concern: from a cleaned file to items. Values only: no formula is ever evaluated. It must never go by a column's position,
pass over a sheet of the template in silence, or lose the cell a value came from.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from adapters.ministry.excel.cells import Wrong, blank, meaning, text_of
from adapters.ministry.excel.template import Column, Template, header_fold, template_of
from hub.kernel.ports import Book, BookRefused, BookRow, Reject, Text

ROWS_MAX = 60_000
_HEADER_WITHIN = 25
"""Rows from the top among which a header is looked for: titles and notes may stand above it."""
_HEADER_DEPTH = 3
_MAC = re.compile(rb'date1904="(?:1|true|on)"')

_NOT_READABLE = Text("Không đọc được tệp này như một bảng.", "The file cannot be read as a table.")
_NOT_UTF8 = Text("Tệp CSV phải ở bảng mã UTF-8.", "The CSV file must be in UTF-8.")
_TOO_MANY = Text(f"Tệp có quá {ROWS_MAX} hàng; hãy chia nhỏ.", f"The file has more than {ROWS_MAX} rows; split it.")


class Grid(Struct, kw_only=True):
    """One sheet's values. `merged`: (top, left, bottom, right), counted from 0."""

    number: int
    name: str
    rows: list[list[Any]]
    merged: list[tuple[int, int, int, int]]
    mac: bool = False


def letters(column: int) -> str:
    """A column counted from 0, as workbooks name it."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(65 + rest) + name
    return name


def read(record_type: str, body: bytes, *, is_csv: bool, given: Mapping[str, Any], codes: Any) -> Book:
    """See `Workbooks.read`; `given` also has `today`, the day whose codes count.

    Raises `BookRefused` for a file that cannot be read, or in which no sheet has the headers.
    """
    template = template_of(record_type)
    book = Book(rows=[], ignored=[])
    fits = False
    for grid in _csv_grid(body) if is_csv else _grids(body):
        found = _header(template, grid)
        if found is None:
            continue
        fits = True
        row, columns = found
        book.ignored += _unknown(grid, row, columns)
        for item in _items(template, grid, row, columns, given, codes):
            book.rows.append(item)
            if len(book.rows) > ROWS_MAX:
                raise BookRefused("too_many_rows", _TOO_MANY)
    if not fits:
        wanted = ", ".join(c.header for c in template.columns if c.to in template.needs)
        vi = f"Không trang nào có đủ các cột của mẫu “{template.title.vi}”; cần ít nhất: {wanted}."
        en = f"No sheet has the columns of the template “{template.title.en}”; at least these are needed: {wanted}."
        raise BookRefused("no_table", Text(vi, en))
    return book


def _grids(body: bytes) -> Iterator[Grid]:
    from python_calamine import CalamineError, CalamineWorkbook  # with the first workbook

    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            mac = _MAC.search(archive.read("xl/workbook.xml")) is not None
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(body))
        for number, name in enumerate(workbook.sheet_names, start=1):
            sheet = workbook.get_sheet_by_index(number - 1)
            merged = [(a, b, c, d) for (a, b), (c, d) in sheet.merged_cell_ranges or ()]
            yield Grid(number=number, name=name, rows=sheet.to_python(skip_empty_area=False), merged=merged, mac=mac)
    except (CalamineError, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise BookRefused("unreadable", _NOT_READABLE) from error
    except BaseException as error:
        # What the reader's own code stumbles over arrives as an exception of no other kind.
        if type(error).__name__ != "PanicException":
            raise
        raise BookRefused("unreadable", _NOT_READABLE) from error


def csv_rows(body: bytes) -> list[list[str]]:
    """The cells of a CSV file; the separator is whichever of comma, semicolon and tab its first line has most of."""
    try:
        text = body.decode("utf-16" if body[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise BookRefused("not_utf8", _NOT_UTF8) from error
    first = text[:4096].split("\n", 1)[0]
    comma = max(",;\t", key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=comma))
    except csv.Error as error:
        raise BookRefused("unreadable", _NOT_READABLE) from error


def _csv_grid(body: bytes) -> Iterator[Grid]:
    rows: list[list[Any]] = [list(r) for r in csv_rows(body)]
    if len(rows) > ROWS_MAX + _HEADER_WITHIN:
        raise BookRefused("too_many_rows", _TOO_MANY)
    yield Grid(number=1, name="CSV", rows=rows, merged=[])


def _header(template: Template, grid: Grid) -> tuple[int, dict[int, Column]] | None:
    """(row of the lowest header, column of the template by place) where most headers are known; None: no such table.

    Raises `BookRefused` when two columns of the sheet mean the same field.
    """
    best: tuple[int, dict[int, Column]] | None = None
    for row in range(min(_HEADER_WITHIN, len(grid.rows))):
        known: dict[int, Column] = {}
        for place, text in enumerate(_seen(grid, row)):
            column = template.by_header.get(header_fold(text.rstrip("* "))) if text else None
            if column is not None:
                known[place] = column
        if {c.to for c in known.values()} >= set(template.needs) and (best is None or len(known) > len(best[1])):
            best = row, known
    if best is not None:
        _no_two(grid, best[1])
    return best


def _seen(grid: Grid, row: int) -> list[str]:
    """The header texts one meets looking down to `row`: its own, or the nearest above that reaches down to it."""
    width = max(len(r) for r in grid.rows[: row + 1])
    texts = []
    for place in range(min(width, 702)):
        found = ""
        for above in range(row, max(row - _HEADER_DEPTH, -1), -1):
            cells = grid.rows[above]
            if place < len(cells) and not blank(cells[place]):
                found = text_of(cells[place])
                break
        texts.append(found)
    for top, left, bottom, right in grid.merged:
        if top <= row <= bottom and top < len(grid.rows) and left < len(grid.rows[top]):
            # Only its first cell holds a merged range's text. To the right of it there is no second column of that name.
            if left < len(texts):
                texts[left] = text_of(grid.rows[top][left])
            texts[left + 1 : right + 1] = [""] * len(texts[left + 1 : right + 1])
    return texts


def _no_two(grid: Grid, known: dict[int, Column]) -> None:
    seen: dict[str, int] = {}
    for place, column in known.items():
        if column.to is not None and seen.setdefault(column.to, place) != place:
            both = f"{letters(seen[column.to])}, {letters(place)}"
            vi = f"Trang “{grid.name}” có hai cột cho “{column.header}”: {both}."
            en = f"The sheet “{grid.name}” has two columns for “{column.header}”: {both}."
            raise BookRefused("repeated_header", Text(vi, en))


def _unknown(grid: Grid, row: int, columns: dict[int, Column]) -> list[str]:
    return [
        f"{grid.name}!{letters(place)} {text[:60]}"
        for place, text in enumerate(_seen(grid, row))
        if text and place not in columns
    ]


def _items(
    template: Template, grid: Grid, header: int, columns: dict[int, Column], given: Mapping[str, Any], codes: Any
) -> Iterator[BookRow]:
    today = given["today"]
    mapped = {place: c for place, c in columns.items() if c.to is not None}
    present = {c.to for c in mapped.values()}
    absent = [c for c in template.columns if c.default is not None and c.to not in present]
    for number, cells in enumerate(grid.rows[header + 1 :], start=header + 2):
        filled = {p: cells[p] for p in mapped if p < len(cells) and not blank(cells[p])}
        if not filled:
            continue
        row = BookRow(pointer=f"/sheets/{grid.number}/{number}", item={}, columns={})
        values: dict[str, tuple[Any, str]] = {}
        for place, column in mapped.items():
            where = letters(place)
            if place not in filled:
                if column.default is not None:
                    values[str(column.to)] = column.default, where
                continue
            try:
                values[str(column.to)] = meaning(column, filled[place], grid.mac, codes, today), where
            except Wrong as wrong:
                row.rejects.append(Reject(pointer=f"{row.pointer}/{where}", code=wrong.code, message=wrong.text))
                row.columns[str(column.to)] = where
        for column in absent:
            values[str(column.to)] = column.default, ""
        _assemble(row, values, given)
        yield row


def _assemble(row: BookRow, values: Mapping[str, tuple[Any, str]], given: Mapping[str, Any]) -> None:
    """Put the values at their places in the item, with the columns they came from."""
    data: dict[str, Any] = {}
    lists: dict[str, dict[str, dict[str, Any]]] = {"parents": {}, "marks": {}}
    beside: dict[str, Any] = {}
    for path, (value, where) in values.items():
        head, _, rest = path.partition("/")
        parts = rest.split("/")
        if head == "beside":
            beside[parts[-1]] = value
            continue
        if parts[0] in lists:
            lists[parts[0]].setdefault(parts[1], {})[parts[2]] = value, where
        else:
            holder = data
            for part in parts[:-1]:
                holder = holder.setdefault(part, {})
            holder[parts[-1]] = value
            row.columns[path] = where
    for name, key in (("parents", "relation"), ("marks", "subject")):
        for n, (which, members) in enumerate(lists[name].items()):
            data.setdefault(name, []).append({key: which} | {k: v for k, (v, _) in members.items()})
            row.columns |= {f"data/{name}/{n}/{k}": where for k, (_, where) in members.items()}
            row.columns[f"data/{name}/{n}"] = next(iter(members.values()))[1]
    for name, value in given.items():
        if name != "today" and value is not None:
            data.setdefault(name, value)
    temporary = beside.get("temporary_code")
    if temporary is not None and data.setdefault("learner_code", temporary) != temporary:
        said = {
            "school_code": data.get("school_code"),
            "temporary_code": temporary,
            "learner_code": data["learner_code"],
        }
        row.beside.append(("code_given", {"data": said}))
    row.item = {"data": data}


def faults_in(pointer: str) -> tuple[int, int, str] | None:
    """(sheet, row, column letters or "") of a pointer into a workbook; None for any other pointer."""
    parts: Sequence[str] = pointer.split("/")
    if len(parts) not in (4, 5) or parts[1] != "sheets" or not (parts[2].isdigit() and parts[3].isdigit()):
        return None
    return int(parts[2]), int(parts[3]), parts[4] if len(parts) == 5 else ""
