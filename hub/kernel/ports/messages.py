"""What people are told, and what comes in: messages, drafts of records, rejects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

Event = Literal["NEW", "UPDATE", "CANCEL"]


class Text(Struct, frozen=True):
    """One sentence for people, in both languages of the hub."""

    vi: str
    en: str


def said(error: BaseException, why: object = "") -> Text:
    """What an exception says to people: its class's docstring, `Vietnamese. / English.`, and `why` in brackets."""
    vi, _, en = " ".join((error.__doc__ or "").split()).partition(" / ")
    more = f" ({why})" if str(why) else ""
    return Text(vi + more, en + more)


class Inbound(Struct, frozen=True, kw_only=True):
    """A message as a decoder sees it. `body` has been through the biometric firewall already."""

    source: str
    """Who sent it: an API client's id, a device's id or a connector's id."""
    type: str
    """Record type asked for (`learner`, `checkin` …), or the message kind in the counterparty's contract."""
    content_type: str
    body: bytes
    received_at: datetime
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Transport facts that matter to decoding: MQTT topic, SOAP action, selected HTTP headers."""


class Draft(Struct, frozen=True, kw_only=True):
    """A canonical record before the ledger has given it id and version."""

    type: str
    key: str
    """Business key: unique within the type, the same for every version of one entity."""
    body: dict[str, Any]
    """The canonical model as plain data. Each code is `{system, code, canonical|None}`."""
    event: Event = "UPDATE"
    """NEW and UPDATE are settled by the ledger from the entity's history; CANCEL is kept as said."""
    updated_at: datetime
    school: str | None = None
    """School the record belongs to: decides who may see it."""
    pointer: str = ""
    """RFC 6901 pointer to the item in the message it came from; empty for the whole body."""


class Reject(Struct, frozen=True, kw_only=True):
    """One item refused, with the place and the reason. Everything beside it goes on."""

    pointer: str
    code: str
    message: Text
    key: str | None = None


Hasher = Callable[[bytes], str]
"""Keyed hash (hex) given to pure code by whoever holds the key."""
