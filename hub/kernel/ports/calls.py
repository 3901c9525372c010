"""What goes out and what comes of it: deliveries, calls, replies, outcomes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

from hub.kernel.ports.messages import Draft, Event, Text

BATCH_MAX = 100
"""Deliveries in one call where a connector's policy does not say."""


class Outgoing(Struct, frozen=True, kw_only=True):
    """One delivery as an adapter sees it when rendering."""

    delivery: int
    record: int
    type: str
    key: str
    event: Event
    version: int
    updated_at: datetime
    school: str | None
    body: dict[str, Any]
    """The canonical record."""
    mapped: dict[str, Any]
    """The flow's field map applied: the counterparty's field names and codes."""
    attempt: int = 1
    """Which try this is. A step of a conversation that ended in `InProgress` is none: the number grows only by what was not
    answered, was refused, or was released by a person."""


class Call(Struct, frozen=True, kw_only=True):
    """One request to a counterparty, rendered but without credentials: these bytes are what is kept and resent."""

    operation: str
    deliveries: tuple[int, ...]
    body: bytes
    content_type: str
    idempotent: bool
    """True when the counterparty's contract makes a repeat harmless. False: an intent is stored before the first byte."""
    method: str = "POST"
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    """Business key an inquiry would ask for; required when the adapter offers `inquire`."""
    meta: dict[str, Any] = field(default_factory=dict)


class Reply(Struct, frozen=True, kw_only=True):
    """What came back for one call. `status` is HTTP's; transports without one say 200."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    """Header names in lower case."""
    elapsed_ms: float = 0.0


class Receipt(Struct, frozen=True, kw_only=True, tag=True):
    """The counterparty has taken it, for good."""

    reference: str | None = None
    detail: str | None = None


class TryLater(Struct, frozen=True, kw_only=True, tag=True):
    """Certainly not taken; worth trying again after `after_s` seconds (None: the retry policy decides)."""

    reason: str
    after_s: float | None = None


class NeverTry(Struct, frozen=True, kw_only=True, tag=True):
    """Certainly not taken, and the same content never will be."""

    reason: str
    message: Text


class NeedsPerson(Struct, frozen=True, kw_only=True, tag=True):
    """A person must act first. Scope `delivery` parks this one; `connector` pauses the whole connector."""

    cause: str
    subject: str
    """What the task is about within the cause, e.g. a code or an account: deliveries with the same one share a task."""
    message: Text
    scope: Literal["delivery", "connector"] = "delivery"


class Unknown(Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """It may or may not have been taken. `after_s`: not to be asked about, or sent again, before."""

    reason: str
    after_s: float | None = None


class InProgress(Struct, frozen=True, kw_only=True, tag=True):
    """The counterparty has taken it up and will finish later: it is asked again after `after_s` seconds.

    `state` is what the adapter needs to go on (see `Converser`); the ledger keeps it, so it must hold nothing personal.
    """

    state: dict[str, str]
    after_s: float
    reference: str | None = None


Outcome = Receipt | TryLater | NeverTry | NeedsPerson | Unknown | InProgress


class Reading(Struct, kw_only=True):
    """What a reply means. A delivery of the call found in neither `outcomes` nor `next` is Unknown."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    records: list[Draft] = field(default_factory=list)
    """Records the reply gives rise to (a verification result, a progress notice)."""
    next: Call | None = None
    """The conversation goes on with this call, for the deliveries it names."""


class Settlement(Struct, frozen=True, kw_only=True):
    """The answer to an inquiry about an uncertain delivery."""

    verdict: Literal["present", "absent", "unclear"]
    reference: str | None = None
    detail: str | None = None
    going_on: InProgress | None = None
    """With *present*: it is there, and the conversation about it goes on from here."""
