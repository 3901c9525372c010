"""Workbooks that schools fill in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct, field

from hub.kernel.ports.messages import Reject, Text


class BookRefused(Exception):
    """Sổ tính không nhận được. / The workbook cannot be taken; `code` and `text` say why."""

    def __init__(self, code: str, text: Text) -> None:
        super().__init__(text.en)
        self.code = code
        self.text = text


class BookRow(Struct, kw_only=True):
    """One row of a workbook or CSV file as an item a school could have pushed."""

    pointer: str
    """`/sheets/<number of the sheet>/<number of the row>`, both as people count, from 1."""
    item: dict[str, Any]
    """`{data: …}`, as `parse_item` takes it."""
    columns: dict[str, str]
    """Path of a field in the item (`data/birth_date`) → letters of the column it came from."""
    rejects: list[Reject] = field(default_factory=list)
    """Cells that cannot be what their column asks for: `<pointer>/<letters>`."""
    beside: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Items of other types the row holds too: (type, item)."""


class Book(Struct, kw_only=True):
    """What a workbook or CSV file holds for one record type."""

    rows: list[BookRow]
    ignored: list[str]
    """Headers nobody knows, whose columns were passed over: `<sheet>!<letters> <header>`."""


class Workbooks(Protocol):
    """Capability of adapters whose counterparty gives schools workbook templates. Pure."""

    types: Sequence[str]
    """Record types there is a template for."""

    def read(self, record_type: str, body: bytes, *, csv: bool, given: Mapping[str, Any], codes: Any) -> Book:
        """The rows of a cleaned workbook. `given`: fields every row has that no column tells (the school …), and `today`, the
        day whose codes count. `codes`: the catalogue in force. Raises `BookRefused`."""
        ...

    def blank(self, record_type: str, codes: Any) -> bytes:
        """An empty template with its category sheets."""
        ...

    def filled(self, record_type: str, bodies: Sequence[Mapping[str, Any]], codes: Any) -> bytes:
        """The template with a row for each canonical record."""
        ...

    def marked(self, body: bytes, *, csv: bool, faults: Sequence[tuple[str, str]]) -> bytes:
        """The workbook with each fault's cell marked and commented. `faults`: (pointer, sentence in Vietnamese)."""
        ...
