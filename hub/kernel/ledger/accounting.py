"""The accounting identity: what came in equals what is accounted for, to the last one.

messages = pending + invalid + duplicate + routed; items = rejected + records; the deliveries records must have = the
deliveries there are, by state, replays apart. It must never be repaired by this module: a difference is an alarm.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.lifecycle import State
from hub.kernel.store.db import sql


class Account(Struct, kw_only=True):
    """The figures, read in one snapshot."""

    messages: int
    pending: int
    invalid: int
    duplicate: int
    routed: int
    items: int
    rejected: int
    records: int
    due: int
    by_state: dict[str, int]
    replays: int
    inbox: int
    records_stored: int

    @property
    def differences(self) -> dict[str, int]:
        """What does not add up, by name; empty when all does."""
        found = {
            "messages": self.messages - self.pending - self.invalid - self.duplicate - self.routed,
            "pending": self.pending - self.inbox,
            "items": self.items - self.rejected - self.records,
            "records": self.records - self.records_stored,
            "deliveries": self.due - (sum(self.by_state.values()) - self.replays),
        }
        return {name: gap for name, gap in found.items() if gap}

    @property
    def balanced(self) -> bool:
        """Whether the identity holds."""
        return not self.differences


async def account(core: Core) -> Account:
    """Count everything in one repeatable-read snapshot. Reads whole tables: for checks and nightly runs, not for a hot path.

    It may meet the making or dropping of partitions, which lock the same tables in another order: then it counts again.
    """

    async def count() -> tuple[Any, list[Any]]:
        async with core.pool.acquire() as c, c.transaction(isolation="repeatable_read", readonly=True):
            return await c.fetchrow(sql.account, timeout=600), await c.fetch(sql.account_states, timeout=600)

    totals, states = await core.again(count)
    by_state = {s.word: 0 for s in State}
    replays = 0
    for row in states:
        by_state[State(row["state"]).word] += row["n"]
        replays += row["n"] if row["replay"] else 0
    return Account(by_state=by_state, replays=replays, **dict(totals))
