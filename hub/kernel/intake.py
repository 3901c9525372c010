"""What arrives at the ledger's door, and what the door answers.

One concern: the shapes of intake and the keys of the idempotent receiver. It must never touch a database.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from msgspec import Struct, field

from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.ports import Draft, Reject, Removed, Sighting
from mappings.canonical.registry import TYPES


class Source(Struct, frozen=True):
    """Who sends: an API client, a device, a connector (replies that give rise to records) or an operator."""

    kind: str
    name: str


class Arrival(Struct, kw_only=True):
    """One message at the door, stripped of biometrics.

    `drafts` None: the message is stored first and its records are made later, from the inbox. `invalid` set: it is
    stored as invalid with that reason.
    """

    source: Source
    type: str
    body: bytes
    content_type: str
    digest: bytes
    """Keyed hash of the original as it came, before anything was taken out."""
    key: bytes | None = None
    """16 bytes naming this arrival at its source (see `intake_key`); None: every arrival is a new one."""
    removed: list[Removed] = field(default_factory=list)
    drafts: list[Draft] | None = None
    rejects: list[Reject] = field(default_factory=list)
    invalid: Reject | None = None
    school: str | None = None
    scope: Scope = EVERYWHERE
    """What the sender may write; records outside it are rejected one by one."""
    historical: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    upload: int | None = None
    chunk: int | None = None
    sighting: Sighting | None = None
    """Of a device's passage whose family's lists have no name in common with its pushes."""


class Accepted(Struct, kw_only=True):
    """The door's answer for one arrival, after commit."""

    message: int
    """The stored message: for a duplicate, the one that came first."""
    duplicate: bool = False
    conflict: bool = False
    """Same key, other content: nothing was stored but the fact of the attempt."""
    records: int = 0
    rejects: list[Reject] = field(default_factory=list)
    invalid: bool = False
    unchanged: int = 0


class Overloaded(Exception):
    """Hub đang quá tải, hãy gửi lại sau. / The hub is overloaded: nothing was taken, send again later."""


def intake_key(source: Source, *parts: str | bytes) -> bytes:
    """The idempotent receiver's key: 16 bytes over the source and what names the message there."""
    h = hashlib.blake2b(digest_size=16, person=b"lt-intake-key")
    for part in (source.kind, source.name, *parts):
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(4, "big"))
        h.update(data)
    return h.digest()


def order_hash(order_key: str) -> int:
    """A signed 64-bit hash of an order key: what the ledger locks and compares."""
    return int.from_bytes(hashlib.blake2b(order_key.encode(), digest_size=8).digest(), "big", signed=True)


def order_of(record_type: str, key: str, body: dict[str, Any]) -> str:
    """The order key of a stored record."""
    spec = TYPES[record_type]
    return key if spec.order_fields == spec.key_fields else spec.order_key(body) or f"{record_type}:{key}"


def new_key() -> bytes:
    """A key for an arrival that brought none, so that the ledger may retry its own commit safely."""
    return uuid.uuid4().bytes


def as_uuid(key: bytes) -> Any:
    """The key as the column's type."""
    return uuid.UUID(bytes=key)
