"""What a person saw at a counterparty is written down there and then as what the hub itself delivered would be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from hub.kernel.ledger.dependencies import seen_by_person
from hub.kernel.ledger.intake import accept
from hub.kernel.router import Router, load_flows
from hub.wiring import FLOWS

_CLOSE = """
INSERT INTO deliveries_closed (id, class, seq, record, connector, state, attempts, created_at, flow, key, school, cause)
SELECT id, class, seq, record, connector, 7, attempts, created_at, flow, key, school, 'confirmed' FROM deliveries RETURNING id
"""


@pytest.mark.parametrize("only_changes", [True, False])
def test_it_is_written_where_it_is_tracked_and_nowhere_else(ledger: Any, make: Any, only_changes: bool) -> None:
    """`only_changes` False: it is tracked all the same, for what needs a learner first."""

    async def go() -> None:
        async with ledger() as led:
            ministry = await led.connector("ministry", "ministry")
            await led.connector("population", "population")
            flows = load_flows(FLOWS)
            learners = flows["learners-to-ministry"]
            target = replace(learners.to[0], only_changes=only_changes)
            led.core.router = Router(flows | {learners.name: replace(learners, to=[target])}, led.core.connectors)
            draft = make.draft()
            draft.body["personal_number"] = "031214000001"
            await led.school(draft.school)
            await accept(led.core, [make.arrival(draft)])
            closed = [r["id"] for r in await led.rows(_CLOSE)]
            assert len(closed) == 2
            async with led.core.pool.acquire() as connection, connection.transaction():
                await seen_by_person(led.core, connection, closed)
            rows = await led.rows("SELECT connector, type, key FROM given")
            assert [tuple(r) for r in rows] == [(ministry, "learner", draft.key)]

    asyncio.run(go())
