"""Receipt codes: a message's or upload's id in a form people can read aloud, which nobody can guess.

16 letters and digits of Crockford's base 32 in groups of four: 53 bits of id and 27 bits of a keyed tag. Nothing is
stored for them. It must never be the only thing that protects a receipt: the reader's scope does.
"""

from __future__ import annotations

import hmac
from functools import lru_cache

from hub.kernel.keyed import keyed

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUE = {c: i for i, c in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}


_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
"""Ten bits as two letters."""


_keyed = lru_cache(maxsize=8)(keyed)


def _tag(key: bytes, number: int) -> int:
    return int.from_bytes(_keyed(key)(number.to_bytes(8, "big"))[:4], "big") >> 5


def receipt_code(key: bytes, number: int) -> str:
    """The code of an id. `key` is the hub's key for the purpose `receipt`."""
    tag = _tag(key, number)
    # The tag also whitens the id, so that neighbours do not look alike.
    value = ((number ^ (tag << 20)) << 27) | tag
    two = _PAIRS
    return (
        f"{two[value >> 70]}{two[value >> 60 & 1023]}-{two[value >> 50 & 1023]}{two[value >> 40 & 1023]}"
        f"-{two[value >> 30 & 1023]}{two[value >> 20 & 1023]}-{two[value >> 10 & 1023]}{two[value & 1023]}"
    )


def receipt_id(key: bytes, code: str) -> int | None:
    """The id of a code as a person may have typed it; None when it is no code of this hub."""
    letters = [c for c in code.upper() if c not in "- "]
    if len(letters) != 16 or any(c not in _VALUE for c in letters):
        return None
    value = 0
    for c in letters:
        value = value << 5 | _VALUE[c]
    tag = value & ((1 << 27) - 1)
    number = (value >> 27) ^ (tag << 20)
    return number if hmac.compare_digest(_tag(key, number).to_bytes(4, "big"), tag.to_bytes(4, "big")) else None
