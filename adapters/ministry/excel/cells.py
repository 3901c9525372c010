"""What a cell means: dates as serial numbers or text, numbers that are codes, marks with commas, words of a catalogue.

One concern: one value of one column. Pure. It must never guess between two readings, evaluate a formula, or repeat a value
in a sentence: values may be personal.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Any

from adapters.ministry.excel.template import Column, header_fold
from hub.kernel.ports import Text

_DAY_TEXT = re.compile(r"(\d{1,2})\s*[/.-]\s*(\d{1,2})\s*[/.-]\s*(\d{4})(?:\s+0?0:00(?::00)?)?")
_ISO_TEXT = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]00:00(?::00)?)?")
_NUMBER = re.compile(r"\d{1,3}(?:[.,]\d{1,4})?")
_SERIAL_MAX = 100_000
_EPOCH, _EPOCH_1904 = date(1899, 12, 30), date(1904, 1, 1)
_YES = {header_fold(w) for w in ("x", "có", "1", "đúng", "được", "true", "lên lớp", "được lên lớp", "yes")}
_NO = {header_fold(w) for w in ("không", "0", "sai", "false", "ở lại lớp", "chưa", "no")}


class Wrong(Exception):
    """Ô không đúng kiểu của cột. / The cell is not what its column asks for; `code` and `text` say why."""

    def __init__(self, code: str, vi: str, en: str) -> None:
        super().__init__(en)
        self.code = code
        self.text = Text(vi, en)


def text_of(value: Any) -> str:
    """A cell as people see it: a whole number without `.0`, a date as dd/mm/yyyy."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.strftime("%d/%m/%Y")
    if isinstance(value, time | timedelta):
        return str(value)
    return str(value).strip()


def blank(value: Any) -> bool:
    """Whether a cell holds nothing to see."""
    return value is None or (isinstance(value, str) and not value.strip())


def meaning(column: Column, value: Any, mac: bool, codes: Any, today: date) -> Any:
    """The field's value for a cell that is not blank. `mac`: the workbook counts days from 1904. Raises `Wrong`."""
    match column.kind:
        case "date":
            return _date(column, value, mac)
        case "digits":
            return _digits(column, value)
        case "phone":
            text = text_of(value)
            return "0" + text if isinstance(value, float) and len(text) == 9 else text
        case "mark":
            return _number(column, value)
        case "count":
            number = _number(column, value)
            if number != int(number):
                raise Wrong(
                    "wrong_type", f"{column.header} phải là số nguyên.", f"{column.header} must be a whole number."
                )
            return int(number)
        case "flag":
            return _flag(column, value)
    if column.words:
        found = {header_fold(k): v for k, v in column.words.items()}.get(header_fold(text_of(value)))
        if found is None:
            allowed = ", ".join(dict.fromkeys(column.words.values()))
            raise Wrong(
                "not_allowed",
                f"{column.header} phải là một trong: {allowed}.",
                f"{column.header} must be one of: {allowed}.",
            )
        return found
    return _coded(column, text_of(value), codes, today) if column.codes else text_of(value)


def _date(column: Column, value: Any, mac: bool) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    try:
        if isinstance(value, float) and 0 < value < _SERIAL_MAX:
            return ((_EPOCH_1904 if mac else _EPOCH) + timedelta(days=int(value))).isoformat()
        text = text_of(value)
        if found := _DAY_TEXT.fullmatch(text):
            return date(int(found[3]), int(found[2]), int(found[1])).isoformat()
        if found := _ISO_TEXT.fullmatch(text):
            return date(int(found[1]), int(found[2]), int(found[3])).isoformat()
    except (ValueError, OverflowError):
        pass  # said below, as for everything else that is no day
    raise Wrong(
        "invalid_date",
        f"{column.header} phải là ngày có thật, dạng dd/mm/yyyy.",
        f"{column.header} must be a real day, as dd/mm/yyyy.",
    )


def _digits(column: Column, value: Any) -> str:
    text = text_of(value).replace(" ", "")
    if isinstance(value, float) and text.isdigit() and column.digits - 2 <= len(text) < column.digits:
        # A number cell loses the zeros such codes begin with; more than two there never are.
        return text.zfill(column.digits)
    return text


def _number(column: Column, value: Any) -> float:
    if isinstance(value, float) and not isinstance(value, bool):
        return round(value, 4)
    text = text_of(value)
    if _NUMBER.fullmatch(text):
        return float(text.replace(",", "."))
    raise Wrong("wrong_type", f"{column.header} phải là số.", f"{column.header} must be a number.")


def _flag(column: Column, value: Any) -> bool:
    word = header_fold(text_of(value))
    if value is True or word in _YES:
        return True
    if value is False or word in _NO:
        return False
    raise Wrong(
        "not_allowed", f"{column.header} phải là “x”, Có hoặc Không.", f"{column.header} must be “x”, Có or Không."
    )


def _coded(column: Column, text: str, codes: Any, today: date) -> str:
    """The text as it stands, once the catalogue knows it."""
    assert column.codes is not None
    if codes.standardise(column.codes, text, column.codes, today).code is not None:
        return text
    near = [s.title for s in codes.suggest(column.codes, text, column.codes, today, 3)]
    vi = f" Gần giống: {', '.join(t.vi for t in near)}." if near else ""
    en = f" Alike: {', '.join(t.en for t in near)}." if near else ""
    raise Wrong(
        "outside_catalogue",
        f"{column.header} không có trong danh mục của mẫu.{vi}",
        f"{column.header} is not in the template's catalogue.{en}",
    )
