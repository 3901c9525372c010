"""A connector's policy in the numbers the dispatcher works with. Pure."""

from __future__ import annotations

import random

from msgspec import Struct


class Policy(Struct, frozen=True, kw_only=True):
    """Times in seconds. Made from the connector's settings and its adapter's manifest."""

    concurrency: int
    batch_max: int
    timeout_s: float
    lease_s: float
    settle_after_s: float
    absent_gap_s: float
    unclear_for_s: float
    max_attempts: int
    backoff_base_s: float
    backoff_max_s: float
    per_second: float | None = None
    per_day: int | None = None

    @property
    def interval_s(self) -> float:
        """Time between two calls. A hair slower than the quota, so that no window of the counterparty's sees one too many."""
        return 1.0 / (self.per_second * 0.985) if self.per_second else 0.0

    def backoff_s(self, attempts: int) -> float:
        """Full jitter between half the step and the step, which doubles with every attempt up to the maximum."""
        step = min(self.backoff_max_s, self.backoff_base_s * 2 ** min(max(0, attempts - 1), 20))
        return step * random.uniform(0.5, 1.0)
