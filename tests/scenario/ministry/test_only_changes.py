"""Only what differs travels: at a push, and in the nightly comparison of everything. Judged by the Ministry's books."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml

from adapters.twin import Fault
from hub.kernel.ledger import delta, operations, replays
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.replays import ReplayFilter
from hub.kernel.lifecycle import State
from hub.kernel.router import Router, load_flows
from hub.wiring import FLOWS
from mappings.fieldmap import load_field_maps

MAPS = load_field_maps()


def run(work: Any) -> Any:
    return asyncio.run(work)


def effects(twin: Any) -> list[tuple[str, int]]:
    return [(e.key, e.version) for e in twin.books.effects]


async def compared(s: Any, **more: Any) -> delta.Compared:
    return await delta.compare(s.core, "test", s.core.connectors["ministry"], MAPS, **more)


def test_a_change_that_does_not_travel_sends_nothing(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("learner", items.learner(status_since="2025-09-05", ethnicity="Kinh"))
            await s.work()
            await s.settled(delivered=1)
            # Another day of the status, another spelling of the same code: neither is in what the Ministry gets.
            await s.push("learner", items.learner(status_since="2025-09-06", ethnicity="kinh"))
            await s.settled(delivered=2)
            assert effects(twin) == [("3112345678", 1)] and twin.requests == 1
            assert await s.led.value("SELECT cause FROM deliveries_closed ORDER BY id DESC LIMIT 1") == "unchanged"
            await s.push("learner", items.learner(full_name="Nguyễn Văn Khác"))
            await s.settled(delivered=3)
            assert effects(twin) == [("3112345678", 1), ("3112345678", 3)], "the version goes on"
            # Back to what it was, withdrawn, and there again: each is a fact of its own.
            await s.push("learner", items.learner())
            await s.settled(delivered=4)
            await s.push("learner", {"event": "CANCEL", "data": {"learner_code": "3112345678"}})
            await s.settled(delivered=5)
            await s.push("learner", items.learner())
            await s.settled(delivered=6)
            assert [v for _, v in effects(twin)] == [1, 3, 4, 5, 6] and not twin.books.order_violations

    run(go())


def test_a_replay_a_person_orders_is_sent_though_nothing_changed(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("learner", items.learner(), items.learner("3100000002"))
            await s.push("learner", items.learner(full_name="Nguyễn Văn Khác"))
            await s.work()
            await s.settled(delivered=3)
            before = twin.requests
            wanted = ReplayFilter(connector="ministry", states=[State.DELIVERED])
            done = await replays.replay(s.core, "lan", wanted, "remap", "hỏi lại")
            assert done.queued == 3
            await s.settled(delivered=6)
            assert twin.requests > before and twin.books.repeats == 3
            # An old version sent again does not make the books believe the Ministry went back to it.
            assert (await compared(s)).queued == 0

    run(go())


def test_the_comparison_queues_exactly_the_difference_and_twice_nothing_twice(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(50)))
            await s.push("class", items.class_())
            await s.work()
            await s.settled(delivered=51)
            assert (await compared(s)).unchanged == 51
            # What the Ministry never got, got otherwise, or still has though it was withdrawn.
            for text in (
                "DELETE FROM given WHERE key IN ('3100000001', '3100000002')",
                "UPDATE given SET content = 'anders' WHERE key IN ('3100000003')",
            ):
                await s.led.owner.execute(text)
            await s.rest()
            await s.push("learner", {"event": "CANCEL", "data": {"learner_code": "3100000004"}})
            await s.led.owner.execute("DELETE FROM deliveries")
            found = await compared(s)
            assert (found.compared, found.queued, found.unchanged, found.next) == (51, 4, 47, None)
            again = await compared(s)
            assert (again.queued, again.on_their_way) == (0, 4)
            twin.books.effects.clear()
            await s.work()
            await s.until(lambda: s.led.value("SELECT count(*) = 0 FROM deliveries"))
            assert sorted(effects(twin)) == [("3100000003", 2), ("3100000004", 2)]
            assert twin.books.repeats == 2, "those the Ministry did hold, it said so"
            assert (await compared(s)).unchanged == 51

    run(go())


def test_pages_go_on_where_they_stopped(stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "PAGE", 7)

    async def go() -> None:
        async with stage() as s:
            await s.ministry()
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(30)))
            await s.push("school", items.school())
            await s.led.owner.execute("DELETE FROM deliveries")
            whole, after, calls = delta.Compared(), None, 0
            while True:
                whole.add(await compared(s, after=after, most=10))
                after, calls = whole.next, calls + 1
                if after is None:
                    break
            assert (whole.compared, whole.queued) == (31, 31) and calls >= 3
            # One key's delivery each, though two comparisons ran at once over all of it.
            both = await asyncio.gather(compared(s), compared(s))
            assert [b.queued for b in both] == [0, 0]
            assert await s.led.value("SELECT count(*) = count(DISTINCT key) FROM deliveries")

    run(go())


def test_a_new_table_of_codes_is_a_difference_for_those_it_touches(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("learner", items.learner("3100000001", nationality="Lạ"), items.learner("3100000002"))
            await s.work()
            await s.settled(delivered=2)
            await operations.approve_code(s.core, "lan", "country", "Lạ", "country", "LA", "Lào")
            found = await compared(s)
            assert (found.queued, found.unchanged) == (1, 1)
            await s.until(lambda: s.led.value("SELECT count(*) = 0 FROM deliveries"))
            # The record's version is the same, but a receiver that keeps to versions must see a higher one to take it.
            assert effects(twin)[-1] == ("3100000001", 2) and twin.books.repeats == 0
            await s.push("learner", items.learner("3100000001", nationality="Lạ", full_name="Nguyễn Văn Khác"))
            await s.until(lambda: s.led.value("SELECT count(*) = 0 FROM deliveries"))
            assert effects(twin)[-1] == ("3100000001", 3) and not twin.books.order_violations
            assert (await compared(s)).unchanged == 2 and (await account(s.core)).balanced

    run(go())


def test_health_goes_only_where_the_flow_allows_it(stage: Any, items: Any, tmp_path: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("learner", items.learner(disability="3"))
            await s.push("health_check", items.health())
            await s.work()
            await s.settled(delivered=1)
            assert [e.type for e in twin.books.effects] == ["hocsinh"]
            body = await s.led.value("SELECT convert_from(body, 'UTF8') FROM calls")
            assert '"maloaikhuyettat":null' in body
            await s.rest()
            # The department writes it into both flows.
            for name in ("health-to-ministry", "learners-to-ministry"):
                flow = yaml.safe_load((FLOWS / name / "flow.yaml").read_text("utf-8"))
                flow["to"][0]["allow"] = ["health"]
                (tmp_path / "flows" / name).mkdir(parents=True)
                (tmp_path / "flows" / name / "flow.yaml").write_text(yaml.safe_dump(flow, allow_unicode=True), "utf-8")
            s.core.router = Router(load_flows(tmp_path / "flows"), s.core.connectors)
            await s.push("health_check", items.health(weight_kg=40))
            await s.push("learner", items.learner(disability="3", class_code="6A3"))
            await s.work()
            await s.settled(delivered=3)
            assert [e.type for e in twin.books.effects] == ["hocsinh", "suckhoe", "hocsinh"] or [
                e.type for e in twin.books.effects
            ] == ["hocsinh", "hocsinh", "suckhoe"]
            bodies = await s.led.value("SELECT string_agg(convert_from(body, 'UTF8'), '') FROM calls")
            assert '"maloaikhuyettat":"3"' in bodies and '"cannang":40' in bodies

    run(go())


def test_a_learner_under_a_temporary_code_comes_back_with_a_lasting_one(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry(dependencies=True, known_schools=frozenset({items.SCHOOL}))
            # The answer is lost once after the Ministry has taken it: the same learner, the same code, nothing doubled.
            twin.set_fault(Fault(kind="gateway_502", count=1))
            await s.push("learner", items.learner("TAM-1", class_code=None))
            await s.push("study_result", items.result("TAM-1"))
            await s.work()
            place = f"TAM-1@{items.SCHOOL}"
            await s.until(lambda: s.led.value("SELECT count(*) = 1 FROM codes_given"))
            code = await s.led.value("SELECT code FROM codes_given WHERE anchor = $1", place)
            await s.until(lambda: s.led.value("SELECT count(*) = 0 FROM deliveries"), 30)
            await s.push("learner", items.learner(code, class_code=None))
            await s.push("learner", items.learner("TAM-1", class_code=None))
            await s.push("study_result", items.result(code, average=9))
            await s.until(lambda: s.led.value("SELECT count(*) = 0 FROM deliveries"), 30)
            learners = [(e.key, e.content["ma"]) for e in twin.books.effects if e.type == "hocsinh"]
            assert learners == [(place, "TAM-1"), (place, code)], "told the lasting code once, under the key it knows"
            results = {e.key for e in twin.books.effects if e.type == "ketqua"}
            assert results == {f"{place}/2025-2026/HK1"} and not twin.books.order_violations
            assert (await account(s.core)).balanced

    run(go())
