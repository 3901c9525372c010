"""The Ministry's workbooks as the hub's intake asks for them (`hub.kernel.ports.Workbooks`).

One concern: the public face of this folder. It holds no rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.ministry.excel import read, write
from adapters.ministry.excel.template import template_types
from hub.kernel.ports import Book


class MinistryBooks:
    """Templates of csdl.moet.gov.vn."""

    def __init__(self) -> None:
        self.types: Sequence[str] = template_types()

    def read(self, record_type: str, body: bytes, *, csv: bool, given: Mapping[str, Any], codes: Any) -> Book:
        """The rows of a cleaned workbook. Raises `BookRefused`."""
        return read.read(record_type, body, is_csv=csv, given=given, codes=codes)

    def blank(self, record_type: str, codes: Any) -> bytes:
        """An empty template with its category sheets. Raises KeyError for a type without one."""
        return write.filled(record_type, (), codes)

    def filled(self, record_type: str, bodies: Sequence[Mapping[str, Any]], codes: Any) -> bytes:
        """The template with a row for each canonical record. Raises KeyError for a type without one."""
        return write.filled(record_type, bodies, codes)

    def marked(self, body: bytes, *, csv: bool, faults: Sequence[tuple[str, str]]) -> bytes:
        """The workbook with each fault's cell marked and commented. Raises ValueError when it cannot be opened."""
        return write.marked(body, is_csv=csv, faults=faults)
