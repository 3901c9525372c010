"""Deliveries to real simulators: order, batches, parking, pausing, uncertainty. Judged by the simulators' books."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.twin import Fault
from hub.kernel.ledger import operations, replays
from hub.kernel.lifecycle import State


def run(work: Any) -> Any:
    return asyncio.run(work)


def effects(twin: Any, kind: str | None = None) -> list[tuple[str, int]]:
    return [(e.key, e.version) for e in twin.books.effects if kind is None or e.type == kind]


def test_learners_reach_the_ministry_in_batches(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(250)))
            await s.work()
            await s.settled(delivered=250)
            assert sorted(effects(twin)) == [(f"31{n:08d}", 1) for n in range(250)]
            assert twin.requests <= 6, "batches, not single calls"

    run(go())


def test_versions_arrive_in_order_while_other_keys_go_beside(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            for version in range(6):
                await s.push(
                    "learner",
                    *(items.learner(f"31{n:08d}", full_name=f"Nguyễn Văn {chr(65 + version)}") for n in range(10)),
                )
            await s.work()
            await s.settled(delivered=60)
            for n in range(10):
                assert [v for k, v in effects(twin) if k == f"31{n:08d}"] == [1, 2, 3, 4, 5, 6]
            assert not twin.books.order_violations

    run(go())


def test_an_unmapped_code_parks_only_its_own_and_an_approval_releases_exactly_that(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            split = {"ward": {"system": "vn-ward-2024", "code": "10798"}, "detail": "Thôn 1"}
            await s.push(
                "learner", items.learner("3100000001"), items.learner("3100000002", residence=split), items.learner("3100000003", ethnicity="Ngạn Lạ"),
            )  # fmt: skip
            await s.push("learner", items.learner("3100000002", full_name="Nguyễn Văn Sau", residence=split))
            await s.work()
            await s.settled(delivered=1, parked=2, held=1)
            tasks = {
                t["subject"]: t["id"] for t in await s.led.rows("SELECT id, subject FROM tasks WHERE state = 'open'")
            }
            assert set(tasks) == {"vn-ward-2024:10798→vn-ward", "vn-ethnicity:Ngạn Lạ→vn-ethnicity"}
            assert (
                await operations.approve_code(s.core, "lan", "vn-ward-2024", "10798", "vn-ward", "10804", "xã mới") == 1
            )
            await s.settled(delivered=3, parked=1)
            assert [v for k, v in effects(twin) if k == "3100000002"] == [1, 2]
            assert await s.led.value("SELECT count(*) FROM journal WHERE kind = 'approve_code'") == 1

    run(go())


def test_a_refused_token_pauses_the_connector_once_and_keeps_everything_ready(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry(token="another")
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(20)))
            await s.work()
            await s.until(lambda: s.led.value("SELECT state = 'paused' FROM connectors"))
            await s.settled(ready=20)
            assert await s.led.value("SELECT count(*) FROM journal WHERE kind = 'pause'") == 1
            assert effects(twin) == []
            twin._token = "another"
            await s.rest()

    run(go())


def test_a_timeout_after_the_portal_committed_is_settled_by_asking_not_by_sending_again(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.set_fault(Fault(kind="commit_then_timeout", count=3, match="DongBoHoSoMC"))
            numbers = [f"000.00.12.H24-261122-{n:04d}" for n in range(10)]
            await s.push("filing", *(items.filing(n) for n in numbers))
            await s.work()
            await s.settled(delivered=10)
            assert sorted(k for k, _ in effects(twin)) == numbers
            assert await s.led.value("SELECT count(*) FROM deliveries_closed WHERE cause = 'present'") == 3
            assert (
                await s.led.value("SELECT count(*) FROM attempts WHERE kind = 'inquire' AND outcome = 'present'") == 3
            )

    run(go())


def test_a_request_lost_on_the_way_is_asked_about_twice_and_the_same_bytes_go_again(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.set_fault(Fault(kind="reset_after_read", count=1, match="DongBoHoSoMC"))
            await s.push("filing", items.filing())
            await s.work()
            await s.settled(delivered=1)
            assert [k for k, _ in effects(twin)] == ["000.00.12.H24-261122-0001"]
            assert [
                r["outcome"]
                for r in await s.led.rows("SELECT outcome FROM attempts WHERE kind = 'inquire' ORDER BY id")
            ] == ["absent", "absent"]
            bodies = await s.led.rows("SELECT body FROM calls WHERE operation = 'create'")
            assert len({bytes(b["body"]) for b in bodies}) == 1 and len(bodies) == 2

    run(go())


def test_already_there_becomes_an_update(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            await s.push("filing", items.filing())
            await s.work()
            await s.settled(delivered=1)
            done = await s.led.value("SELECT id FROM deliveries_closed")
            plan = await replays.plan_replay(s.core, replays.ReplayFilter(deliveries=[done], states=[State.DELIVERED]))
            assert plan.count == 1 and plan.by_connector == {"public_service": 1}
            result = await replays.replay(
                s.core, "lan", replays.ReplayFilter(deliveries=[done], states=[State.DELIVERED]), "as_sent", "thử"
            )
            assert (result.asked, result.queued) == (1, 1)
            await s.settled(delivered=2)
            sent = await s.led.rows("SELECT operation FROM calls WHERE operation IN ('create', 'update') ORDER BY id")
            assert [call["operation"] for call in sent] == ["create", "create", "update"], "refused, then an update"
            assert [(e.type, e.event) for e in twin.books.effects] == [("filing", "NEW")]
            assert twin.summary()["repeats"] == 2, "a second create and an update that says nothing new"
            assert await s.led.value("SELECT replay_of FROM deliveries_closed ORDER BY id DESC LIMIT 1") == done

    run(go())


def test_every_look_up_is_logged_before_it_is_made_and_its_answer_becomes_a_record(stage: Any, items: Any) -> None:
    from adapters.population.simulator import Person

    async def go() -> None:
        async with stage() as s:
            people = [Person(number="031214000001", name="Nguyễn Văn Mẫu", birth="20140305", sex="1")]
            twin = await s.population(people)
            await s.push(
                "learner",
                items.learner("3100000001", personal_number="031214000001"),
                items.learner("3100000002", personal_number="031214000009"),
            )
            await s.work()
            await s.settled(delivered=2)
            assert twin.requests == 2
            verdicts = {
                r["key"]: r["v"]
                for r in await s.led.rows(
                    "SELECT key, body->>'verdict' AS v FROM records WHERE type = 'population_check'"
                )
            }
            assert verdicts == {"3100000001": "match", "3100000002": "not_found"}
            log = await s.led.rows(
                "SELECT led.officer, led.purpose, length(led.input_hash) AS n, led.at <= r.at AS before FROM lookups led JOIN replies r ON r.call = led.call"
            )
            assert len(log) == 2 and all(r["officer"] == "CB1" and r["n"] == 32 and r["before"] for r in log)
            assert await s.led.value("SELECT count(*) FROM calls WHERE meta::text LIKE '%031214000001%'") == 0

    run(go())
