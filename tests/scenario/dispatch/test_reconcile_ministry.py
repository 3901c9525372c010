"""The Ministry loses a learner: its listing says so, the repair's plan names one, and the worker brings exactly that one again."""

from __future__ import annotations

import asyncio
from typing import Any

from connectors.address import AddressPolicy
from hub.kernel.ledger import reconcile
from hub.kernel.store.db import sql
from hub.worker.reconciling import gather, listed_types, map_of
from mappings.fieldmap import load_field_maps


def test_what_the_ministry_lost_is_brought_again(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("learner", *(items.learner(f"310000000{n}") for n in range(4)))
            await s.work()
            await s.settled(delivered=4)
            del twin._held["hocsinh", "3100000002"]
            twin._holdings.rows["hocsinh"].pop("3100000002")
            twin._holdings._order.clear()

            number = s.core.connectors["ministry"]
            async with s.core.pool.acquire() as connection:
                row = await connection.fetchrow(sql.pull_connector, "ministry")
            assert "learner" in listed_types(s.core, row)
            field_map = map_of(s.core, number, "learner", load_field_maps())
            policy = AddressPolicy(["127.0.0.0/8"])
            run = await reconcile.begin(s.core, "lan", "k", number, "learner")
            seen = await gather(s.core, row, run, field_map, s.led.keys, policy, 20.0)
            assert (seen.state, seen.ours, seen.theirs, seen.fault) == ("compared", 4, 3, None)
            found = await reconcile.result(s.core, run.id)
            assert [(c["kind"], c["action"], c["n"]) for c in found.differences] == [("missing_there", "send", 1)]
            done = await reconcile.repair(s.core, "lan", run, field_map, found.plan)
            assert (done.queued, done.left) == (1, 0)
            await s.settled(delivered=5)
            again = await reconcile.begin(s.core, "lan", "k2", number, "learner")
            await gather(s.core, row, again, field_map, s.led.keys, policy, 20.0)
            assert (await reconcile.result(s.core, again.id)).differences == []

    asyncio.run(go())
