"""Who may tell people to which gate, over HTTP: a school to its own gates that take lists, and to no others."""

from __future__ import annotations

import asyncio
from itertools import product
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
                    entrance="Cổng chính", direction="in",
                    person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"sealed",
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


def test_another_gate_is_refused_with_its_place(fleet: Any) -> None:
    devices = {
        "theirs": "no_such_gate",
        "gone": "no_such_gate",
        "nowhere": "no_such_gate",
        "camera": "gate_takes_no_people",
    }
    for client, event in product(("school-1", "department"), ("UPDATE", "CANCEL")):
        with fleet.client(f"key-of-{client}") as c:
            for device, code in devices.items():
                reply = c.post(PATH, json=item(device, event=event))
                assert reply.status_code == 422, (client, event, device)
                (error,) = reply.json()["errors"]
                assert (error["code"], error["pointer"]) == (code, "/data/device")
                assert error["vi"] != error["en"]
            bulk = c.post(PATH, json=[item("own"), *(item(device, event=event) for device in devices)]).json()
            pointers = [f"/{n}/data/device" for n in range(1, 5)]
            assert (bulk["records"], [e["pointer"] for e in bulk["rejects"]]) == (1, pointers)
    with fleet.client("key-of-school-1") as c:
        texts = [c.post(PATH, json=item(d)).json()["errors"][0]["en"].replace(d, "X") for d in ("theirs", "nowhere")]
    assert texts[0] == texts[1], "a gate elsewhere says no more than one that does not exist"


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
