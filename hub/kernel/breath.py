"""Work over many rows that lets the rest of the process breathe.

One concern: giving way. What else runs on the loop (answers to senders, leases) must never wait for a whole page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")
BREATH = 250
"""Rows gone over in one go: some milliseconds where each is mapped and hashed."""


async def breathing(rows: Iterable[T]) -> AsyncIterator[T]:
    """The rows one by one, the loop given to others before every `BREATH` of them."""
    for n, row in enumerate(rows):
        if n % BREATH == 0:
            await asyncio.sleep(0)
        yield row
