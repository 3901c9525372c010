"""What the biometric firewall took out, and what it had been sent for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from msgspec import Struct
from msgspec.structs import force_setattr

Purpose = Literal["snapshot", "enrolment", "template", "unknown"]
_PURPOSES: tuple[tuple[Purpose, re.Pattern[str]], ...] = (
    ("template", re.compile(r"template|feature|embedding|descriptor|vector|minutiae|print|biodata|fingertmp")),
    (
        "enrolment",
        re.compile(r"regist|enrol|avatar|profile|portrait|userpic|userphoto|biophoto|idcard|anhthe|chandung"),
    ),
    (
        "snapshot",
        re.compile(r"snap|sanp|scene|captur|detect|crop|attphoto|^(?:full|big|small|face)?(?:pic|picture)s?$"),
    ),
)
_LETTERS = re.compile(r"[^a-z]+")


@lru_cache(maxsize=4096)
def purpose_of(pointer: str) -> Purpose:
    """What an image or template was sent for, by the name of the field it stood in; `unknown` where the name does not say."""
    named = next((level for level in reversed(pointer.split("/")) if not level.isdigit()), "")
    bare = _LETTERS.sub("", named.lower())
    return next((purpose for purpose, words in _PURPOSES if words.search(bare)), "unknown")


class Removed(Struct, frozen=True):
    """What the biometric firewall took out of one place: never the content itself. When is its message's `received_at`."""

    pointer: str
    digest: str
    """Keyed hash (hex) of the removed bytes."""
    bytes: int
    reason: str
    purpose: Purpose | None = None
    """What it was sent for: worked out from the pointer where it is not given, as in entries kept before it was noted."""

    def __post_init__(self) -> None:
        if self.purpose is None:
            force_setattr(self, "purpose", purpose_of(self.pointer[-200:]))
