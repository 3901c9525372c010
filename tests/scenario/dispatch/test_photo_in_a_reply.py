"""A counterparty answers with a photo: the delivery is concluded, and the photo is nowhere in the ledger."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.ministry.simulator import Simulator
from adapters.population.people import Person
from adapters.population.simulator import Simulator as Population
from adapters.twin import Ask, Say
from hub.kernel.ledger import verifications
from hub.kernel.ledger.verifications import Wanted

MARK = b"anh-trong-tra-loi-"
NOISE = random.Random(8).randbytes(3000)
PHOTO = base64.b64encode(
    b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"".join(MARK + NOISE[i : i + 40] for i in range(0, 3000, 40)) + b"\xff\xd9"
)
TRACES = [MARK, MARK.hex().encode(), *(base64.b64encode(b"\0" * n + MARK)[4 if n else 0 : 20] for n in range(3))]


async def _everything(s: Any) -> bytes:
    held = b""
    for table in ("messages", "records", "rejects", "calls", "replies", "attempts", "journal", "tasks"):
        held += "".join(r[0] for r in await s.led.rows(f"SELECT t::text FROM {table} t")).encode()
    for table in ("messages", "calls", "replies"):
        held += b"".join(r[0] for r in await s.led.rows(f"SELECT body FROM {table} WHERE body IS NOT NULL"))
    return held


def _with_photo(say: Say) -> Say:
    body = say.body.rstrip()
    if body[:1] == b"{":
        return replace(say, body=body[:-1] + b',"anhChanDung":"' + PHOTO + b'"}')
    at = body.rfind(b"</", 0, body.rfind(b"</", 0, body.rfind(b"</")))
    return replace(say, body=body[:at] + b"<AnhChanDung>" + PHOTO + b"</AnhChanDung>" + body[at:])


def test_a_photo_in_an_answer_and_in_an_error_page(stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = 0
    answer = Simulator.answer

    def photographed(self: Simulator, ask: Ask) -> Say:
        nonlocal told
        told += 1
        if told == 1:
            return Say(503, b"<html>" + PHOTO + b"</html>", "text/html")
        return _with_photo(answer(self, ask))

    monkeypatch.setattr(Simulator, "answer", photographed)

    async def work() -> None:
        async with stage() as s:
            await s.ministry()
            await s.push("learner", items.learner("3112345678"))
            await s.work()
            await s.settled(delivered=1)
            held = await _everything(s)
            assert held.count(b"biometric-removed") >= 2 and not [t for t in TRACES if t in held]

    asyncio.run(work())


def test_a_photo_in_the_population_databases_answer(stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Population.answer
    monkeypatch.setattr(Population, "answer", lambda self, ask: _with_photo(answer(self, ask)))
    person = Person(number="031214000001", name="Nguyễn Văn Thử A", birth="20140305", sex="1")

    async def work() -> None:
        async with stage() as s:
            await s.push("learner", items.learner("3100000001", full_name=person.name, personal_number=person.number))
            await s.population([person])
            wanted = Wanted(school="31HP0123001", kind="look_up", purpose="Kiểm tra đầu năm học", officer="cb.gddt.07")
            await verifications.open_verification(s.core, "test", wanted)
            await s.work()

            async def answered() -> bool:
                return bool(await s.led.value("SELECT count(*) FROM replies WHERE status = 200"))

            await s.until(answered)
            held = await _everything(s)
            assert b"biometric-removed" in held and not [t for t in TRACES if t in held]

    asyncio.run(work())
