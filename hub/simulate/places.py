"""Real places for synthetic days: the present wards of Hải Phòng, the former ones, and what became of each.

One concern: reading the versioned tables beside the mappings as plain lists. It must never ask the mapping engine: what
the generator expects has to be independent of what the hub makes of a code.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

from msgspec import Struct

_MAPPINGS = Path(__file__).resolve().parents[2] / "mappings"
_CITY = "31"
_KINDS = ("Phường ", "Xã ", "Đặc khu ")


class Ward(Struct, frozen=True):
    """One ward by its code; `name` with its kind, as written."""

    code: str
    name: str

    @property
    def short(self) -> str:
        """The name without its kind."""
        for kind in _KINDS:
            if self.name.startswith(kind):
                return self.name.removeprefix(kind)
        return self.name


class Places(Struct, frozen=True, kw_only=True):
    """What the generator needs of the tables; every list in the order of codes."""

    wards: tuple[Ward, ...]
    """The 114 wards since 1 July 2025."""
    whole: tuple[str, ...]
    """Codes of former wards that went into one present ward."""
    split: tuple[str, ...]
    """Codes of former wards divided between several."""
    ethnicities: tuple[str, ...]
    """Codes of the ethnic groups beside the majority."""


def _rows(path: str) -> list[dict[str, str]]:
    with (_MAPPINGS / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def places() -> Places:
    """The tables as shipped."""
    became: dict[str, set[str]] = defaultdict(set)
    for row in _rows("crosswalks/vn-ward-2024--vn-ward.csv"):
        became[row["source"]].add(row["target"])
    return Places(
        wards=tuple(
            Ward(r["code"], r["vi"])
            for r in sorted(_rows("codes/vn-ward.csv"), key=lambda r: r["code"])
            if r["parent"] == _CITY
        ),
        whole=tuple(sorted(code for code, to in became.items() if len(to) == 1)),
        split=tuple(sorted(code for code, to in became.items() if len(to) > 1)),
        ethnicities=tuple(r["code"] for r in _rows("codes/vn-ethnicity.csv") if r["code"] != "01"),
    )
