"""JSON as PostgreSQL takes it: every character but NUL.

One concern: telling an escaped NUL from an escaped backslash that only stands before `u0000`. Pure.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

SHOWN = "\N{SYMBOL FOR NULL}"
"""What stands for a NUL where one is told of."""

_json = msgspec.json.Encoder().encode
_MARK = rb"\u0000"
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_INSTEAD = rb"\1" + SHOWN.encode()


def has_nul(text: bytes) -> bool:
    """Whether encoded JSON has a NUL in one of its strings."""
    return _MARK in text and _NUL.search(text) is not None


def stored(value: Any) -> bytes:
    """A value as JSON for the database, with `SHOWN` for each NUL."""
    text: bytes = _json(value)
    return _NUL.sub(_INSTEAD, text) if _MARK in text else text
