"""A gate over HTTP from its one-time code to the end of its credentials."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx

from hub.api import gate_enrol
from hub.kernel.ledger import gates
from hub.kernel.ledger.gates import Gate
from tests.scenario.iot_http.conftest import SCHOOL


def a_gate(name: str) -> Gate:
    return Gate(
        id=name, family="zkteco", profile="default", title=name, school=SCHOOL, entrance="Cổng chính", direction="in",
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
            from hub.api import devices

            devices.heard(gateway.app, "devices")  # the bell
            assert (await knock(secret), await knock(fresh.secret)) == (403, 403)

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
