"""A claim in parts: a large bite of the queue, prepared a few calls at a time.

One concern: where to cut. It must never part what has to go out together.
"""

from __future__ import annotations

from hub.kernel.ledger.shapes import Batch, Claimed

PART = 400
"""Deliveries mapped and rendered in one go: some 30 ms in which nothing else of the process moves."""


def parts_of(batch: Batch, batch_max: int) -> list[Batch]:
    """A claim in parts of whole calls, in its order. What went out together, and goes out again, stays together."""
    size = max(1, PART // batch_max) * batch_max
    if len(batch.deliveries) <= size:
        return [batch]
    groups: dict[int, list[Claimed]] = {}
    for d in batch.deliveries:
        # Calls and deliveries are numbered from one count: neither is taken for the other.
        groups.setdefault(d.id if d.resend is None else d.resend, []).append(d)
    parts: list[list[Claimed]] = [[]]
    for group in groups.values():
        if len(parts[-1]) >= size:
            parts.append([])
        parts[-1] += group
    return [Batch(claim=batch.claim, deliveries=part) for part in parts]
