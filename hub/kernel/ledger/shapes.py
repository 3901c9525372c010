"""The shapes between the ledger and those who ask it: what was claimed, what was said and answered, what came of it; what proves it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from hub.kernel.ledger.quotas import Grant
from hub.kernel.lifecycle import State
from hub.kernel.ports import Call, Outgoing, Reply, Text


class Claimed(Struct, kw_only=True):
    """One delivery in a worker's hands, under `claim` until `lease`."""

    id: int
    record: int
    klass: int
    claim: int
    attempts: int
    flow: str
    key: str
    school: str | None
    order_key: int | None
    state: State = State.SENDING
    resend: int | None = None
    intent: int | None = None
    replay_of: int | None = None
    absent: int = 0
    age_s: float = 0.0
    outgoing: Outgoing | None = None
    mapping: str = "-"
    """The version that filled in the outgoing record's `mapped` (see `mappings.versions`)."""
    talking: bool = False
    """Whether a conversation about it has begun (see `lookups`)."""
    content: bytes | None = None
    """Hash of what travels, where the receiver is only sent changes (see `dependencies`)."""
    anchor: str | None = None
    """Of a passage: the key of its learner, who has a temporary code and no lasting one yet (see `given_codes.name_lasting`)."""


class Batch(Struct, kw_only=True):
    """What one claim gave: deliveries and, where there is a quota, what of it."""

    claim: int
    deliveries: list[Claimed]
    grant: Grant | None = None


class TaskSpec(Struct, frozen=True, kw_only=True):
    """What a person has to do; deliveries with the same connector, cause and subject share one task."""

    connector: int | None
    cause: str
    subject: str
    text: Text
    data: dict[str, Any] | None = None


class Conclusion(Struct, kw_only=True):
    """What happened to one delivery: the move it makes and what is kept about the try."""

    delivery: Claimed
    target: State
    cause: str
    outcome: str
    reason: str | None = None
    kind: str = "send"
    reference: str | None = None
    detail: str | None = None
    after_s: float | None = None
    conversation: dict[str, str] | None = None
    """Where its conversation stands now, for an outcome that is not the last."""
    waits_for: str | None = None
    """The need's name (see `dependencies`) that must be met first."""
    task: TaskSpec | None = None
    resend: int | None = None
    absent: int = 0
    call: int | None = None
    elapsed_ms: float | None = None
    stay: bool = False
    """True for an inquiry that settles nothing: the delivery stays uncertain and is asked about again after `after_s`."""


class Exchange(Struct, kw_only=True):
    """A call and what came of it. `stored`: its request is in the ledger already, as an intent."""

    id: int
    klass: int
    connector: int
    call: Call
    mapping: str
    reply: Reply | None = None
    error: str | None = None
    elapsed_ms: float = 0.0
    tries: list[tuple[str, str | None]] = field(default_factory=list)
    """Quick tries before the last one: outcome and error of each. Every one becomes an attempt."""
    stored: bool = False
    answered: bool = True
    """False when nothing was tried: a kept answer served."""
    request_digest: bytes | None = None
    reply_digest: bytes | None = None
    kept: int | None = None
    """The earlier call whose kept answer serves instead of a try (see `lookups`)."""


class Seal(Struct, frozen=True):
    """One seal: all its entries' hashes, and which of the pack's entries stand where among them."""

    number: int
    root: bytes
    entries: list[bytes]
    holds: list[tuple[int, int]]


class Chain(Struct, frozen=True):
    """From the value before the first seal needed to an anchor (or to the head, when none was set since)."""

    before: bytes
    links: list[tuple[int, bytes]]
    anchor: dict[str, Any] | None
    seals: list[Seal]
