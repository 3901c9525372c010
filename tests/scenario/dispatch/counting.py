"""A counterparty that notes when it was called."""

from __future__ import annotations

import time
from typing import Any

from adapters.ministry.simulator import Simulator as Ministry


class Counting(Ministry):
    """Notes when each request came, also those it refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.at: list[float] = []

    def _count(self) -> bool:
        self.at.append(time.monotonic())
        return super()._count()
