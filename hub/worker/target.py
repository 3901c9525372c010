"""One connector as its dispatcher needs it. Only a shape: it must never do anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connectors.connector import LiveConnector
from connectors.policy.breaker import Breaker
from hub.kernel.ports import Adapter
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
    open_now: Callable[[], bool]
    """Whether the connector's calendar lets it work now."""
