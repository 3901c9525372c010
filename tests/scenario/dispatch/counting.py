"""A counterparty that notes when it was called."""

from __future__ import annotations

import time
from typing import Any

from adapters.ministry.simulator import TOKEN
from adapters.ministry.simulator import Simulator as Ministry


class Counting(Ministry):
    """Notes when each request came, also those it refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.at: list[float] = []

    def _count(self) -> bool:
        self.at.append(time.monotonic())
        return super()._count()


async def counting_ministry(s: Any, policy: dict[str, Any]) -> Counting:
    """One that stands, and the Ministry's connector to it under this policy."""
    twin = Counting()
    s.twins["ministry"], url = twin, await twin.start()
    transport, adapter = {"kind": "rest", "base_url": url}, {"source": "000.00.12.H24"}
    await s.connect("ministry", transport, {"scheme": "bearer"}, {"token": TOKEN}, adapter, policy)
    return twin
