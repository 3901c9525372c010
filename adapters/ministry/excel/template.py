"""The Ministry's workbook templates, as declared: which header means which field, and what its cells hold.

One concern: reading `<record type>.yaml` beside this file. It must never look at a workbook.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import yaml
from msgspec import Struct, field

from hub.kernel.ports import Text
from mappings.tables import fold

HERE = Path(__file__).parent


class Column(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column. `to`: path of the field (`data/…`, lists of parents and marks by their name); None: only for people."""

    header: str
    also: tuple[str, ...] = ()
    """Other headers seen for the same."""
    to: str | None = None
    kind: Literal["text", "date", "digits", "phone", "mark", "count", "flag"] = "text"
    digits: int = 0
    codes: str | None = None
    """Code system whose titles or codes the cells hold: a value outside it is refused, as the template refuses it."""
    words: dict[str, str] = {}
    """Spellings and what they stand for, where a few fixed words are asked for."""
    default: str | None = None
    """For an empty cell."""
    group: tuple[str, ...] = ()
    """Header rows above this one."""
    width: int = 12

    @property
    def name(self) -> str:
        """Last part of the path."""
        return (self.to or "").rpartition("/")[2]


class Template(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One template."""

    template: str
    version: str
    title: Text
    origin: str
    assumed: bool
    why: str
    sheet: str
    needs: tuple[str, ...]
    """Fields without whose columns a sheet is not of this template."""
    columns: tuple[Column, ...]
    by_header: dict[str, Column] = field(default_factory=dict)
    """Folded header → column."""

    @property
    def header_rows(self) -> int:
        """Rows of headers when written."""
        return 1 + max(len(c.group) for c in self.columns)


def header_fold(text: str) -> str:
    """A header without diacritics, case, blanks and punctuation."""
    return "".join(fold(text).split())


@cache
def template_of(record_type: str) -> Template:
    """The template of a record type. Raises KeyError when there is none, ValueError when its file is wrong."""
    path = HERE / f"{record_type}.yaml"
    if record_type not in template_types():
        raise KeyError(record_type)
    made = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Template)
    by_header: dict[str, Column] = {}
    for column in made.columns:
        names = [column.header, *column.also]
        if column.to is not None and column.to.startswith("data/") and column.to.count("/") == 1:
            # Software that writes CSV may use the fields' own names.
            names.append(column.name)
        for name in names:
            if by_header.setdefault(header_fold(name), column) is not column:
                raise ValueError(f"{path.name}: header {name!r} means two columns")
    return msgspec.structs.replace(made, by_header=by_header)


@cache
def template_types() -> tuple[str, ...]:
    """Record types there is a template for."""
    return tuple(sorted(p.stem for p in HERE.glob("*.yaml")))
