"""The simulated database: strict like the real one may be, with books that tell no personal number."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from adapters import manifest
from adapters.population.simulator import SAMPLE_PEOPLE, Person, Simulator, number_hash, signature
from hub.kernel.ports import Call, NeedsPerson, NeverTry, Outcome, Outgoing, Reading, Receipt, Reply, TryLater

DECLARED = manifest.load("population")
ADAPTER = DECLARED.build({"MaDVC": "H24-GDDT", "MaCanBo": "cb.gddt.01"})
PEOPLE = msgspec.json.decode(SAMPLE_PEOPLE.read_bytes(), type=list[Person])
SEX = {"1": "male", "2": "female"}


def ask(person: Person, delivery: int = 1, **mapped: Any) -> Call:
    fields = {
        "SoDinhDanh": person.number,
        "HoVaTen": person.name,
        "NgayThangNamSinh": person.birth,
        "GioiTinh": SEX.get(person.sex),
    }
    outgoing = {
        "delivery": delivery,
        "record": delivery,
        "type": "learner",
        "key": f"31{delivery:08}",
        "event": "NEW",
        "version": 1,
        "updated_at": "2026-09-05T07:00:00+07:00",
        "school": "31-11296-01",
        "body": {},
        "mapped": fields | mapped,
    }
    return ADAPTER.render([msgspec.convert(outgoing, Outgoing)])[0]


class Client:
    """A signed caller of one running simulator."""

    def __init__(self, twin: Simulator, session: aiohttp.ClientSession) -> None:
        self.twin, self.session = twin, session

    async def send(self, call: Call, **changed: str) -> Reply:
        url = self.twin.url + "/tra-cuu"
        headers, body = self.twin.authorised(url, call.headers | {"Content-Type": call.content_type}, call.body)
        async with self.session.post(url, data=body, headers=headers | changed) as answer:
            told = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(status=answer.status, body=await answer.read(), headers=told)

    async def read(self, call: Call, **changed: str) -> Reading:
        return ADAPTER.read(call, await self.send(call, **changed))

    async def outcome(self, call: Call, **changed: str) -> Outcome:
        return (await self.read(call, **changed)).outcomes[call.deliveries[0]]


def run(scenario: Callable[[Client], Awaitable[None]], **options: Any) -> Simulator:
    async def main() -> Simulator:
        twin = Simulator(**({"quota_per_s": 0} | options))
        await twin.start()
        try:
            async with aiohttp.ClientSession() as session:
                await scenario(Client(twin, session))
        finally:
            await twin.stop()
        return twin

    return asyncio.run(main())


def test_everybody_is_found_as_themselves() -> None:
    async def scenario(client: Client) -> None:
        for number, person in enumerate(PEOPLE):
            reading = await client.read(ask(person, number))
            assert reading.records[0].body["verdict"] == "match", reading

    twin = run(scenario)
    assert twin.summary()["effects"] == twin.summary()["numbers"] == len(PEOPLE)


def test_other_verdicts() -> None:
    async def scenario(client: Client) -> None:
        person = PEOPLE[0]
        wrong = await client.read(ask(person, 1, HoVaTen="Nguyễn Văn Khác", NgayThangNamSinh="2014"))
        assert wrong.records[0].body["differing"] == ["full_name", "birth_date"]
        nobody = await client.read(ask(person, 2, SoDinhDanh="031215999999"))
        assert nobody.records[0].body["verdict"] == "not_found"
        old = await client.read(ask(PEOPLE[3], 3, SoDinhDanh=PEOPLE[3].old_number))
        assert old.records[0].body["verdict"] == "match"

    twin = run(scenario)
    assert [effect.content["found"] for effect in twin.books.effects] == [True, False, True]


def test_a_service_that_wants_the_whole_identity() -> None:
    async def scenario(client: Client) -> None:
        assert (await client.read(ask(PEOPLE[0]))).records[0].body["verdict"] == "match"
        reading = await client.read(ask(PEOPLE[0], 2, HoVaTen="Nguyễn Văn Khác"))
        assert reading.records[0].body["verdict"] == "not_found"

    run(scenario, identity="all")


@pytest.mark.parametrize(
    "changed",
    [
        {"Timestamp": "0"},
        {"Timestamp": "x"},
        {"Timestamp": str(int(time.time()))},
        {"Authorization": "Basic !!"},
        {
            "Authorization": signature(
                "http://elsewhere/", "so-gddt", str(int(time.time() * 1000)), "population-simulator"
            )
        },
        {"ApiKey": "other"},
    ],
)
def test_a_caller_with_a_wrong_signature_pauses_the_connector(changed: dict[str, str]) -> None:
    async def scenario(client: Client) -> None:
        told = await client.outcome(ask(PEOPLE[0]), **changed)
        assert isinstance(told, NeedsPerson) and told.scope == "connector", told

    assert not run(scenario).books.effects


def test_an_unknown_member_pauses_the_connector() -> None:
    async def scenario(client: Client) -> None:
        told = await client.outcome(ask(PEOPLE[0]), **{"X-Road-Client": "VN/GOV/other"})
        assert isinstance(told, NeedsPerson) and told.scope == "connector", told

    run(scenario)


def test_seconds_where_the_platform_counts_in_seconds() -> None:
    async def scenario(client: Client) -> None:
        assert isinstance(await client.outcome(ask(PEOPLE[0])), Receipt)
        in_ms = str(int(time.time() * 1000))
        signed = signature(client.twin.url + "/tra-cuu", "so-gddt", in_ms, "population-simulator")
        told = await client.outcome(ask(PEOPLE[0], 2), Timestamp=in_ms, Authorization=signed)
        assert isinstance(told, NeedsPerson)

    run(scenario, timestamp_unit="s")


def test_the_request_is_checked_against_the_schema() -> None:
    async def scenario(client: Client) -> None:
        call = ask(PEOPLE[0])
        code, unit = b"<ns0:MaDVC>H24-GDDT</ns0:MaDVC>", b"<ns0:MaTichHop>037</ns0:MaTichHop>"
        swapped = call.body.replace(code + unit, unit + code)
        assert swapped != call.body
        broken = [
            swapped,
            call.body.replace(b"dancuquocgia.bca", b"dancuquocgia.bcb"),
            call.body.replace(b"031215000001", b"0312"),
            call.body.replace(b"ns0:NgayThangNam>", b"ns0:Thang>"),
            ask(PEOPLE[0], SoDinhDanh=None).body,
        ]
        for body in broken:
            told = await client.outcome(msgspec.structs.replace(call, body=body))
            assert isinstance(told, NeverTry), (body, told)
        assert isinstance(await client.outcome(call, SOAPAction='"urn:x"'), NeverTry)
        assert isinstance(await client.outcome(msgspec.structs.replace(call, body=b"<x/>")), NeedsPerson)

    assert not run(scenario).books.effects


def test_books_hold_hashes_and_outlive_the_process(tmp_path: Path) -> None:
    books = tmp_path / "books.jsonl"

    async def twice(client: Client) -> None:
        for _ in range(2):
            assert isinstance(await client.outcome(ask(PEOPLE[0])), Receipt)

    first = run(twice, books=books)
    again = run(twice, books=books)
    text = books.read_text("utf-8")
    assert PEOPLE[0].number not in text and "Nguyễn" not in text and "NGUYỄN" not in text
    assert number_hash(PEOPLE[0].number) in text
    assert (first.summary()["effects"], first.summary()["repeats"]) == (1, 1)
    assert (again.summary()["effects"], again.summary()["repeats"], again.summary()["doubles"]) == (1, 2, [])


@pytest.mark.parametrize("quota_as", ["http", "fault"])
def test_the_quota_is_kept_in_its_own_second(quota_as: str) -> None:
    async def scenario(client: Client) -> None:
        told = await asyncio.gather(*(client.outcome(ask(PEOPLE[0], number)) for number in range(30)))
        later = [one for one in told if isinstance(one, TryLater)]
        assert len(later) + sum(isinstance(one, Receipt) for one in told) == 30
        assert len(later) >= 20, "thirty requests span at most two of the simulator's seconds"

    twin = run(scenario, quota_per_s=5, quota_as=quota_as)
    assert twin.summary()["peak_per_s"] <= 5
    assert twin.summary()["over_quota"] + len(twin.books.effects) == 30
