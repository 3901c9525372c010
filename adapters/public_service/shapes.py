"""What the portal's answers have in common: upper-case keys, result codes, rows, local times.

One concern: reading values out of what may be anything. It must never raise, whatever the value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from adapters.kit import code_of, text_of
from hub.kernel.ports import Outgoing

LOCAL = timezone(timedelta(hours=7))


def number_of(one: Outgoing) -> str:
    """The file number: the map gives it; a filing's own key is the same."""
    value = one.mapped.get("MaHoSo") or one.body.get("file_number")
    return value if isinstance(value, str) else one.key


def upper(row: Any) -> dict[str, Any]:
    """Keys in upper case, as the portal sends those of results; anything but an object is empty."""
    return {key.upper(): value for key, value in row.items()} if isinstance(row, dict) else {}


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """The objects of an answer's `result`."""
    result = upper(answer).get("RESULT")
    return [upper(row) for row in result if isinstance(row, dict)] if isinstance(result, list) else []


def agrees(row: Mapping[str, Any], expect: Mapping[str, Any]) -> bool:
    """Whether a row holds what was sent, in the fields that tell."""
    return all(text_of(row.get(name)) == text_of(value) for name, value in expect.items())


def says(sign: Mapping[str, Any], row: Mapping[str, Any], success: frozenset[str], known: Mapping[str, Any]) -> bool:
    """Whether a row says what `sign` (`{codes, phrase}`) describes: by its code, else by its words where the code is unknown."""
    code = code_of(row.get("ERROR_CODE"))
    if code is None or code in success:
        return False
    if code in sign["codes"]:
        return True
    return code not in known and sign["phrase"] in text_of(row.get("MESSAGE")).lower()


def line(value: Any, most: int = 250) -> str | None:
    """A value as one line of composed text without control characters; None when nothing is left of it."""
    text = unicodedata.normalize("NFC", text_of(value, most * 2)) if isinstance(value, str | int) else ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text[:most].strip() or None


def lines(value: Any, most: int) -> str | None:
    """Text of several lines, each as `line` has it."""
    if not isinstance(value, str):
        return line(value, most)
    kept = [line(part, most) or "" for part in value.splitlines()]
    return "\n".join(kept).strip()[:most].strip() or None


def moment(value: Any) -> datetime | None:
    """`yyyyMMddHHmmss` in local time; None for anything else."""
    if not isinstance(value, str) or len(value) != 14 or not value.isascii() or not value.isdigit():
        return None
    try:
        return datetime.strptime(value, "%Y%m%d%H%M%S").replace(tzinfo=LOCAL)
    except ValueError:
        return None
