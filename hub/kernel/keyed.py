"""HMAC-SHA-256 under one key, many times over: the standard library looks its algorithm up anew for every message, which
takes ten times as long as a short message's hash itself.

One concern: that. It must never keep what it hashed, nor compare anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

_BLOCK = 64
_INNER, _OUTER = bytes(x ^ 0x36 for x in range(256)), bytes(x ^ 0x5C for x in range(256))


def keyed(key: bytes) -> Callable[[bytes], bytes]:
    """`hmac.digest(key, message, "sha256")` for a key that is used often (RFC 2104): both halves of the key are taken in once."""
    block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    begun, ended = hashlib.sha256(block.translate(_INNER)).copy, hashlib.sha256(block.translate(_OUTER)).copy

    def digest(message: bytes) -> bytes:
        inner, outer = begun(), ended()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    return digest
