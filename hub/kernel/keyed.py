"""HMAC-SHA-256 under one key, many times over: made anew for every message, the key costs more than a short message does.

One concern: that. It must never keep what it hashed, nor compare anything.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable


def keyed(key: bytes) -> Callable[[bytes], bytes]:
    """`hmac.digest(key, message, "sha256")` for a key that is used often: it is taken in once."""
    begun = hmac.new(key, digestmod="sha256").copy

    def digest(message: bytes) -> bytes:
        one = begun()
        one.update(message)
        return one.digest()

    return digest
