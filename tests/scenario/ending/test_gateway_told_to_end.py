"""A gateway told to end in the middle of a slow upload, and while PostgreSQL stands still: it ends, and says yes to nothing it may lose."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson

from hub.api.auth import secret_digest
from hub.embedded.process import free_port
from hub.kernel.access import Scope
from hub.kernel.ledger import parties
from tests.scenario.dispatch.conftest import SCHOOL, learner
from tests.scenario.ending.children import Child, Processes, until

_KEY = "khoa-cua-truong"
_BULK = {"Content-Type": "application/x-ndjson", "X-API-Key": _KEY, "Idempotency-Key": "lo-1"}
_ONE = {"Content-Type": "application/json", "X-API-Key": _KEY, "Idempotency-Key": "mot-1"}
_STORED = "SELECT count(*) FROM records WHERE type = 'learner'"
_ONCE = "SELECT count(DISTINCT key) FROM deliveries"


class Door:
    """The gateway at one port, whichever process it is just now."""

    def __init__(self, led: Any, processes: Processes) -> None:
        self.led = led
        self._processes = processes
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1/messages/learner"
        self.http: aiohttp.ClientSession

    async def open(self) -> Child:
        child = self._processes.start("gateway", HTTP__PORT=self.port, INTAKE__CHUNK=100)
        await until(self._healthy, "the gateway is up")
        return child

    async def _healthy(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self.http.get(f"http://127.0.0.1:{self.port}/healthz") as reply:
                return reply.status == 200
        return False

    async def push(self, body: bytes, headers: dict[str, str]) -> int | None:
        """The status; None when there was no answer."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.http.post(self.url, data=body, headers=headers) as reply:
                return reply.status
        return None

    async def counts(self) -> tuple[int, int, int]:
        """Records, deliveries, and keys that have one."""
        value = self.led.value
        return await value(_STORED), await value("SELECT count(*) FROM deliveries"), await value(_ONCE)


@contextlib.asynccontextmanager
async def door(ledger: Any, processes: Processes) -> AsyncIterator[Door]:
    async with ledger() as led, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        await led.connector("ministry", "ministry")
        await led.school(SCHOOL)
        digest = secret_digest(led.keys, _KEY)
        await parties.add_client(led.core, "test", "truong", "truong", digest, digest, Scope("department"), ["push"])
        made = Door(led, processes)
        made.http = http
        yield made


def test_a_slow_upload_and_a_commit_that_hangs_are_cut_off_and_stored_once_in_the_end(
    ledger: Any, processes: Processes
) -> None:
    """The upload goes on and on, and PostgreSQL stands still before the other push is committed."""
    lines = [orjson.dumps(learner(f"31{n:08d}")) + b"\n" for n in range(250)]
    before, hanging = (orjson.dumps(learner(f"32{n:08d}")) for n in range(2))

    async def go() -> None:
        async with door(ledger, processes) as d:
            child = await d.open()
            assert await d.push(before, _ONE | {"Idempotency-Key": "truoc"}) == 202
            reader, writer = await asyncio.open_connection("127.0.0.1", d.port)
            told = "".join(f"{name}: {value}\r\n" for name, value in _BULK.items())
            size = sum(map(len, lines))
            head = f"POST /v1/messages/learner HTTP/1.1\r\nHost: hub\r\n{told}Content-Length: {size}\r\n\r\n"
            writer.write(head.encode() + b"".join(lines[:150]))

            async def drip() -> None:
                for line in lines[150:-1]:
                    await asyncio.sleep(0.5)
                    writer.write(line)

            dripping = asyncio.create_task(drip())
            await until(lambda: d.led.value("SELECT count(*) = 101 FROM records"), "the first chunk stored")
            with processes.database_frozen():
                waiting = asyncio.create_task(d.push(hanging, _ONE))
                await asyncio.sleep(1.0)
                assert not waiting.done()
                await child.told_to_end()
                status = await waiting
                assert status is None or status >= 500, "nobody says yes to what is not committed"
            dripping.cancel()
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert b" 20" not in answer[:20], answer
            stored = await d.counts()
            # Whether PostgreSQL carried the commit out when it went on is nobody's concern: the key tells.
            assert stored in ((101, 101, 101), (102, 102, 102)), "whole chunks are stored, and nothing of the rest"
            await d.open()
            for _ in range(2):
                assert await d.push(b"".join(lines), _BULK) == 202
                assert await d.push(hanging, _ONE) == 202
                assert await d.counts() == (252, 252, 252), "each once"

    asyncio.run(go())
