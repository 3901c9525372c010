"""When to try again: exponential backoff with full jitter.

One concern: a delay from the number of tries and a random source. It must never read a clock or decide whether a try
is allowed at all: outcomes do.
"""

from __future__ import annotations

import random

from connectors.declare import Declared, setting
from hub.kernel.ports import Text

_FLOOR_S = 0.1


class RetrySettings(Declared):
    """Waiting between tries of one delivery, after the quick tries."""

    ABOUT = Text("Thử lại", "Trying again")
    base_s: float = setting("Chờ lần đầu (giây)", "First wait, at most (seconds)", default=2.0, gt=0, le=3600)
    cap_s: float = setting("Chờ tối đa (giây)", "Longest wait (seconds)", default=900.0, gt=0, le=86400)


def delay(tries: int, settings: RetrySettings, rng: random.Random, after_s: float | None = None) -> float:
    """Seconds to wait after `tries` failed tries (1 or more).

    Full jitter: anywhere between nothing and the doubled ceiling, so that deliveries failing together do not come back
    together. `after_s`, the counterparty's own wish, is never undercut; its jitter comes on top.
    """
    # Beyond 2**60 the cap has long decided; the bound keeps the power a float.
    ceiling = min(settings.cap_s, settings.base_s * 2.0 ** min(max(tries, 1) - 1, 60))
    jitter = max(rng.uniform(0, ceiling), _FLOOR_S)
    if after_s is None:
        return jitter
    return max(after_s, 0.0) + min(jitter, max(after_s, 1.0) * 0.2)
