"""Who may tell people to which gate, over HTTP: a school to its own gates that take lists, and to no others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.kernel.ledger import gates, parties

S1, S2 = "31HP0000001", "31HP0000002"
PATH = "/v1/messages/gate_person"


def item(device: str, school: str = S1, code: str = "HS01", event: str = "UPDATE") -> dict[str, Any]:
    data = {"device": device, "person_code": code, "school_code": school, "full_name": "Trần Thị Mẫu", "sex": "Nữ"}
    return {"event": event, "data": data}


@pytest.fixture
def fleet(gateway: Any, ledger: Any) -> Any:
    """Gates of two schools, one for each kind of answer."""

    async def prepare() -> None:
        async with ledger() as led:
            for device, family, school in (
                ("own", "face_mqtt", S1),
                ("theirs", "face_mqtt", S2),
                ("camera", "hanet", S1),
                ("gone", "face_mqtt", S1),
            ):
                await parties.add_device(
                    led.core, "test", device, family=family, profile="push-ack", title=device, school=school,
                    entrance="Cổng chính", direction="in", zone="Asia/Ho_Chi_Minh", secret=b"sealed",
                )  # fmt: skip
            await gates.revoke(led.core, "test", ["gone"], "mất")

    asyncio.run(prepare())
    return gateway


def test_a_school_tells_a_person_to_its_own_gate_and_away_from_it(fleet: Any, ledger: Any) -> None:
    with fleet.client("key-of-school-1") as c:
        assert c.post(PATH, json=item("own")).status_code == 202
        assert c.post(PATH, json=item("own", event="CANCEL")).status_code == 202

    async def taken() -> list[Any]:
        async with ledger() as led:
            return await led.rows("SELECT key, event, school FROM records ORDER BY id")

    assert [tuple(r) for r in asyncio.run(taken())] == [("own/HS01", "NEW", S1), ("own/HS01", "CANCEL", S1)]


@pytest.mark.parametrize(
    ("device", "code"),
    [
        ("theirs", "no_such_gate"),
        ("gone", "no_such_gate"),
        ("nowhere", "no_such_gate"),
        ("camera", "gate_takes_no_people"),
    ],
)
@pytest.mark.parametrize("event", ["UPDATE", "CANCEL"])
@pytest.mark.parametrize("client", ["school-1", "department"])
def test_another_gate_is_refused_with_its_place(fleet: Any, device: str, code: str, event: str, client: str) -> None:
    with fleet.client(f"key-of-{client}") as c:
        reply = c.post(PATH, json=item(device, event=event))
        assert reply.status_code == 422
        (error,) = reply.json()["errors"]
        assert (error["code"], error["pointer"]) == (code, "/data/device")
        assert error["vi"] != error["en"]
        bulk = c.post(PATH, json=[item("own"), item(device, event=event)]).json()
        assert (bulk["records"], [e["pointer"] for e in bulk["rejects"]]) == (1, ["/1/data/device"])


def test_a_gate_that_is_elsewhere_says_no_more_than_one_that_does_not_exist(fleet: Any) -> None:
    with fleet.client("key-of-school-1") as c:
        texts = {d: c.post(PATH, json=item(d)).json()["errors"][0]["en"] for d in ("theirs", "nowhere")}
    assert texts["theirs"].replace("theirs", "X") == texts["nowhere"].replace("nowhere", "X")


def test_who_told_a_person_to_a_gate_takes_that_person_away_after_it_moved(fleet: Any, ledger: Any) -> None:
    with fleet.client("key-of-school-1") as c:
        assert c.post(PATH, json=item("own")).status_code == 202

    async def move() -> None:
        async with ledger() as led:
            since = await led.value("SELECT now() - interval '1 minute'")
            await gates.move(led.core, "test", "own", S2, "Cổng sau", "in", since, "chuyển")

    asyncio.run(move())
    with fleet.client("key-of-school-1") as c:
        assert c.post(PATH, json=item("own", code="HS02")).status_code == 422
        assert c.post(PATH, json=item("own", code="HS02", event="CANCEL")).status_code == 422
        assert c.post(PATH, json=item("own", event="CANCEL")).status_code == 202
        assert c.post(PATH, json=item("own", event="CANCEL")).status_code == 422
