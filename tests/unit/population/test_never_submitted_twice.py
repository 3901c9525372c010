"""A request answered later is never put twice blindly: what a fault does not prove is looked for in the history first.

Against the twin, in both forms; judged by its books.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from adapters import manifest
from adapters.population import people
from adapters.population.simulator import SAMPLE_PEOPLE, Person, Simulator
from adapters.twin import Fault
from hub.kernel.ports import Call, Outcome, Outgoing, Reply, TryLater, Unknown

DECLARED = manifest.load("population")
FORMS = [name.removesuffix(".yaml") for name in DECLARED.profiles]
PERSON = msgspec.json.decode(SAMPLE_PEOPLE.read_bytes(), type=list[Person])[0]


def submission(form: str) -> tuple[Any, Call]:
    adapter = DECLARED.build({"MaDVC": "H24-GDDT", "MaCanBo": "cb.gddt.01", "asynchronous": True}, form)
    mapped = {"SoDinhDanh": PERSON.number, "HoVaTen": PERSON.name, "NgayThangNamSinh": PERSON.birth}
    outgoing = {
        "delivery": 1, "record": 1, "type": "learner", "key": "3100000001", "event": "NEW", "version": 1,
        "updated_at": "2026-09-05T07:00:00+07:00", "school": "31-11296-01", "body": {}, "mapped": mapped,
    }  # fmt: skip
    (call,) = adapter.render([msgspec.convert(outgoing, Outgoing)])
    assert call.operation == "GetRequests" and not call.idempotent
    assert DECLARED.operations[call.operation].repeat == "doubles"
    return adapter, call


def said(form: str, code: str) -> Outcome:
    adapter, call = submission(form)
    body = people.soap_fault(code, "Lỗi") if "soap" in form else people.json_fault(code, "Lỗi")
    outcome: Outcome = adapter.read(call, Reply(status=500, body=body)).outcomes[1]
    return outcome


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("code", ["Server", "Server.ServerProxy.ServiceFailed", "Server.ClientProxy.IOError", "Other"])
def test_a_fault_of_theirs_does_not_prove_that_a_submission_was_not_taken(form: str, code: str) -> None:
    assert isinstance(said(form, code), Unknown)


@pytest.mark.parametrize("form", FORMS)
def test_what_the_profile_names_as_certain_is_tried_again(form: str) -> None:
    assert isinstance(said(form, "Client.Quota"), TryLater)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", ["commit_then_500", "fault_500"])
def test_the_history_tells_whether_a_failed_submission_stands_there(form: str, fault: str) -> None:
    async def work() -> None:
        twin = Simulator(quota_per_s=0)
        await twin.start()
        adapter, call = submission(form)
        async with aiohttp.ClientSession() as http:

            async def send(one: Call) -> Reply:
                url = twin.url + one.path
                headers, body = twin.authorised(url, one.headers | {"Content-Type": one.content_type}, one.body)
                async with http.post(url, data=body, headers=headers) as got:
                    low = {name.lower(): value for name, value in got.headers.items()}
                    return Reply(status=got.status, body=await got.read(), headers=low)

            twin.set_fault(Fault(kind=fault, count=1))
            first = adapter.read(call, await send(call)).outcomes[1]
            if isinstance(first, TryLater):  # taken for "certainly not taken": the same bytes go again
                await send(call)
            inquiry = adapter.inquire(1, call)
            verdict = adapter.settle(inquiry, await send(inquiry)).verdict
        await twin.stop()
        assert isinstance(first, Unknown)
        assert twin.summary()["doubles"] == []
        assert verdict == ("present" if fault == "commit_then_500" else "absent")

    asyncio.run(asyncio.wait_for(work(), 30))
