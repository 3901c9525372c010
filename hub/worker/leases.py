"""Renewing the leases of what a dispatcher has in hand, well before they end.

One concern: that what is worked on stays this worker's. A kill leaves leases that end by themselves. It must never hold on
to what is not in hand any more, nor say of a lease that it holds longer than it certainly does.
"""

from __future__ import annotations

import asyncio
import time

from hub.kernel.ledger import dispatch as ledger
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.worker.target import InHand


async def keep(core: Core, hand: dict[int, InHand], lease_s: float) -> None:
    """Renew without end. `hand`: what is held, by delivery; read anew at every round."""
    while True:
        await asyncio.sleep(lease_s / 3)
        by_claim: dict[int, list[int]] = {}
        for number, held in hand.items():
            by_claim.setdefault(held.delivery.claim, []).append(number)
        for token, ids in by_claim.items():
            asked_at = time.monotonic()
            try:
                kept = await ledger.extend(core, ids, token, lease_s)
            except TRANSIENT:
                continue
            until = asked_at + lease_s - 1.0
            for number in kept:
                if number in hand:
                    hand[number].until = until
