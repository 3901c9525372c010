"""School before class before learner before result at the Ministry, without holding up what does not depend."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.twin import Fault
from hub.kernel.ledger import operations, waits
from hub.kernel.ledger.accounting import account
from hub.kernel.lifecycle import State
from hub.worker import admission


def run(work: Any) -> Any:
    return asyncio.run(work)


def effects(twin: Any) -> list[str]:
    return [e.type for e in twin.books.effects]


def test_everything_pushed_backwards_arrives_in_order_and_nothing_is_refused(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry(dependencies=True)
            # In the hub's own order of arrival: last things first.
            await s.push("study_result", items.result())
            await s.push("learner", items.learner(class_code="6A1"))
            await s.push("class", items.class_())
            await s.push("school", items.school())
            await s.push("learner", items.learner("3112340000", class_code=None))
            await s.work()
            await s.settled(delivered=5)
            told = effects(twin)
            assert told.index("truong") < told.index("lophoc") < told.index("hocsinh") < told.index("ketqua")
            assert not twin.books.refusals, "nothing went before what it leans on"
            assert await s.led.value("SELECT count(*) FROM attempts WHERE outcome = 'Prerequisite'") >= 1
            assert await s.led.value("SELECT max(attempts) FROM deliveries_closed") == 1, "waiting is no attempt"

    run(go())


def test_a_parked_class_holds_its_learners_and_nobody_else(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry(dependencies=True)
            await s.push("school", items.school())
            await s.push("class", items.class_("6A1", grade="lạ"), items.class_("6A2"))
            await s.push(
                "learner", items.learner("3100000001", class_code="6A1"), items.learner("3100000002", class_code="6A2")
            )
            await s.push("study_result", items.result("3100000001"), items.result("3100000002"))
            await s.work()
            await s.settled(delivered=4, parked=1, waiting=2)
            seen = {r["waits_for"]: r for r in await waits.waiting(s.core, None)}
            assert set(seen) == {f"class:{items.SCHOOL}/6A1/", "learner:3100000001/"}
            assert State(seen[f"class:{items.SCHOOL}/6A1/"]["state"]) is State.PARKED, "and why: its class is parked"
            assert seen["learner:3100000001/"]["itself_waits_for"] == f"class:{items.SCHOOL}/6A1/"
            # The class's code gets a meaning: class, learner and result follow by themselves.
            await operations.approve_code(s.core, "lan", "grade", "lạ", "grade", "6", "sáu")
            await s.settled(delivered=7)
            assert not twin.books.refusals

    run(go())


def test_what_the_hub_never_had_is_the_receivers_to_say_and_its_refusal_waits_for_it(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry(dependencies=True, known_schools=frozenset({items.SCHOOL}))
            # A class the hub never saw: the Ministry has none either, and says so.
            await s.push("learner", items.learner(class_code="6A9"))
            await s.work()
            await s.settled(waiting=1)
            assert twin.books.refusals == {"missing_dependency": 1}
            assert await s.led.value("SELECT waits_for FROM deliveries") == f"class:{items.SCHOOL}/6A9/"
            assert await s.led.value("SELECT due_at > now() + interval '10 minutes' FROM deliveries")
            # It comes later by its own push: the learner follows at once, long before it is due.
            await s.push("class", items.class_("6A9"))
            await s.settled(delivered=2)

    run(go())


def test_a_person_sends_anyway(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("school", items.school(kind="lạ"))
            await s.push("learner", items.learner("3100000001"), items.learner("3100000002"))
            await s.work()
            await s.settled(parked=1, waiting=2)
            number = s.core.connectors["ministry"]
            assert (
                await waits.send_anyway(s.core, "lan", number, f"school:{items.SCHOOL}/", "Bộ đã có trường", ["khác"])
                == 0
            )
            assert (
                await waits.send_anyway(s.core, "lan", number, f"school:{items.SCHOOL}/", "Bộ đã có trường", None) == 2
            )
            await s.settled(parked=1, delivered=2)
            assert sorted(effects(twin)) == ["hocsinh", "hocsinh"]
            assert (
                await s.led.value("SELECT data ->> 'why' FROM journal WHERE kind = 'send_anyway'") == "Bộ đã có trường"
            )

    run(go())


def test_what_waits_too_long_is_a_persons_and_goes_on_when_its_prerequisite_comes(
    stage: Any, items: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(admission, "RECHECK_S", 0.2)

    async def go() -> None:
        async with stage() as s:
            await s.ministry()
            await s.push("school", items.school(kind="lạ"))
            await s.push("learner", items.learner("3100000001"), items.learner("3100000002"))
            await s.owner_ages(25)
            await s.work()
            await s.settled(parked=3)
            task = (await s.led.rows("SELECT * FROM tasks WHERE cause = 'prerequisite_overdue'"))[0]
            assert task["subject"] == f"school:{items.SCHOOL}/" and task["text"]["vi"] and task["text"]["en"]
            # One of the two a person sends; after that the school comes and the sweep lets the task go.
            await operations.approve_code(s.core, "lan", "school-kind", "lạ", "school-kind", "1", "công lập")
            await s.settled(25, delivered=3)
            assert await s.led.value("SELECT count(*) FROM tasks WHERE state = 'open'") == 0

    async def ages(self: Any, hours: int) -> None:
        await self.led.owner.execute("UPDATE deliveries SET created_at = created_at - $1 * interval '1 hour'", hours)

    from tests.scenario.dispatch.conftest import Stage

    monkeypatch.setattr(Stage, "owner_ages", ages, raising=False)
    run(go())


def test_what_a_person_saw_at_the_counterparty_counts(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.ministry()
            await s.push("school", items.school(kind="lạ"))
            await s.push("learner", items.learner())
            await s.work()
            await s.settled(parked=1, waiting=1)
            task = await s.led.value("SELECT id FROM tasks WHERE state = 'open'")
            await operations.resolve_task(s.core, "lan", task, "delivered", "đã có ở Bộ")
            await s.settled(delivered=2)

    run(go())


def test_an_outage_with_waiters_recovers(stage: Any, items: Any) -> None:
    """What waits for a record does not wait for the outage: recovery neither releases nor counts it."""

    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            await s.push("school", items.school(kind="lạ"))
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(20)))
            await s.work()
            await s.settled(parked=1, waiting=20)
            twin.set_fault(Fault(kind="down_503", for_s=1.5))
            await s.led.school("31HP0000009")
            await s.push("learner", *(items.learner(f"32{n:08d}", school_code="31HP0000009") for n in range(20)))
            await s.settled(40, parked=1, waiting=20, delivered=20)
            await s.until(lambda: s.led.value("SELECT state = 'idle' FROM recoveries"), 20)

    run(go())


def test_a_kill_between_reply_and_conclusion_leaves_waiters_to_be_promoted(stage: Any, items: Any) -> None:
    """The promotion is in the conclusion's transaction: if that is lost, the school is sent again and the learner follows."""

    async def go() -> None:
        async with stage(lease_s=1.5) as s:
            twin = await s.ministry()
            from hub.kernel.ledger import dependencies

            real, count = dependencies.settle, 0

            async def torn(*args: Any) -> None:
                nonlocal count
                await real(*args)
                if any(c.target is State.DELIVERED for c in args[3]) and count == 0:
                    count += 1
                    raise RuntimeError("torn off before the commit")

            dependencies.settle = torn  # type: ignore[assignment]
            try:
                await s.push("school", items.school())
                await s.push("learner", items.learner())
                await s.work()
                await s.settled(30, delivered=2)
            finally:
                dependencies.settle = real
            assert count == 1
            assert [e.type for e in twin.books.effects] == ["truong", "hocsinh"]
            assert (await account(s.core)).balanced

    run(go())
