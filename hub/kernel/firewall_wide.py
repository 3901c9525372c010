"""Wide text (UTF-16, UTF-32) for the biometric firewall: how it reads, and what such a body may hide from its own reading.

One concern: those readings. Pure. It must never take a body for wide alone because its first bytes say so.
"""

from __future__ import annotations

_NULS = 20
"""So many before a text is read without them."""


def from_utf16(payload: bytes) -> bytes | None:
    """UTF-16 and UTF-32 text as UTF-8; None for anything else. Only these hide ASCII from the byte rules."""
    head = payload[:4]
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-32" if head == b"\xff\xfe\x00\x00" else "utf-16"
    elif len(head) == 4 and head[0] and not head[1] and head[2] and not head[3]:
        encoding = "utf-16-le"
    elif len(head) == 4 and head[1] and not head[0] and head[3] and not head[2]:
        encoding = "utf-16-be"
    else:
        return None
    try:
        return payload.decode(encoding).encode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        return None


def beneath(payload: bytes, wide: bytes | None) -> bytes | None:
    """The bytes in which a body may hide what `wide`, its reading by `from_utf16`, does not show; None: there are none. Of one that
    holds anything there nothing is kept.

    What says that it is wide may not be, or not all of it: the bytes themselves. Of wide text that nothing says so of, what stands in
    ASCII has NULs between its letters, wherever they begin: the bytes without them.
    """
    if wide is not None:
        return payload
    return payload.replace(b"\0", b"") if payload.count(b"\0") >= _NULS else None
