"""A batch refused whole: halved until the guilty records stand alone, so that one of them holds up nobody beside it.

One concern: deciding whether an answer calls for halving, and how many calls that may cost. Pure: it must never send.
"""

from __future__ import annotations

from math import ceil, log2

from hub.kernel.ledger.shapes import Exchange
from hub.kernel.ports import NeedsPerson, NeverTry, Reading

WHOLE = frozenset({400, 413, 422})
"""HTTP's words for *this request as it stands is wrong*, or too large."""
_UNREAD = 413
"""The one of them whose body says no more than it: what stands in front may say it, whatever was done behind."""


def allowance(records: int) -> int:
    """How many calls the search within a batch may cost: enough for a few guilty ones among many."""
    return 4 * ceil(log2(records)) + 4 if records > 1 else 0


def refused_whole(exchange: Exchange, reading: Reading) -> bool:
    """Whether a batch was refused as one: a status that says so, and the very same final outcome for every record."""
    reply, call = exchange.reply, exchange.call
    if reply is None or reply.status not in WHOLE or len(call.deliveries) < 2 or reading.next is not None:
        return False
    if reply.status == _UNREAD and not call.idempotent:
        return False  # a person looks before a part of it goes again
    first = reading.outcomes.get(call.deliveries[0])
    refused = isinstance(first, NeverTry) or (isinstance(first, NeedsPerson) and first.scope == "delivery")
    return refused and all(reading.outcomes.get(d) == first for d in call.deliveries)
