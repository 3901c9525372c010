"""One connector as its dispatcher needs it, and what a dispatcher has in hand. Only shapes: it must never do anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.connector import LiveConnector
from connectors.policy.breaker import Breaker, Permit
from connectors.policy.guard import GuardSettings
from hub.kernel.intake import Arrival
from hub.kernel.ledger.shapes import Batch, Claimed, Conclusion, Exchange
from hub.kernel.ports import Adapter
from hub.worker.kept import Kept
from hub.worker.policy import Policy
from mappings.engine import FieldMap


@dataclass
class Target:
    """One connector as its dispatcher needs it: rebuilt whenever its settings change."""

    number: int
    name: str
    adapter: Adapter
    connector: LiveConnector
    policy: Policy
    maps: dict[str, FieldMap]
    """Field map by flow name."""
    unmapped: dict[str, str]
    """`park` or `reject`, by flow name."""
    inquires: bool
    intents: frozenset[str]
    """Operations that store an intent before the first byte, whether idempotent or not."""
    breaker: Breaker
    guard: GuardSettings
    kept: Kept | None
    """Answers that may serve again; None where no call of the adapter's can be kept."""
    open_now: Callable[[], bool]
    """Whether the connector's calendar lets it work now."""
    single: bool = False
    """Its transport keeps one session with its receivers: one worker serves it at a time."""
    file_address: Callable[[str], str] | None = None
    """Where this connector's counterparty fetches a document the hub keeps, by its id."""


@dataclass(slots=True)
class InHand:
    """A delivery this worker holds."""

    delivery: Claimed
    until: float
    """Monotonic time up to which the lease certainly holds."""


@dataclass(slots=True)
class Job:
    """A call waiting for its turn."""

    exchange: Exchange
    batch: Batch
    permit: Permit


@dataclass(slots=True)
class Done:
    """What came of a call, on its way into the ledger."""

    conclusions: list[Conclusion]
    exchanges: list[Exchange]
    arrivals: list[Arrival] = field(default_factory=list)
    fault: str | None = None
