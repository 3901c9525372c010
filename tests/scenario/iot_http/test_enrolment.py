"""A gate over HTTP from its one-time code to the end of its credentials."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from hub.api import devices, gate_enrol
from hub.kernel.ledger import gates
from hub.kernel.ledger.gates import Gate
from tests.scenario.iot_http.conftest import SCHOOL


def a_gate(name: str, family: str = "zkteco", profile: str = "default") -> Gate:
    return Gate(
        id=name, family=family, profile=profile, title=name, school=SCHOOL, entrance="Cổng chính", direction="in",
        serial=name,
    )  # fmt: skip


def test_enrolled_rotated_and_revoked_at_once(gateway: Any) -> None:
    async def scene() -> None:
        async with gateway.ledger() as led, httpx.AsyncClient(base_url=gateway.url, timeout=20) as web:
            seal, key = gateway.keys.encrypt, gateway.keys.hmac("gate-code")
            codes = await gates.register(led.core, "test", [a_gate("Z1")], seal, key)

            async def knock(secret: str) -> int:
                return (
                    await web.get(f"/gates/{secret}/iclock/cdata", params={"SN": "Z1", "options": "all"})
                ).status_code

            async def enrol(**body: Any) -> httpx.Response:
                return await web.post("/v1/gates/enrol", json=body)

            wrong = await enrol(code="AAAAA-BBBBB")
            assert (await enrol(code=codes["Z1"], serial="Z1\0")).status_code in (400, 422)
            other = await enrol(code=codes["Z1"], serial="ANOTHER")
            assert wrong.status_code == other.status_code == 403
            assert wrong.json() == other.json()  # nothing tells one from the other
            given = await enrol(code=codes["Z1"], serial="Z1")
            assert given.status_code == 200
            secret = given.json()["secret"]
            assert len(secret) == 32 and given.json()["http"]["path"].startswith(f"/gates/{secret}/")
            assert (await enrol(code=codes["Z1"], serial="Z1")).status_code == 403
            await asyncio.sleep(5.1)  # no bell here: within the age the registry may have
            assert await knock(secret) == 200
            fresh = await gates.rotate(led.core, "test", "Z1", seal, timedelta(minutes=5))
            await asyncio.sleep(5.1)
            assert (await knock(secret), await knock(fresh.secret)) == (200, 200)
            assert await gates.revoke(led.core, "test", ["Z1"], "thử") == ["Z1"]
            devices.heard(gateway.app, "devices")  # the bell
            assert (await knock(secret), await knock(fresh.secret)) == (403, 403)

    asyncio.run(scene())


def test_a_webhook_is_set_up_and_outlives_rotation_and_replacement(gateway: Any) -> None:
    """A HANET camera from its code on: the path it is told, the account's signing secret, and both kept apart."""

    async def scene() -> None:
        async with gateway.ledger() as led, httpx.AsyncClient(base_url=gateway.url, timeout=20) as web:
            keys, key = gateway.keys, gateway.keys.hmac("gate-code")
            codes = await gates.register(led.core, "test", [a_gate("HN9", "hanet", "camera")], keys.encrypt, key)
            told = (await web.post("/v1/gates/enrol", json={"code": codes["HN9"]})).json()
            path = told["http"]["path"]
            assert path == f"/gates/{told['secret']}/hanet" and told["mqtt"]["publish"]

            async def call(path: str, device: str, name: str) -> int:
                devices.heard(gateway.app, "devices")  # the bell
                body = {
                    "action_type": "update", "data_type": "log", "aliasID": "HS1", "personID": "1", "personType": "0",
                    "deviceID": device, "id": name, "time": int(datetime.now(UTC).timestamp() * 1000),
                    "hash": hashlib.md5(f"khoa-cua-tai-khoan{name}".encode(), usedforsecurity=False).hexdigest(),
                }  # fmt: skip
                return (await web.post(path, json=body)).status_code

            assert await call(path, "HN9", "e1") == 403  # nobody has said yet what the account signs with
            await gates.sign(led.core, "test", ["HN9"], keys.encrypt(b"khoa-cua-tai-khoan", gates.SIGNING))
            assert await call(path, "HN9", "e2") == 200
            fresh = await gates.rotate(led.core, "test", "HN9", keys.encrypt, timedelta(minutes=5))
            assert await call(f"/gates/{fresh.secret}/hanet", "HN9", "e3") == 200
            code = await gates.replace(led.core, "test", "HN9", "HN10", None, "", keys.encrypt, key, "hỏng")
            path = (await web.post("/v1/gates/enrol", json={"code": code})).json()["http"]["path"]
            assert await call(path, "HN10", "e4") == 200
            await gates.sign(led.core, "test", ["HN10"], None)
            assert await call(path, "HN10", "e5") == 403
            with pytest.raises(gates.GateRefused):  # all or none
                await gates.sign(led.core, "test", ["HN10", "HN9"], b"x")
            assert await led.value("SELECT signing FROM devices WHERE id = 'HN10'") is None
            said = [dict(r) for r in await led.rows("SELECT kind, data FROM gate_history WHERE kind = 'signing'")]
            assert "khoa-cua" not in str(said) and len(said) == 2

    asyncio.run(scene())


def test_codes_cannot_be_guessed(gateway: Any) -> None:
    async def scene() -> None:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as web:
            seen = [(await web.post("/v1/gates/enrol", json={"code": f"AAAAA-{n:05d}"})).status_code for n in range(20)]
            assert seen[:10] == [403] * 10 and set(seen[11:]) == {429}
            for bad in (b"", b"{", b"[]", b'{"code":1}', b'{"code":"x"}', b"\xff", b"x" * 5000):
                status = (await web.post("/v1/gates/enrol", content=bad)).status_code
                assert status in (413, 422, 429)

    asyncio.run(scene())


def test_one_address_does_not_use_up_anothers_tries() -> None:
    buckets = gate_enrol.Buckets()
    assert sum(buckets.take("192.0.2.1") for _ in range(50)) == 10
    assert buckets.take("192.0.2.2")
    assert sum(buckets.take(f"2001:db8::{n:x}") for n in range(1, 50)) == 10
