"""What the ledger keeps of gates' clocks, for a process that has not heard one of them live yet.

One concern: that estimate. Pure. It must never stand in for what a live event tells, nor for a clock that was lost: of such a
one nothing that was stored before says what it shows now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iot.clock import PLAUSIBLE_S, Estimate

UNCERTAIN_S = 60.0
"""How sure it is on the day it was learnt: as of an offset set by hand, for nobody knows whether the clock was set since."""
DRIFT = 100e-6
"""What a clock nobody sets may run off: poor quartz, some nine seconds a day."""


def kept(entry: Mapping[str, Any]) -> Estimate | None:
    """The estimate a registry entry's `offset_s` (device clock minus the hub's) and `offset_age_s` (since it was learnt) amount to;
    None where there is none, or the clock was lost."""
    offset_s = entry.get("offset_s")
    if offset_s is None or abs(offset_s) > PLAUSIBLE_S:
        return None
    uncertainty_s = UNCERTAIN_S + DRIFT * max(0.0, entry.get("offset_age_s") or 0.0)
    return Estimate(-offset_s, round(uncertainty_s, 3), 0, kept=True)
