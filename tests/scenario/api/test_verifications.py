"""Verifications over HTTP: opened within a school's scope, once, shown to nobody else, and steered by schedules."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

import openpyxl
import pytest

from hub.api.control import control_token

S1, S2 = "31HP0000001", "31HP0000002"
ORDER = {"purpose": "Kiểm tra đầu năm học", "officer": "cb.gddt.07"}


@pytest.fixture
def ready(gateway: Any, ledger: Any, make_learner: Any) -> Any:
    """Learners of two schools, a connector to the population database, clients that may verify."""
    import asyncio

    async def prepare() -> None:
        async with ledger() as led:
            await led.connector("population", "population")
            await led.owner.execute("UPDATE hub.clients SET rights = '{push,verify}' WHERE id <> 'school-2'")

    with gateway.client("key-of-department") as client:
        for n, school in enumerate((S1, S1, S2)):
            item = make_learner(
                f"310000000{n}", school, personal_number=f"03121400000{n}", full_name=f"=Nguyễn Văn {n}"
            )
            assert client.post("/v1/messages/learner", json=item).status_code == 202
    asyncio.run(prepare())
    import time

    time.sleep(4)  # clients are kept in memory for a few seconds, connectors for as long as it takes
    until = time.monotonic() + 30
    nobody = ORDER | {"school": S1, "learners": ["XX-khong-co"]}
    while time.monotonic() < until:
        with gateway.client("key-of-department") as client:
            if client.post("/v1/verifications", json=nobody).status_code not in (403, 409):
                break
        time.sleep(0.5)
    return gateway


def test_a_school_verifies_its_own_roster_once(ready: Any) -> None:
    with ready.client("key-of-school-1") as own, ready.client("key-of-department") as department:
        first = own.post("/v1/verifications", json=ORDER, headers={"Idempotency-Key": "a"})
        assert first.status_code == 202, first.text
        told = first.json()
        assert (told["school"], told["counts"]["items"], told["state"]) == (S1, 2, "open")
        again = own.post("/v1/verifications", json=ORDER, headers={"Idempotency-Key": "a"})
        assert again.json()["verification"] == told["verification"] and again.headers["Idempotent-Replayed"] == "true"
        other = own.post("/v1/verifications", json=ORDER | {"officer": "cb.02"}, headers={"Idempotency-Key": "a"})
        assert (other.status_code, other.json()["code"]) == (422, "key_reused")
        running = own.post("/v1/verifications", json=ORDER)
        assert running.status_code == 409 and running.json()["verification"] == told["verification"]
        address = f"/v1/verifications/{told['verification']}"
        assert own.get(address).json()["counts"]["waiting"] == 2
        items = own.get(f"{address}/results", params={"limit": 1}).json()
        assert items["items"][0]["personal_number"] == "••••••••••00" and items["next"] == "3100000000"
        assert "Nguyễn" not in str(items)
        sheet = own.get(f"{address}/sheet.xlsx")
        page = openpyxl.load_workbook(io.BytesIO(sheet.content)).active
        row = next(page.iter_rows(min_row=7, max_row=7))
        assert (row[1].value, row[2].value, row[2].data_type, row[5].value) == (
            "3100000000",
            "=Nguyễn Văn 0",
            "s",
            "Chưa hỏi",
        )
        assert department.get(address).status_code == 200
        elsewhere = department.post("/v1/verifications", json=ORDER | {"school": S2, "kind": "verify"}).json()
        assert own.get(f"/v1/verifications/{elsewhere['verification']}").status_code == 404
        assert own.get(f"/v1/verifications/{elsewhere['verification']}/sheet.xlsx").status_code == 404
        assert own.post("/v1/verifications", json=ORDER | {"school": S2}).json()["code"] == "school"
        assert own.get(f"{address}/results", params={"after": "31\0"}).status_code == 422
        assert own.get(f"{address}/results", params={"after": "TAM-7@" + "3" * 20}).json()["items"] == []
        # A purpose is a sentence: one that is content would stand in the log for ever.
        image = b64encode(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(150))).decode()
        kept = own.post("/v1/verifications", json=ORDER | {"purpose": image, "kind": "verify"})
        assert (kept.status_code, kept.json()["code"]) == (422, "no_purpose"), kept.text
        for number in (0, -1, 1 << 70, "x"):
            assert own.get(f"/v1/verifications/{number}").status_code in (404, 422)


@pytest.mark.parametrize(
    "wrong",
    [
        {"purpose": "ngắn"}, {"purpose": "        "}, {"purpose": "hai\ndòng chữ"}, {"officer": ""}, {"officer": "a b"}, {"kind": "spy"},
        {"learners": []}, {"extra": 1}, {"school": None, "learners": ["x"]}, {"learners": ["31000\0000"]}, {"school": "31HP\0"},
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_opens_nothing(wrong: dict[str, Any]) -> None:
    from hub.api.verify import Order

    with pytest.raises(ValueError, match="validation error"):
        Order.model_validate(ORDER | wrong)


def test_without_the_right_nothing_and_with_the_control_token_what_is_due(ready: Any) -> None:
    with ready.client("key-of-school-2") as client:
        assert client.post("/v1/verifications", json=ORDER).status_code == 403
        assert client.post("/v1/verifications", json=ORDER, headers={"X-API-Key": "none"}).status_code == 401
    due = {**ORDER, "kind": "look_up", "older_than_days": 30, "most": 10}
    with ready.client(Authorization=f"Bearer {control_token(ready.keys)}") as control:
        unset = control.post("/control/v1/verifications/due", json={"purpose": "", "officer": "", "most": 10})
        assert (unset.status_code, unset.json()["code"]) == (409, "not_set")
        wrong = control.post("/control/v1/verifications/due", json=due | {"purpose": "ngắn"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "no_purpose")
        opened = control.post("/control/v1/verifications/due", json=due).json()["opened"]
        assert len(opened) == 2
        assert control.post("/control/v1/verifications/due", json=due).json() == {"opened": []}
        done = control.post("/control/v1/verifications/advance").json()
        assert (done["asked"], done["open"]) == (3, 2)
        assert control.post("/control/v1/verifications/advance").json()["asked"] == 0
        shown = control.get(f"/control/v1/verifications/{opened[0]}").json()
        assert shown["counts"]["asked"] + shown["counts"]["answered"] == shown["counts"]["items"]
    with ready.client(Authorization="Bearer nothing") as stranger:
        assert stranger.post("/control/v1/verifications/due", json=due).status_code == 401
