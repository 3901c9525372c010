"""The sources' own books, and a reader of the counterparties': all that the oracle is given to judge by.

One concern: remembering what was sent and what was said in answer. It must never hold anything read from the hub's
tables.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field


class Effect(Struct, frozen=True, kw_only=True):
    """One thing a counterparty was made to do, as it wrote it down."""

    seq: int
    key: str
    version: int
    event: str
    type: str
    at: datetime
    content: dict[str, Any] = {}


class Push(Struct, kw_only=True):
    """One push of a careful client: sent again with its own key until it is acknowledged."""

    client: str
    kind: str
    """`learner`, `filing`, `filing_progress`, `gate_person`."""
    items: list[tuple[str, int]]
    """(business key, which version of it in the source's own count), in the order of the body."""
    idempotency: str
    tries: int = 0
    receipt: str | None = None
    """The code it was acknowledged with; None while nobody has said yes."""
    answer: str | None = None
    """The last answer of any kind."""
    refused: str | None = None
    """An answer that says no for good: in these runs always a fault of the hub's."""
    again: list[str] = field(default_factory=list)
    """Receipt codes of pushes repeated on purpose after the acknowledgement."""
    acked_at: datetime | None = None


class Passage(Struct, frozen=True, kw_only=True):
    """One passage at a gate, by a person who passes only once."""

    device: str
    person: str
    acked: bool
    clock_right: bool
    overtaken: bool = False
    """Said for the first time after a later one of the same gate."""
    way: str | None = None
    """`verdict.MQTT` or `verdict.HTTP`; None for what is found in a list."""
    acked_at: datetime | None = None


class Sighting(Struct, frozen=True, kw_only=True):
    """One passage at a camera nobody answers, by a person who passes only once; `person` as the hub is to call it."""

    device: str
    person: str


class Books(Struct, kw_only=True):
    """What the sources of one run know."""

    pushes: list[Push] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)
    """Learner code → hash of the personal number, for those who must be looked up."""
    told: list[str] = field(default_factory=list)
    """Those who passed a gate while families were listening, just now, and were acknowledged."""
    at_gates: dict[str, bool] = field(default_factory=dict)
    """`<gate>/<person>` → whether the gate must know the person."""
    events: list[str] = field(default_factory=list)
    """Ids of events a portal told and was thanked for."""
    first: datetime | None = None
    last: datetime | None = None
    """Between these the sources pushed without pause."""
    gates_until: datetime | None = None
    """From `first` to this, gates had new passages to tell without pause."""


def read_effects(path: Path) -> list[Effect]:
    """A simulator's books from its file, in order. A torn last line was never answered for, and is left out."""
    if not path.exists():
        return []
    data = path.read_bytes()
    decode = msgspec.json.Decoder(Effect).decode
    return [decode(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
