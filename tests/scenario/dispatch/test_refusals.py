"""Whole batches refused for one record, and streams refused for a school or for all: what goes on, what rests."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from adapters.ministry.simulator import TOKEN
from adapters.ministry.simulator import Simulator as Ministry
from adapters.twin import Say
from hub.kernel.ledger import guards
from hub.worker.halves import allowance

OTHER = "31HP0123002"


class Strict(Ministry):
    """Refuses a batch whole for one bad name in it, and every record of bad schools by itself."""

    bad_name = "Nguyễn Văn Sai"
    bad_schools: frozenset[str] = frozenset()

    def _push(self, table: str, body: bytes) -> Say:
        rows = orjson.loads(body)["banghi"]
        if any(self.bad_name in map(str, r.values()) for r in rows):
            return Say.of({"ma": "49", "thongbao": "Gói tin có bản ghi sai"}, 422)
        return super()._push(table, body)

    def _record(self, table: str, record: Any) -> dict[str, Any]:
        if record.get("matruong") in self.bad_schools:
            return {"idbanghi": record["idbanghi"], "ma": "10", "thongbao": "dữ liệu sai"}
        return super()._record(table, record)


async def connected(s: Any, policy: dict[str, Any]) -> Strict:
    twin = Strict()
    url = await twin.start()
    s.twins["ministry"] = twin
    transport = {"kind": "rest", "base_url": url}
    await s.connect("ministry", transport, {"scheme": "bearer"}, {"token": TOKEN}, {"source": "000.00.12.H24"}, policy)
    return twin


def test_a_batch_refused_whole_is_halved_until_the_guilty_stand_alone(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await connected(s, {"concurrency": 1})
            guilty = {17, 64}
            await s.push(
                "learner",
                *(
                    items.learner(f"31{n:08d}", full_name=f"Nguyễn Văn {'Sai' if n in guilty else 'Mẫu'}")
                    for n in range(100)
                ),
            )
            await s.work()
            await s.settled(delivered=98, parked=2)
            assert {e.key for e in twin.books.effects} == {f"31{n:08d}" for n in range(100) if n not in guilty}
            assert twin.requests <= 1 + allowance(100)
            parked = await s.led.rows("SELECT key FROM deliveries WHERE state = 5")
            assert {r["key"] for r in parked} == {f"31{n:08d}" for n in guilty}
            assert await s.led.value("SELECT count(*) FROM calls") == twin.requests, "every call is kept"

    asyncio.run(go())


def test_a_stream_with_too_many_guilty_costs_no_more_than_allowed(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await connected(s, {"concurrency": 1, "guard": {"refused": 500, "of_last": 1000}})
            await s.push("learner", *(items.learner(f"31{n:08d}", full_name="Nguyễn Văn Sai") for n in range(64)))
            await s.work()
            await s.settled(parked=64)
            assert twin.requests <= 1 + allowance(64) + 1 and not twin.books.effects

    asyncio.run(go())


def test_bad_data_rests_one_schools_share_until_a_person_resumes_it(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.led.school(OTHER)
            await s.core.refresh()
            twin = await connected(s, {"concurrency": 2, "batch_max": 10, "guard": {"refused": 20, "of_last": 40}})
            twin.bad_schools = frozenset({OTHER})
            # Where the other school's begin among them is chance; each is its own entity.
            await s.push("learner", *(items.learner(f"32{n:08d}", school_code=OTHER) for n in range(200)))
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(100)))
            await s.work()
            await s.until(lambda: s.led.value("SELECT count(*) = 1 FROM paused_shares"))
            await s.until(lambda: s.led.value("SELECT count(*) = 100 FROM deliveries_closed WHERE state = 7"))
            await asyncio.sleep(0.5)
            refused = await s.led.value(
                "SELECT (SELECT count(*) FROM deliveries WHERE state = 5) + (SELECT count(*) FROM deliveries_closed WHERE state = 8)"
            )
            assert 20 < refused <= 50, "what was on its way, no more"
            ready = await s.led.value("SELECT count(*) FROM deliveries WHERE state = 2")
            assert ready == 200 - refused
            assert (
                await s.led.value("SELECT count(*) FROM deliveries WHERE state = 2 AND rank >= 1::bigint << 60")
                == ready
            )
            assert await s.led.value("SELECT count(*) FROM alarms WHERE kind = 'share' AND ended_at IS NULL") == 1
            assert await s.led.value("SELECT state = 'active' FROM connectors")
            # What comes to it meanwhile rests as well.
            await s.push("learner", items.learner("3299999999", school_code=OTHER))
            await asyncio.sleep(0.4)
            (share,) = await guards.paused(s.core)
            assert (share["connector"], share["school"], share["ready"]) == ("ministry", OTHER, ready + 1)
            assert share["message"]["vi"] and share["message"]["en"]
            twin.bad_schools = frozenset()
            assert not await guards.resume_share(s.core, "lan", "ministry", "nowhere")
            assert await guards.resume_share(s.core, "lan", "ministry", OTHER)
            assert not await guards.resume_share(s.core, "lan", "ministry", OTHER)
            await s.until(lambda: s.led.value("SELECT count(*) = 0 FROM deliveries WHERE state IN (2, 3)"))
            assert len([e for e in twin.books.effects if e.key.startswith("32")]) == ready + 1
            assert await s.led.value("SELECT count(*) FROM alarms WHERE kind = 'share' AND ended_at IS NULL") == 0
            kinds = [
                r["kind"] for r in await s.led.rows("SELECT kind FROM journal WHERE kind LIKE '%share' ORDER BY id")
            ]
            assert kinds == ["pause_share", "resume_share"]

    asyncio.run(go())


def test_the_same_refusal_at_many_schools_pauses_the_connector(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            codes = [f"31HP012301{n}" for n in range(4)]
            for code in codes:
                await s.led.school(code)
            await s.core.refresh()
            twin = await connected(s, {"concurrency": 1, "batch_max": 8, "guard": {"refused": 20, "of_last": 40}})
            twin.bad_schools = frozenset(codes)
            await s.push(
                "learner",
                *(items.learner(f"{c[-2:]}{n:08d}", school_code=c) for n in range(30) for c in codes),
            )
            await s.work()
            await s.until(lambda: s.led.value("SELECT pause_cause = 'mass_refusal' FROM connectors"))
            await asyncio.sleep(0.5)
            assert await s.led.value("SELECT count(*) FROM deliveries WHERE state = 2") >= 60
            assert await s.led.value("SELECT count(*) FROM journal WHERE kind = 'pause'") == 1
            assert await s.led.value("SELECT count(*) FROM paused_shares") == 0

    asyncio.run(go())
