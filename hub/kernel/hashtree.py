"""The leaves of a hash tree over two lists of records, such that whole groups can be told to be the same at once.

One concern: one record's leaf. Leaves add up bit by bit (XOR), in any order and over both sides together: a group is the same
on both sides when the sides have as many records and everything adds up to nothing. Pure; it must never see a record's content.
"""

from __future__ import annotations

import hashlib
import struct

_halves = struct.Struct(">qq").unpack


def leaf(key: str, content: bytes) -> tuple[int, int]:
    """A record's 128 bits as two signed numbers of 64. `content`: 16 bytes over what it says (see `content_of`).

    The key is in it: two records that have exchanged their contents are two differences.
    """
    first, second = _halves(hashlib.blake2b(content, digest_size=16, key=_short(key)).digest())
    return first, second


def _short(key: str) -> bytes:
    """A key as BLAKE2 takes one: at most 64 bytes."""
    given = key.encode()
    return given if 0 < len(given) <= 64 else hashlib.blake2b(given, digest_size=32).digest()
