"""What the simulated Ministry lists of its records: version, school, class and a hash. It must never list what was withdrawn."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import msgspec

_ENVELOPE = frozenset({"idbanghi", "sukien", "phienban", "thoigiancapnhat", "ngaycapnhat"})
_sorted = msgspec.json.Encoder(order="sorted").encode


def held_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a listing says of a record as it was pushed, beside its version and school."""
    pushed = {k: v for k, v in record.items() if k not in _ENVELOPE}
    return {
        "malop": record.get("malop"),
        "mabam": hashlib.blake2b(_sorted((False, pushed)), digest_size=16).hexdigest(),
    }


class Holdings:
    """The records held, by table, listed in order of their ids."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self._order: dict[str, list[str]] = {}

    def note(self, table: str, key: str, version: int, event: str, content: Mapping[str, Any]) -> None:
        """A record taken or withdrawn."""
        rows = self.rows.setdefault(table, {})
        if event == "CANCEL":
            rows.pop(key, None)
            self._order.pop(table, None)
            return
        if key not in rows:
            self._order.pop(table, None)
        known = {k: content.get(k) for k in ("matruong", "malop", "mabam")}
        rows[key] = {"idbanghi": key, "phienban": version, **known}

    def page(self, table: str, query: Mapping[str, str], most: int) -> dict[str, Any]:
        """The page behind `sau`, at most `soluong` records."""
        rows = self.rows.get(table, {})
        order = self._order.get(table)
        if order is None:
            order = self._order[table] = sorted(rows)
        asked = query.get("soluong", "")
        size = min(int(asked), most) if asked.isdigit() and int(asked) else most
        start = bisect_right(order, query.get("sau", ""))
        keys = order[start : start + size]
        more = start + size < len(order)
        return {"ma": "00", "thongbao": "", "banghi": [rows[k] for k in keys], "tiep": keys[-1] if more else None}
