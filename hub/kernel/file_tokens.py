"""Tokens in the addresses of documents: which one, for which connector, until when, and a MAC over all of it. Pure.

It must never tell why a token is refused: a stranger learns nothing from trying.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import uuid

from msgspec import Struct

_FORM = struct.Struct(">16sIH")
_MAC = 16
_MOST = 80


class Grant(Struct, frozen=True):
    """What a genuine token grants. `until`: seconds since 1970."""

    file: uuid.UUID
    connector: int
    until: int


def token_of(key: bytes, file: uuid.UUID, connector: int, until: int) -> str:
    """A token for one document, handed to one connector's counterparty. Letters, digits, `-` and `_` only."""
    plain = _FORM.pack(file.bytes, until, connector)
    return base64.urlsafe_b64encode(plain + _mac(key, plain)).rstrip(b"=").decode()


def grant_of(key: bytes, token: str) -> Grant | None:
    """What a token grants, expired or not; None when it is not one of ours."""
    if len(token) > _MOST or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    plain, mac = raw[: _FORM.size], raw[_FORM.size :]
    if len(plain) != _FORM.size or not hmac.compare_digest(mac, _mac(key, plain)):
        return None
    file, until, connector = _FORM.unpack(plain)
    return Grant(uuid.UUID(bytes=file), connector, until)


def _mac(key: bytes, plain: bytes) -> bytes:
    return hmac.new(key, b"file-token/" + plain, hashlib.sha256).digest()[:_MAC]
