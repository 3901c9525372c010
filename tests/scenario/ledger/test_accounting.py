"""The accounting identity is seen to fail: one row too few or too many in each of its five sums is named, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept

PLANTED = {
    "messages": (
        "INSERT INTO message_results (message, class, outcome, items, rejected, records) SELECT id, class, 2, 0, 0, 0 FROM messages WHERE outcome = 4",
        -1,
    ),
    "pending": ("DELETE FROM inbox", 1),
    "items": ("UPDATE messages SET rejected = rejected + 1 WHERE outcome = 4", -1),
    "records": ("UPDATE records SET disposition = 4", 1),
    "deliveries": ("DELETE FROM deliveries", 1),
}
"""What is broken, and by how much the sum is off then."""


@pytest.mark.parametrize("sum_", sorted(PLANTED))
def test_a_row_too_few_or_too_many_is_named(ledger: Any, make: Any, sum_: str) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            later = make.arrival(make.draft("HS2"))
            later.drafts = None
            await accept(led.core, [make.arrival(make.draft()), later])
            before = await account(led.core)
            assert before.balanced and (before.messages, before.pending, before.inbox, before.due) == (2, 1, 1, 1)
            broken, off = PLANTED[sum_]
            assert await led.owner.execute(broken) in ("INSERT 0 1", "UPDATE 1", "DELETE 1")
            after = await account(led.core)
            assert not after.balanced and after.differences == {sum_: off}

    asyncio.run(go())
