"""Passages of learners under a temporary code: told by the lasting one, and kept until there is one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from hub.kernel.ledger import intake, waits
from tests.scenario.dispatch.test_checkins import passage

HOUR = timedelta(hours=1)
NAME = "code_given:TAM-7@31HP0123001/"


def told(twin: Any) -> dict[str, str]:
    return {e.key: e.content["ma"] for e in twin.books.effects if e.type == "diemdanh"}


async def waiting(s: Any) -> list[str]:
    return [r["waits_for"] for r in await s.led.rows("SELECT waits_for FROM deliveries WHERE state = 4")]


def test_a_passage_is_told_by_the_code_its_learner_has_by_now(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            now = datetime.now(UTC)
            # By a link, which holds the key; by a gate that tells the school's own code; and one that nothing is odd about.
            await intake.accept(
                s.core,
                [
                    passage(f"TAM-7@{items.SCHOOL}", now, "a"),
                    passage("TAM-7", now, "b"),
                    passage("3112345678", now, "c"),
                ],
            )
            await s.work()
            await s.settled(delivered=1, waiting=2)
            assert told(twin) == {"g1/c": "3112345678"}
            assert await waiting(s) == [NAME] * 2
            # The answer to the learner's record names the lasting code, it is given again under that, and the passages follow.
            await s.push("learner", items.learner("TAM-7"))
            await s.settled(delivered=5)
            assert told(twin) == {"g1/a": "3190000001", "g1/b": "3190000001", "g1/c": "3112345678"}
            await intake.accept(s.core, [passage(f"TAM-7@{items.SCHOOL}", now - HOUR, "d")])
            await s.settled(delivered=6)
            assert told(twin)["g1/d"] == "3190000001"

    asyncio.run(go())


def test_a_person_is_asked_at_last_and_may_have_it_sent_as_the_learner_was(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            flow = s.core.router.flows["checkins-to-ministry"]
            s.core.router.flows[flow.name] = replace(flow, to=[replace(flow.to[0], patience_h=1e-6)])
            s.core.router.bind(s.core.connectors)
            await intake.accept(s.core, [passage(f"TAM-7@{items.SCHOOL}", datetime.now(UTC), "a")])
            await s.work()
            await s.settled(parked=1)
            task = await s.led.value("SELECT text->>'en' FROM tasks WHERE state = 'open'")
            assert "temporary code" in task and told(twin) == {}
            # Parked or still waiting, whoever lets it go has it told as the learner's own record would be.
            await s.led.owner.execute(
                "UPDATE deliveries SET state = 4, task = NULL, due_at = NULL, waits_for = $1", NAME
            )
            assert await waits.send_anyway(s.core, "test", s.core.connectors["ministry"], NAME, "test", None) == 1
            await s.settled(delivered=1)
            assert told(twin) == {"g1/a": "TAM-7"}

    asyncio.run(go())


def test_a_flow_that_does_not_wait_names_the_lasting_code_or_what_it_has(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            flow = s.core.router.flows["checkins-to-ministry"]
            s.core.router.flows[flow.name] = replace(flow, to=[replace(flow.to[0], temporary="send")])
            s.core.router.bind(s.core.connectors)
            await s.work()
            place, now = f"TAM-7@{items.SCHOOL}", datetime.now(UTC)
            await intake.accept(s.core, [passage(place, now, "a")])
            await s.settled(delivered=1)
            await s.push("code_given", items.code_given("TAM-7", "3190000001"))
            await intake.accept(s.core, [passage(place, now - HOUR, "b")])
            await s.settled(delivered=2)
            assert told(twin) == {"g1/a": place, "g1/b": "3190000001"}

    asyncio.run(go())
