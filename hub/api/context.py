"""What every request handler of the gateway needs, made once at start-up and found at `request.app.state.hub`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from hub.api.shared import Books, Shared
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Text, Workbooks
from hub.keys import Keys


@dataclass(frozen=True)
class Probe:
    """The outcome of a live test of a connector."""

    ok: bool
    ms: float
    detail: Text


@dataclass
class Hub:
    """The gateway's parts."""

    settings: Any
    keys: Keys
    core: Core
    redis: Redis | None
    manifests: dict[str, Any]
    """Adapter manifests by system."""
    probe: Callable[[str], Awaitable[Probe]]
    """Live test of a connector by name: connects and authenticates, sends nothing that counts."""
    airflow: Any | None
    """The client of Airflow's REST interface; None when Airflow is switched off."""
    status_file: Path
    """Where the supervisor writes the state of its processes."""
    flows_folder: Path
    workbooks: Workbooks | None = None
    """The templates schools may push files in; None when no adapter has any."""
    books: Books = field(default_factory=Books)
    """The accounting identity, counted once for whoever looks."""
    measured: Shared = field(default_factory=Shared)
    """What is read for the metrics, once for all who scrape."""
