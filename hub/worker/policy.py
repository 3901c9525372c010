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
        """Time between two calls; 0 without a quota.

        Calls held up on their way arrive together with those sent later, and the counterparty counts arrivals. What can
        be on the wire at once is therefore left free in each of its seconds, up to half the quota.
        """
        if not self.per_second:
            return 0.0
        return 1.0 / max(self.per_second - self.concurrency - 1, self.per_second / 2)

    def wait_s(self, attempts: int, after_s: float | None = None) -> float:
        """How long to wait after so many attempts; `after_s`, the counterparty's own wish, is never undercut."""
        return delay(attempts, self.retry, _dice, after_s)
