"""A look-up is in the log before it is made: the simulated database looks there itself, while it answers."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import web

from adapters.population import simulator as population_twin
from adapters.population.people import Person

PERSON = Person(number="031214000001", name="Nguyễn Văn Mẫu", birth="20140305", sex="1")
ASKED = re.compile(rb"MaYeuCau>([^<]+)<")


class Witness(population_twin.Simulator):
    """Reads the hub's log on a connection of its own before it answers, and keeps what it saw by MaYeuCau."""

    core: Any = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        found = ASKED.search(await request.read())
        if found is not None:
            async with self.core.pool.acquire() as connection:
                rows = await connection.fetch("SELECT * FROM lookups WHERE request_id = $1", found[1].decode())
            self.seen.append((found[1].decode(), [dict(r) for r in rows]))
        return await super()._handle(request)


def _witnessed(stage: Any, items: Any, **adapter: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    async def work() -> list[tuple[str, list[dict[str, Any]]]]:
        async with stage() as s:
            twin = Witness(people=[PERSON])
            twin.core, twin.seen = s.core, []  # type: ignore[attr-defined]
            url = await twin.start()
            s.twins["population"] = twin
            auth = {"scheme": "population_signed", "user": population_twin.USER, "xroad_client": population_twin.CLIENT}
            secrets = {"secret": population_twin.SECRET, "api_key": population_twin.API_KEY}
            given = {"MaDVC": "DVC1", "MaCanBo": "CB1", **adapter}
            await s.connect("population", {"kind": "soap", "base_url": url}, auth, secrets, given, None)
            await s.work()
            await s.push("learner", items.learner(full_name=PERSON.name, personal_number=PERSON.number))
            await s.settled(delivered=1)
            return list(twin.seen)  # type: ignore[attr-defined]

    return asyncio.run(work())


def test_the_line_stands_with_purpose_officer_and_hash_while_the_question_is_answered(stage: Any, items: Any) -> None:
    seen = _witnessed(stage, items)
    assert len(seen) == 1
    ((_, (line,)),) = seen
    assert line["purpose"] == "Xác minh danh tính người học" and line["officer"] == "CB1"
    assert line["input_hash"] and PERSON.number not in str(line)


def test_it_does_so_for_a_question_answered_later(stage: Any, items: Any) -> None:
    seen = _witnessed(stage, items, asynchronous=True)
    assert seen and all(lines for _, lines in seen[:1])
