"""Which of what the firewall takes out is a picture that may be kept, where a deployment was told to keep some.

One concern: that judgement, on bytes in memory. Pure. It must never touch what the firewall leaves in a body: it only looks
on while pieces are hashed, and what it holds is gone with the message unless somebody seals it.
"""

from __future__ import annotations

import base64
import binascii
import re

from msgspec import Struct

from hub.kernel.ports import Hasher

SMALLEST, LARGEST = 256, 2_097_152
"""Bytes of a picture worth keeping; larger ones are scenes with bystanders, and nobody needs them."""

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
)
_URI = re.compile(rb"data:[\w./+-]{0,60}(?:;[\w=.-]{1,40}){0,4},")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}\Z")


class Picture(Struct, frozen=True):
    """A picture as a gate sent it. `kind`: its media type."""

    kind: str
    content: bytes

    def __repr__(self) -> str:
        return f"Picture({self.kind}, {len(self.content)} bytes)"


def picture_of(piece: bytes) -> Picture | None:
    """The picture a removed piece is: raw, in base64 or as a data URI; None for anything else."""
    if (found := _raw(piece)) is not None:
        return found
    if len(piece) > LARGEST * 3 // 2:
        return None
    text = piece[match.end() :] if (match := _URI.match(piece)) else piece
    text = b"".join(text.replace(b"\\/", b"/").split()).replace(b"-", b"+").replace(b"_", b"/")
    if not _BASE64.match(text):
        return None
    try:
        return _raw(base64.b64decode(text + b"=" * (-len(text) % 4)))
    except binascii.Error:
        return None


def _raw(content: bytes) -> Picture | None:
    if not SMALLEST <= len(content) <= LARGEST:
        return None
    for magic, kind in _MAGIC:
        if content.startswith(magic):
            return Picture(kind, content)
    return None


class Onlooker:
    """A hasher that looks on: the smallest picture among what it was given to hash stands in `picture`.

    The smallest, for a gate sends the face and the scene around it, and bystanders are nobody's business."""

    __slots__ = ("_hasher", "picture")

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self.picture: Picture | None = None

    def __call__(self, content: bytes) -> str:
        found = picture_of(content) if len(content) >= SMALLEST else None
        if found is not None and (self.picture is None or len(found.content) < len(self.picture.content)):
            self.picture = found
        return self._hasher(content)
