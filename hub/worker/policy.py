"""A connector's policy in the numbers the dispatcher works with. Pure."""

from __future__ import annotations

import random

from msgspec import Struct

from connectors.policy.retry import RetrySettings, delay

_dice = random.Random()  # noqa: S311 - spreads retries, guards nothing


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
    retry: RetrySettings
    per_second: float | None = None
    per_day: int | None = None

    @property
    def interval_s(self) -> float:
        """Time between two calls. A hair slower than the quota, so that no window of the counterparty's sees one too many."""
        return 1.0 / (self.per_second * 0.985) if self.per_second else 0.0

    def wait_s(self, attempts: int, after_s: float | None = None) -> float:
        """How long to wait after so many attempts; `after_s`, the counterparty's own wish, is never undercut."""
        return delay(attempts, self.retry, _dice, after_s)
