"""Refused items in the words of whoever has to correct them: which row, which column, what to do.

Pure. It must never show a value: rejects hold none, and nothing is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from hub.kernel.ports import Text
from mappings.canonical.messages import title

_SEVERAL = re.compile(r"(?:^|; )((?:/[^/:;\s]+)+): ")
"""Several faults of one item stand in one text, each behind its pointer."""


class Fault(Struct, frozen=True, kw_only=True):
    """One thing to correct."""

    row: int | None
    """The item's number in what was sent, counted from 1; None when it was a single record."""
    column: Text | None
    """The field's title; None when the whole item is meant."""
    name: str
    """The field's own name, with its place in a list: `parents/1/phone`."""
    text: Text
    key: str | None = None
    cell: str = ""
    """The cell in a workbook, with its sheet's number before it where that is not the first: `D7`, `2!D7`."""


def _place(pointer: str) -> tuple[int | None, str]:
    """(row, path of the field) of a reject's pointer: `/14/data/parents/0/phone` is row 15, `parents/1/phone`."""
    parts = [p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/")[1:]]
    row = int(parts.pop(0)) + 1 if parts and parts[0].isascii() and parts[0].isdigit() and len(parts[0]) < 10 else None
    if parts and parts[0] == "data":
        parts.pop(0)
    return row, "/".join(str(int(p) + 1) if p.isascii() and p.isdigit() and len(p) < 10 else p for p in parts)


def _sentences(said: str) -> list[tuple[str, str]]:
    """The (pointer, sentence) pairs of a text that holds several; empty for a plain sentence."""
    found = _SEVERAL.split(said)
    return list(zip(found[1::2], found[2::2], strict=True)) if found[0] == "" else []


def _fault(pointer: str, text: Text, key: str | None) -> Fault:
    parts = pointer.split("/")
    if parts[1:2] == ["sheets"] and len(parts) > 3 and parts[3].isascii() and parts[3].isdigit() and len(parts[3]) < 10:
        column = parts[4] if len(parts) > 4 else ""
        cell = f"{column}{parts[3]}" if column else ""
        if cell and parts[2] != "1":
            cell = f"{parts[2]}!{cell}"
        return Fault(row=int(parts[3]), column=None, name="", text=text, key=key, cell=cell)
    row, name = _place(pointer)
    return Fault(row=row, column=title(name) if name else None, name=name, text=text, key=key)


def faults_of(rejects: Iterable[Mapping[str, Any]]) -> list[Fault]:
    """What to correct, by row. `rejects`: rows with `pointer`, `code`, `key` and `text` (`{vi, en}`)."""
    found: list[Fault] = []
    for r in rejects:
        text = Text(str(r["text"].get("vi", "")), str(r["text"].get("en", "")))
        vi, en = (_sentences(said) for said in (text.vi, text.en))
        if r["code"] == "several_faults" and vi and [p for p, _ in vi] == [p for p, _ in en]:
            found += [_fault(p, Text(v, e), r["key"]) for (p, v), (_, e) in zip(vi, en, strict=True)]
        else:
            found.append(_fault(r["pointer"], text, r["key"]))
    return sorted(found, key=lambda f: f.row or 0)
