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
    per_second: int | None = None
    per_day: int | None = None

    def wait_s(self, attempts: int, after_s: float | None = None, call: int | None = None) -> float:
        """How long to wait after so many attempts; `after_s`, the counterparty's own wish, is never undercut. What shared a `call`
        waits alike, so that it can share one again: only calls spread."""
        dice = _dice if call is None else random.Random(call)  # noqa: S311 - as above
        return delay(attempts, self.retry, dice, after_s)


class Pace:
    """How quickly one connector's deliveries are concluded, and so how many a worker should hold at a time."""

    _HOLD_S, _MOST, _LOOK_S = 0.5, 3000, 0.25

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._per_s = 0.0
        self._since = 0.0
        self._count = 0

    def note(self, concluded: int, now: float) -> None:
        """Count deliveries concluded; `now` in seconds of a steady clock.

        Judged a few times a second, and at once where all that may be held is gone before: what goes out as quickly as that
        is held back by nothing but the number held."""
        if not self._since:
            self._since = now
            return
        self._count += concluded
        passed = now - self._since
        if passed >= self._LOOK_S or (self._count >= self.most and passed > 0):
            self._per_s, self._since, self._count = self._count / passed, now, 0

    @property
    def most(self) -> int:
        """Two rounds of calls, or what goes out in half a second if that is more; under a quota a second's worth, whatever
        the concurrency: the next second's calls must be there when it begins.

        A slow counterparty is held little for, so that another worker may have the rest; a quick one never waits for a
        claim.
        """
        policy = self._policy
        if policy.per_second:
            return max(policy.batch_max, min(policy.per_second * policy.batch_max, self._MOST))
        return max(policy.concurrency * policy.batch_max * 2, min(int(self._per_s * self._HOLD_S), self._MOST))
