"""The doors on a real gateway: slow bodies by the dozen, and HANET's webhook called from elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import httpx
import pytest

from hub.api.gate_callers import REFUSED

PART = 65_536


def line(number: int) -> bytes:
    now = datetime.now(UTC) + timedelta(hours=7)
    return f"HS{number:05d}\t{now:%Y-%m-%d %H:%M:%S}\t0\t1\n".encode()


class Trickle:
    """A chunked body that is begun and never ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.head = asyncio.create_task(self._head(reader))

    @classmethod
    async def begin(cls, url: str, path: str) -> Trickle:
        address = httpx.URL(url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        return cls(reader, writer)

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return b""

    async def more(self, size: int = PART) -> None:
        self.writer.write(f"{size:x}\r\n".encode() + bytes(size) + b"\r\n")
        await self.writer.drain()

    def put_off(self) -> bool:
        if not self.head.done():
            return False
        assert b" 503 " in self.head.result() and b"retry-after: 5" in self.head.result().lower()
        return True


async def until(what: Any) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.01)


def test_slow_bodies_stay_within_the_bound_and_others_are_served(gateway: Any) -> None:
    async def go() -> None:
        async with (
            gateway.ledger() as led,
            asyncio.timeout(60),
            httpx.AsyncClient(base_url=gateway.url, timeout=20) as client,
        ):
            names = [f"H{n}" for n in range(6)]
            for name in names:
                await gateway.register(led.core, name, "hikvision", f"{name}-secret", "standard")
            await gateway.register(led.core, "Z1", "zkteco", "z-calm", "standard")
            numbers = iter(range(1000))

            async def calm() -> int:
                path = "/gates/z-calm/iclock/cdata?SN=Z1&table=ATTLOG&Stamp=1"
                return (await client.post(path, content=line(next(numbers)))).status_code

            assert await calm() == 200
            bodies = gateway.app.state.door.bodies
            bodies.most, bodies.share = 24 * PART, 8 * PART

            # One secret: so many on their way, and no more than its share.
            one = [await Trickle.begin(gateway.url, "/gates/H0-secret/hikvision") for _ in range(12)]
            await until(lambda: sum(t.put_off() for t in one) == 4)
            assert dict(bodies.on_their_way) == {"H0": 8} and bodies.held == 0
            going = [t for t in one if not t.put_off()]
            for trickle in going:
                await trickle.more()
            await until(lambda: bodies.of["H0"] == bodies.share == bodies.held)
            await going[0].more()
            await until(going[0].put_off)
            assert bodies.of["H0"] == 7 * PART, "what was put off is given back"
            began = time.monotonic()
            assert [await calm() for _ in range(5)] == [200] * 5 and time.monotonic() - began < 5

            # Many secrets: no more than all may hold together.
            highest = 0
            many = [
                await Trickle.begin(gateway.url, f"/gates/{n}-secret/hikvision") for n in names[1:] for _ in range(2)
            ]
            for _ in range(4):
                for trickle in many:
                    if not trickle.head.done():
                        await trickle.more()
                await asyncio.sleep(0.05)
                assert bodies.held <= bodies.most
                highest = max(highest, bodies.held)
            await until(lambda: any(t.put_off() for t in many))
            assert highest > bodies.most // 2
            await until(lambda: bodies.held == sum(bodies.of.values()))
            bodies.held += bodies.most - bodies.held - 1  # not a byte more
            full = await client.post(
                "/gates/z-calm/iclock/cdata?SN=Z1&table=ATTLOG&Stamp=1", content=line(next(numbers))
            )
            assert full.status_code == 503 and full.headers["retry-after"] == "5" and "gửi lại" in full.text
            bodies.held = sum(bodies.of.values())

            for trickle in one + many:
                trickle.writer.close()
            await until(lambda: (bodies.held, dict(bodies.of), dict(bodies.on_their_way)) == (0, {}, {}))
            assert await calm() == 200
            await asyncio.gather(*(t.head for t in one + many))
            assert await led.value("SELECT count(*) FROM records WHERE type = 'checkin' AND version = 1") == 7

    asyncio.run(go())


@pytest.mark.parametrize(
    "gateway", [{"gates": {"hanet_networks": ["127.0.0.3/32", "203.0.113.0/24"]}}], indirect=True, ids=["listed"]
)
def test_hanets_webhook_is_called_from_its_cloud_alone(gateway: Any) -> None:
    async def go() -> None:
        async with gateway.ledger() as led, asyncio.timeout(30):
            await gateway.register(led.core, "C1", "hanet", "cam-1", "camera", signing="signing")
            await gateway.register(led.core, "Z1", "zkteco", "z-1", "standard")

            async def call(
                identity: str, secret: str = "cam-1", host: str = "127.0.0.1", **headers: str
            ) -> tuple[int, str]:
                mark = hashlib.md5(b"signing" + identity.encode()).hexdigest()
                told = {
                    "data_type": "log", "personType": "0", "aliasID": "HS1", "deviceID": "C1", "id": identity, "hash": mark,
                    "time": round(time.time() * 1000),
                }  # fmt: skip
                there = aiohttp.TCPConnector(local_addr=(host, 0))
                async with (
                    aiohttp.ClientSession(connector=there) as session,
                    session.post(
                        f"{gateway.url}/gates/{secret}/hanet", data=json.dumps(told), headers=headers
                    ) as reply,
                ):
                    return reply.status, await reply.text()

            def counted(secret: str) -> float:
                return REFUSED.labels("hanet", secret)._value.get()

            before = counted("right"), counted("wrong")
            elsewhere = await call("e1")
            assert elsewhere[0] == 403 and "danh sách" in elsewhere[1] and "list" in elsewhere[1]
            assert await call("e2", secret="guessed") == elsewhere, "nothing is told of the secret"
            # A stranger's word on whom it speaks for is nothing; that of the proxy on this machine, its last one, is.
            assert await call("e3", host="127.0.0.2", **{"X-Forwarded-For": "203.0.113.9"}) == elsewhere
            assert await call("e4", **{"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}) == elsewhere
            assert (await call("c1", host="127.0.0.3"))[0] == 200
            assert (await call("c2", **{"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}))[0] == 200
            assert (await call("c3", secret="guessed", host="127.0.0.3")) == (403, "")
            assert (counted("right"), counted("wrong")) == (before[0] + 3, before[1] + 1)
            assert "secret of gate C1" in gateway.log.text and "cam-1" not in gateway.log.text
            async with httpx.AsyncClient(base_url=gateway.url) as client:
                path = "/gates/z-1/iclock/cdata?SN=Z1&table=ATTLOG&Stamp=1"
                assert (await client.post(path, content=line(1))).status_code == 200, "other families have no list"
            assert await led.value("SELECT count(*) FROM records WHERE type = 'checkin' AND version = 1") == 3

    asyncio.run(go())
