"""The Ministry behind the deployed forwarder: pushes, and what is asked about them, from the ledger to the Ministry's own books."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.ministry.simulator import TOKEN, Simulator
from adapters.twin import Fault
from connectors.address import AddressPolicy
from hub.kernel.ledger import reconcile
from hub.kernel.store.db import sql
from hub.worker.reconciling import gather, map_of
from mappings.fieldmap import load_field_maps
from tests.scenario.dispatch.between import Forwarder, standing

DSTCODE = "VN:GOV:000.00.00.G04:csdlnganh"
START = "/XrdAdapter/RestService/forward"
KINDS = {"school": "truong", "class": "lophoc", "learner": "hocsinh"}


async def _connected(s: Any, at: str, url: str) -> None:
    transport = {"kind": "xrd_forward", "base_url": at, "dstcode": DSTCODE, "provider_url": url}
    source = {"source": "000.00.12.H24"}
    await s.connect("ministry", transport, {"scheme": "bearer"}, {"token": TOKEN}, source, None)


async def _same(s: Any, kind: str) -> tuple[int | None, int | None, list[Any]]:
    """How many records of a type the hub and the Ministry have, and where their contents differ, by the Ministry's listing."""
    number = s.core.connectors["ministry"]
    async with s.core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.pull_connector, "ministry")
    fields = map_of(s.core, number, kind, load_field_maps())
    run = await reconcile.begin(s.core, "lan", kind, number, kind)
    seen = await gather(s.core, row, run, fields, s.led.keys, AddressPolicy(["127.0.0.0/8"]), 20.0)
    assert (seen.state, seen.fault) == ("compared", None)
    return seen.ours, seen.theirs, (await reconcile.result(s.core, run.id)).differences


def test_school_class_and_learners_arrive_once_and_in_order_whatever_is_lost_on_the_way(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = s.twins["ministry"] = Simulator(dependencies=True)
            url = await twin.start()
            forwarder = Forwarder(url, DSTCODE)
            async with standing(forwarder) as at:
                await _connected(s, at, url)
                # What each push did is taken, and no answer comes: the first of each kind.
                for table in KINDS.values():
                    twin.set_fault(Fault(kind="commit_then_timeout", count=1, match=f"/{table}/", delay_s=0.02))
                await s.push("learner", *(items.learner(f"310000000{n}", class_code="6A1") for n in range(3)))
                await s.push("class", items.class_("6A1"))
                await s.push("school", items.school())
                await s.work()
                await s.settled(40, delivered=5)
                told = twin.summary()
                assert [e.type for e in twin.books.effects] == ["truong", "lophoc", "hocsinh", "hocsinh", "hocsinh"]
                assert (told["doubles"], told["refusals"], told["order_violations"]) == ([], {}, []), told
                assert told["repeats"] == 5, "each was told again once, and known by its version"
                assert not [f for f in twin.faults if f.count]
                assert await s.led.value("SELECT count(*) FROM attempts WHERE outcome = 'Unknown'") == 5
                for kind, n in (("school", 1), ("class", 1), ("learner", 3)):
                    assert await _same(s, kind) == (n, n, []), kind
                asked = {(r.method, r.path.removeprefix(START)) for r in forwarder.seen}
                pushed = {("POST", f"/api/v1/{table}/batch") for table in KINDS.values()}
                assert asked == pushed | {("GET", f"/api/v1/danhsach/{table}") for table in KINDS.values()}
                assert forwarder.refused == [] and len(forwarder.seen) == twin.requests, "nothing went around it"
                await s.rest()

    asyncio.run(work())


def test_a_destination_code_the_forwarder_does_not_know_pauses_the_connector(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = s.twins["ministry"] = Simulator()
            url = await twin.start()
            async with standing(Forwarder(url, "VN:GOV:khac")) as at:
                await _connected(s, at, url)
                await s.push("school", items.school())
                await s.work()
                paused = "SELECT state = 'paused' FROM connectors WHERE name = 'ministry'"
                await s.until(lambda: s.led.value(paused))
                assert await s.led.value("SELECT pause_cause FROM connectors WHERE name = 'ministry'") == "address"
                await s.settled(ready=1)
                assert twin.requests == 0
                await s.rest()

    asyncio.run(work())
