"""What a journal entry's root is made of: one hash for each message, outcome or copy it speaks of.

So one of them can be shown to be in the journal without telling of those beside it. The form is the evidence verifier's
(`hub/evidence/verify.py` computes the same with nothing but the standard library); changing it breaks every pack made before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_sha256 = hashlib.sha256
_NOTHING = _sha256(b"").digest()


def message_leaf(message: int, digest: bytes, body: bytes | None, made: Sequence[bytes]) -> bytes:
    """32 bytes for a message: its number, the keyed hash of what was sent, the stored bytes (None: none were), and
    `made`, number (8 bytes) and content hash of each record made of it, in the order of their numbers."""
    stored = _sha256(body).digest() if body is not None else b""
    records = _sha256(b"".join(made)).digest() if made else _NOTHING
    return _sha256(b"message" + message.to_bytes(8, "big") + digest + stored + records).digest()


def outcome_leaf(delivery: int, record: int, state: int, request: bytes, reply: bytes, mapping: bytes) -> bytes:
    """32 bytes for an outcome: delivery and the record it owes, the state it went to, SHA-256 of request and reply (empty: there
    was none), and of what mapped the request (empty: no request, or one named before versions of mappings were kept). Entries
    before these forms said nothing of the record; the verifier knows all, by what they begin with."""
    told = delivery.to_bytes(8, "big") + record.to_bytes(8, "big") + bytes((state,))
    if not mapping:
        return _sha256(b"concluded" + told + request + reply).digest()
    return _sha256(b"mapped" + told + request + reply + mapping).digest()


def carried_leaf(copy: int, old: int, message: int, content: bytes) -> bytes:
    """32 bytes for a record kept when its day is dropped: the copy's number, the number it had, the message it was made of (which
    may go with that day), its content's hash."""
    told = copy.to_bytes(8, "big") + old.to_bytes(8, "big") + message.to_bytes(8, "big")
    return _sha256(b"carried" + told + content).digest()


def rooted(leaves: Sequence[bytes], **said: object) -> tuple[dict[str, object], bytes]:
    """A journal entry's `data` with its root, and its `leaves`."""
    joined = b"".join(leaves)
    return {"root": _sha256(joined).hexdigest(), **said}, joined
