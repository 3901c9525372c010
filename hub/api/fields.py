"""The shape of a line of text that somebody typed: for every door that keeps or compares one.

One concern: that shape. It must never change what was given.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

LINE = r"^[^\x00-\x1f\x7f]+\Z"
"""The same as a pattern, for msgspec: no control characters, which no text of the database's takes (NUL) or no log shows well."""


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("one line of text")
    return value


Line = Annotated[str, AfterValidator(_one_line)]
"""Printable text on one line."""
