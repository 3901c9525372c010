"""A camera whose list has no name in common with its pushes: a passage is stored once, whichever tells of it first, however late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from hub.kernel.intake import Accepted, Arrival, Source, intake_key
from hub.kernel.ledger import gate_lists, gate_sightings, persons, rejudge, upkeep
from hub.kernel.ledger.intake import accept
from hub.worker.gate_arrivals import arrival_of
from iot.hanet.decode import PROFILES, seen
from iot.hanet.mqtt import MQTT
from iot.hanet.simulator import HanetPlace
from iot.simulator import Stored
from iot.web import Item
from tests.scenario.iot_lists.asking import NOW, SCHOOL, asked, due, linked, people, standing

ENTRY = {"id": "G1", "school": SCHOOL, "direction": "in"}
SOON, LATE = timedelta(seconds=2), timedelta(hours=9)
Way = Callable[[Stored, datetime, str], Arrival]


def by_webhook(s: Stored, received_at: datetime, name: str = "") -> Arrival:
    told = {"aliasid": s.person, "personid": "2390481234567890", "time": int(s.at.timestamp() * 1000)}
    item = seen(f"webhook-{s.number}{name}", told, received_at, ENTRY, PROFILES.get(None).settings)
    return pushed(item)


def by_broker(s: Stored, received_at: datetime, name: str = "") -> Arrival:
    told = {
        "msg_id": f"m{s.number}{name}",
        "camera_id": "G1",
        "person_id": s.person,
        "person_type": 0,
        "date_time": int(s.at.timestamp()),
    }
    return pushed(Item(decoded=MQTT.decode("/topic/detected/G1", told, received_at, ENTRY)))


def pushed(item: Item) -> Arrival:
    return arrival_of(
        "hanet", "", item, b"{}", is_json=True, digest=bytes(16), source=Source("device", "G1"), opener="G1"
    )


async def push(
    here: Any, stored: Sequence[Stored], after: timedelta, way: Way = by_webhook, name: str = ""
) -> list[Accepted]:
    return await accept(here.core, [way(s, s.at + after, name) for s in stored])


def passages(count: int, apart_s: float = 60.0, same: bool = False) -> list[Stored]:
    first = NOW - timedelta(hours=12)
    return [
        Stored(number=i + 1, person="HS00001" if same else f"HS{i:05d}", at=first + timedelta(seconds=apart_s * i))
        for i in range(count)
    ]


async def listed(here: Any, worker: Any) -> None:
    await due(here)
    await here.owner.execute("UPDATE gate_lists SET done_to = $1", NOW - timedelta(days=1))
    await worker.work(30)
    assert (await standing(here))["fault"] is None


async def kept(here: Any) -> list[str]:
    """Who passed, once for each passage: records of one key are one passage."""
    rows = await here.rows(
        "SELECT DISTINCT key, coalesce(body->>'local_id', body->>'person_code') AS p FROM records WHERE type = 'checkin'"
    )
    return sorted(r["p"] for r in rows)


@pytest.mark.parametrize("after", [SOON, LATE], ids=["soon", "late"])
@pytest.mark.parametrize("aliases", [True, False], ids=["webhook", "broker"])
@pytest.mark.parametrize("first", ["list", "push"])
def test_a_passage_is_stored_once_in_either_order(ledger: Any, first: str, aliases: bool, after: timedelta) -> None:
    async def go() -> None:
        stored = passages(6)
        way = by_webhook if aliases else by_broker
        async with ledger() as here, HanetPlace(stored, camera="G1", aliases=aliases) as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            if first == "list":
                await listed(here, worker)
                answers = await push(here, stored, after, way)
                assert all(a.duplicate and not a.conflict for a in answers)
                first_told = await here.rows("SELECT message FROM records WHERE type = 'checkin' ORDER BY updated_at")
                assert [a.message for a in answers] == [r["message"] for r in first_told], "what each is a repeat of"
                assert await here.value("SELECT count(*) FROM gate_sightings") == 0
            else:
                assert not any(a.duplicate for a in await push(here, stored, after, way))
                await listed(here, worker)
                assert (await standing(here))["missed"] == 0
            # Once more both, as repeats, and a push under a name of its own that nothing was listed for.
            assert all(a.duplicate for a in await push(here, stored, LATE, way))
            await listed(here, worker)
            person = [s.person if aliases else f"hanet:{s.person}" for s in stored]
            assert await kept(here) == sorted(person)
            assert not any(a.duplicate for a in await push(here, stored[:1], after, way, name="-other")), (
                "none left to be"
            )

    asyncio.run(go())


@pytest.mark.parametrize("first", ["list", "push"])
def test_a_linked_persons_passage_is_stored_once_in_either_order(ledger: Any, first: str) -> None:
    async def go() -> None:
        stored = passages(4)
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await linked(here, stored[0].person)

            async def pushes() -> None:
                await push(here, stored, LATE)

            told = [pushes, lambda: listed(here, worker)]
            for n, tell in enumerate(told if first == "push" else reversed(told)):
                await tell()
                if n == 0:  # the second one only after the first word was stored
                    await persons.link(here.core, "test", "tai-khoan", stored[1].person, "HP02", "đúng em")
                    while await rejudge.advance(here.core):
                        pass
            assert await kept(here) == sorted(s.person for s in stored)
            assert {"HP01", "HP02"} <= set(await people(here))

    asyncio.run(go())


@pytest.mark.parametrize("apart_s", [1.0, 0.4])
@pytest.mark.parametrize("order", ["list", "push", "first pushed", "second pushed", "first late", "second late"])
def test_two_passages_of_one_person_close_together_both_stay(ledger: Any, order: str, apart_s: float) -> None:
    async def go() -> None:
        stored = passages(2, apart_s, same=True)
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            before = {"push": stored, "first pushed": stored[:1], "second pushed": stored[1:]}.get(order, [])
            after = {"list": stored, "first late": stored[:1], "second late": stored[1:]}.get(order, [])
            await push(here, before, SOON)
            await listed(here, worker)
            await push(here, after, LATE)
            await listed(here, worker)
            times = await here.rows("SELECT updated_at FROM records WHERE type = 'checkin' ORDER BY 1")
            assert [r["updated_at"] for r in times] == [s.at for s in stored]

    asyncio.run(go())


def test_two_pushes_in_a_second_are_two_though_the_list_told_of_one(ledger: Any) -> None:
    async def go() -> None:
        stored = passages(1)
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await listed(here, worker)
            both = await asyncio.gather(*(push(here, stored, LATE, name=n) for n in ("a", "b")))
            assert sorted(a.duplicate for (a,) in both) == [False, True]
            again = await asyncio.gather(*(push(here, stored, LATE, name=n) for n in ("a", "b", "a")))
            assert all(a.duplicate for (a,) in again)
            assert await here.value("SELECT count(*) FROM records WHERE type = 'checkin'") == 2

    asyncio.run(go())


def test_another_person_or_camera_in_that_second_is_another_passage(ledger: Any) -> None:
    async def go() -> None:
        stored = passages(1)
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await asked(here, "G2", "hanet", address, place="12345", password=None)
            await here.owner.execute("DELETE FROM gate_lists WHERE device = 'G2'")
            await listed(here, worker)
            other = Stored(number=7, person="HS99999", at=stored[0].at)
            elsewhere = by_webhook(stored[0], stored[0].at)
            elsewhere.source, elsewhere.key = Source("device", "G2"), intake_key(Source("device", "G2"), "event", "x")
            answers = [*await push(here, [other], SOON), *await accept(here.core, [elsewhere])]
            assert not any(a.duplicate for a in answers)

    asyncio.run(go())


def test_a_push_that_comes_while_the_page_is_stored_waits_for_it(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        stored = passages(3)
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            met, pushes = gate_sightings.met, []

            async def slow(*arguments: Any) -> Any:
                found = await met(*arguments)
                pushes.append(asyncio.create_task(push(here, stored, SOON)))
                await asyncio.sleep(0.3)
                assert not pushes[0].done()
                return found

            monkeypatch.setattr(gate_lists.gate_sightings, "met", slow)
            await listed(here, worker)
            assert all(a.duplicate for a in await pushes[0])
            assert await people(here) == [s.person for s in stored]

    asyncio.run(go())


def test_what_a_push_that_broke_off_had_taken_is_there_for_the_next(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        stored = passages(2)
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await listed(here, worker)
            meet = gate_sightings.meet

            async def breaks(*arguments: Any) -> None:
                await meet(*arguments)
                raise RuntimeError("killed before the commit")

            with monkeypatch.context() as patch:
                patch.setattr(gate_sightings, "meet", breaks)
                with pytest.raises(RuntimeError):
                    await push(here, stored, SOON)
            assert await here.value("SELECT count(*) FROM gate_sightings") == 2
            assert all(a.duplicate for a in await push(here, stored, SOON))
            assert await people(here) == [s.person for s in stored]
            # What nobody pushed is forgotten with the keys.
            await here.owner.execute("UPDATE gate_sightings SET noted_at = noted_at - interval '40 days'")
            await upkeep.forget_keys(here.core, 30)
            assert await here.value("SELECT count(*) FROM gate_sightings") == 0

    asyncio.run(go())


WORDS = {"both": (True, True), "alias": (True, False), "vendor": (False, True)}


def numbers_of(word: str) -> Callable[[Stored], tuple[str, str]]:
    """How a word names a person: by the alias, by the vendor's own number, or by both."""
    alias, vendor = WORDS[word]
    return lambda s: (s.person * alias, f"9{s.person[2:]}" * vendor)


def by_word(word: str) -> Way:
    def made(s: Stored, received_at: datetime, name: str) -> Arrival:
        alias, vendor = numbers_of(word)(s)
        told = {"aliasid": alias, "personid": vendor, "time": int(s.at.timestamp() * 1000)}
        return pushed(seen(f"webhook-{s.number}{name}", told, received_at, ENTRY, PROFILES.get(None).settings))

    return made


async def in_order(here: Any, worker: Any, first: str, stored: Sequence[Stored], word: str) -> None:
    if first == "push":
        await push(here, stored, SOON, by_word(word))
    await listed(here, worker)
    if first == "list":
        await push(here, stored, LATE, by_word(word))


APART = [("alias", "vendor"), ("vendor", "alias")]
"""Words without a number in common, of the push and of the list."""


@pytest.mark.parametrize("first", ["list", "push"])
@pytest.mark.parametrize(
    ("told", "lists"), [(a, b) for a in WORDS for b in WORDS if (a, b) not in APART], ids=lambda w: str(w)
)
def test_a_passage_is_one_where_both_words_tell_a_number_in_common(
    ledger: Any, first: str, told: str, lists: str
) -> None:
    async def go() -> None:
        stored = passages(3)
        async with ledger() as here, HanetPlace(stored, camera="G1", numbers=numbers_of(lists)) as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await in_order(here, worker, first, stored, told)
            await listed(here, worker)
            assert await here.value("SELECT count(*) FROM records WHERE type = 'checkin'") == len(stored)

    asyncio.run(go())


@pytest.mark.parametrize("known", [True, False], ids=["linked", "nobody-knows"])
@pytest.mark.parametrize("first", ["list", "push"])
@pytest.mark.parametrize(("told", "lists"), APART)
def test_a_passage_told_by_numbers_of_two_kinds_is_one_where_both_mean_one_learner(
    ledger: Any, first: str, told: str, lists: str, known: bool
) -> None:
    async def go() -> None:
        stored = passages(2)
        async with ledger() as here, HanetPlace(stored, camera="G1", numbers=numbers_of(lists)) as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await linked(here, stored[0].person)
            for n, s in enumerate(stored):
                if n:
                    await persons.link(here.core, "test", "tai-khoan", s.person, "HP02", "đúng em")
                if known:
                    vendor = f"hanet:{numbers_of('vendor')(s)[1]}"
                    await persons.link(here.core, "test", "tai-khoan", vendor, f"HP0{n + 1}", "đúng em")
            await in_order(here, worker, first, stored, told)
            await listed(here, worker)
            times = "SELECT DISTINCT split_part(key, '/', 2) FROM records WHERE type = 'checkin'"
            assert len(await here.rows(times)) == (2 if known else 4)

    asyncio.run(go())


@pytest.mark.parametrize("first", ["list", "push"])
@pytest.mark.parametrize(("told", "lists"), [*APART, ("both", "vendor"), ("vendor", "both"), ("both", "both")])
def test_two_persons_within_a_second_both_stay_whatever_numbers_tell_them(
    ledger: Any, first: str, told: str, lists: str
) -> None:
    """One was pushed alone, the other listed alone."""

    async def go() -> None:
        one, other = passages(2, apart_s=0.3)
        async with ledger() as here, HanetPlace([other], camera="G1", numbers=numbers_of(lists)) as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await linked(here, one.person)
            await persons.link(here.core, "test", "tai-khoan", other.person, "HP02", "đúng em")
            for n, s in enumerate((one, other), 1):
                vendor = f"hanet:{numbers_of('vendor')(s)[1]}"
                await persons.link(here.core, "test", "tai-khoan", vendor, f"HP0{n}", "đúng em")
            await in_order(here, worker, first, [one], told)
            await listed(here, worker)
            rows = await here.rows("SELECT DISTINCT split_part(key, '/', 2) FROM records WHERE type = 'checkin'")
            assert len(rows) == 2

    asyncio.run(go())
