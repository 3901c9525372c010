"""A learner is one and the same under a temporary code and the one given for it, whoever asks: queries, verifications, evidence,
links of gates."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from adapters.population.people import Person
from hub.api.query import checked
from hub.api.verify import KEY_MOST, Order
from hub.console.pages import messages
from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.ledger import evidence, persons, queries, verifications
from hub.kernel.ledger.persons import CannotLink
from hub.kernel.ledger.verifications import NothingToAsk, Wanted
from hub.kernel.store.db import sql
from mappings.canonical.models import PopulationCheck, PopulationRequest

CODE, BORN = "3190000001", "2014-03-05"
PEOPLE = [
    Person(number=f"0312140{n:05}", name=f"Nguyễn Văn Thử {'ABC'[n]}", birth="20140305", sex="1") for n in range(3)
]


def run(work: Any) -> Any:
    return asyncio.run(work)


async def ground(s: Any, items: Any) -> str:
    """Three learners: TAM-7 with a code by now, TAM-8 without one, one who always had hers. The key of the first."""
    for code, person in zip(("TAM-7", "TAM-8", "3112345678"), PEOPLE, strict=True):
        await s.push("learner", items.learner(code, full_name=person.name, personal_number=person.number))
    await s.push("study_result", items.result("TAM-7"))
    await s.push("code_given", items.code_given("TAM-7", CODE))
    return f"TAM-7@{items.SCHOOL}"


def test_is_enrolled_is_answered_under_every_code(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            key = await ground(s, items)

            async def found(scope: Scope = EVERYWHERE, **given: str) -> bool:
                asked = queries.Asked(
                    name="enrolment", client="c", asker="c", officer="cb.01", purpose="Xét tuyển đầu cấp", request_id="1", scope=scope,
                    input=checked("enrolment", {"birth_date": BORN} | given),
                )  # fmt: skip
                answer = await queries.answer(s.core, asked)
                assert answer == {"found": False} or answer["enrolled"] is True
                return bool(answer["found"])

            own = Scope("school", items.SCHOOL)
            assert await found(learner_code=CODE) and await found(own, learner_code=CODE)
            assert await found(learner_code=key) and await found(learner_code="TAM-7", school_code=items.SCHOOL)
            assert await found(own, learner_code="TAM-7") and await found(own, learner_code="TAM-8")
            assert not await found(learner_code="TAM-7"), "whose TAM-7?"
            assert not await found(Scope("school", "31HP0999001"), learner_code=CODE)
            assert not await found(learner_code=CODE, birth_date="1999-01-01")

    run(go())


def test_a_roster_asks_about_each_learner_once_and_names_them_by_their_code(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            key = await ground(s, items)
            twin = await s.population(PEOPLE)
            wanted = Wanted(school=items.SCHOOL, kind="look_up", purpose="Kiểm tra đầu năm học", officer="cb.gddt.07")
            number, _ = await verifications.open_verification(s.core, "test", wanted)
            await s.work()

            async def done() -> bool:
                await verifications.advance(s.core)
                return (await verifications.one(s.core, number))["state"] == "done"

            await s.until(done, 30)
            row = await verifications.one(s.core, number)
            assert (row["items"], row["match"], row["skipped"]) == (3, 3, 0)
            assert (twin.summary()["effects"], twin.summary()["numbers_asked_again"]) == (3, 0)
            rows = await verifications.results(s.core, number)
            assert [(r["learner"], r["learner_code"]) for r in rows] == [
                ("3112345678", "3112345678"), (key, CODE), (f"TAM-8@{items.SCHOOL}", "TAM-8")
            ]  # fmt: skip
            # Page by page: the cursor is no longer than what the address takes.
            pages, after = [], ""
            while page := await verifications.results(s.core, number, after, 1):
                pages.append(page[0]["learner_code"])
                after = page[0]["learner"]
                assert len(after) <= KEY_MOST
            assert pages == ["3112345678", CODE, "TAM-8"]
            # What was asked and what was answered are canonical records, each under its learner.
            asked = await s.led.rows("SELECT body FROM records WHERE type = 'population_request'")
            told = await s.led.rows("SELECT key, body FROM records WHERE type = 'population_check'")
            assert {msgspec.convert(r["body"], PopulationRequest).learner_code for r in asked} == {
                "3112345678",
                CODE,
                "TAM-8",
            }
            assert {(r["key"], msgspec.convert(r["body"], PopulationCheck).learner_code) for r in told} == {
                ("3112345678", "3112345678"), (key, CODE), (f"TAM-8@{items.SCHOOL}", "TAM-8")
            }  # fmt: skip

    run(go())


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        ((CODE,), {"TAM-7"}),
        (("TAM-7",), {"TAM-7"}),
        (("TAM-8", CODE, "TAM-7"), {"TAM-7", "TAM-8"}),
        (("TAM-9",), set()),
    ],
)
def test_learners_are_chosen_by_either_code(stage: Any, items: Any, named: tuple[str, ...], chosen: set[str]) -> None:
    async def go() -> None:
        async with stage() as s:
            await ground(s, items)
            await s.population(PEOPLE)
            order = Order(purpose="Kiểm tra đầu năm học", officer="cb.01", learners=[*named])
            assert order.learners is not None
            wanted = Wanted(
                school=items.SCHOOL, kind="verify", purpose=order.purpose, officer=order.officer, learners=tuple(order.learners)
            )  # fmt: skip
            if not chosen:
                with pytest.raises(NothingToAsk):
                    await verifications.open_verification(s.core, "test", wanted)
                return
            number, _ = await verifications.open_verification(s.core, "test", wanted)
            rows = await verifications.results(s.core, number)
            assert {r["learner"] for r in rows} == {f"{k}@{items.SCHOOL}" for k in chosen}

    run(go())


def test_a_school_with_a_code_and_no_learner_is_not_due(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.push("code_given", items.code_given("TAM-7", CODE))
            await s.population(PEOPLE)
            now = datetime.now(UTC) + timedelta(days=1)
            async with s.core.pool.acquire() as connection:
                assert await connection.fetch(sql.verifications_due, "verify", now, 10) == []
            assert await evidence.find(s.core, CODE, "learner") is None, (
                "a place that points to nobody yet is no record"
            )

    run(go())


def test_an_everyday_look_up_of_a_learner_under_a_temporary_code_is_a_canonical_record(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.population(PEOPLE)
            await s.work()
            await s.push("learner", items.learner("TAM-7", full_name=PEOPLE[0].name, personal_number=PEOPLE[0].number))
            await s.settled(delivered=1)
            (told,) = await s.led.rows("SELECT key, body FROM records WHERE type = 'population_check'")
            check = msgspec.convert(told["body"], PopulationCheck)
            assert (told["key"], check.learner_code, check.verdict) == (f"TAM-7@{items.SCHOOL}", "TAM-7", "match")

    run(go())


def test_evidence_is_found_under_the_code_given(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            key = await ground(s, items)
            wanted = await s.led.value("SELECT record FROM streams WHERE type = 'learner' AND key = $1", key)
            for name in (CODE, key):
                assert await evidence.find(s.core, name, "learner") == wanted > 0
            found = await evidence.gather_whole(s.core, wanted, EVERYWHERE)
            assert found is not None and found.numbers == [wanted]
            result = await s.led.value("SELECT record FROM streams WHERE type = 'study_result'")
            assert await evidence.find(s.core, f"{CODE}/2025-2026/HK1", "study_result") == result
            assert await evidence.find(s.core, "TAM-7", "learner") is None

    run(go())


def test_a_gates_number_is_linked_by_either_code(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            key = await ground(s, items)
            own = [items.SCHOOL]
            await persons.link(s.core, "test", "ns", "1", CODE, "đúng em", schools=own)
            await persons.link(s.core, "test", "ns", "2", "TAM-8", "đúng em", schools=own)
            await persons.link(s.core, "test", "ns", "3", key, "đúng em")
            linked = {r["local"]: r["learner"] for r in await persons.links(s.core, own)}
            assert linked == {"1": key, "2": f"TAM-8@{items.SCHOOL}", "3": key}
            for learner, schools in (("TAM-8", None), (CODE, ["31HP0999001"])):
                with pytest.raises(CannotLink, match="no_learner"):
                    await persons.link(s.core, "test", "ns", "4", learner, "đúng em", schools=schools)

    run(go())


def test_the_console_finds_the_messages_of_a_learner_by_either_code(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            key = await ground(s, items)
            hub = SimpleNamespace(core=s.core, keys=s.led.keys)
            request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(hub=hub)))

            async def found(search: str, schools: list[str] | None = None) -> list[int] | None:
                visitor: Any = SimpleNamespace(schools=schools)
                return await messages._wanted_ids(request, visitor, search)

            known = await found(key)
            assert known and len(known) == 2
            assert await found(CODE) == await found("TAM-7", [items.SCHOOL]) == known
            assert await found("TAM-7") == await found(CODE, ["31HP0999001"]) == []

    run(go())
