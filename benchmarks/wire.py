"""The fastest asynchronous HTTP client we know how to write: bare sockets, a ready head, the parser of httptools.

One concern: sending ready bytes over kept connections and timing the answers. It is the load generator and the limit
the hub's sending is compared with; it keeps no state, tries nothing twice and looks at nothing but the status.
As a process: `python -m benchmarks.wire '<job>'`, one JSON line out.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httptools
import httpx
import uvloop

from benchmarks.rig import percentile
from connectors.address import AddressPolicy
from connectors.transports.base import Request
from connectors.transports.http_wire import HttpWire


class Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(self._parser.get_status_code())
        self._parser = httptools.HttpResponseParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(exc or ConnectionError("closed"))

    async def send(self, request: bytes) -> int:
        """Send bytes and give the status."""
        assert self.transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answer


def requests(job: dict[str, Any]) -> Iterator[bytes]:
    """Ready requests from the job: `url`, `headers`, and bodies from a file, one a line (or one file for one body)."""
    url = urlsplit(job["url"])
    path = url.path or "/"
    head = f"POST {path} HTTP/1.1\r\nHost: {url.netloc}\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in job.get("headers", {}).items())
    bodies = Path(job["bodies"]).read_bytes().split(b"\n")
    for body in bodies:
        if body:
            body = body.replace(b"\x1f", b"\n")
            yield head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def _lines(job: dict[str, Any], count: int) -> list[Line]:
    url = urlsplit(job["url"])
    loop = asyncio.get_running_loop()
    made = await asyncio.gather(*(loop.create_connection(Line, url.hostname, url.port) for _ in range(count)))
    return [protocol for _, protocol in made]


async def closed_loop(job: dict[str, Any]) -> dict[str, Any]:
    """As fast as the answers come: each of `connections` sends its next request at once, `count` in all or `seconds` long."""
    ready = list(requests(job))
    source = iter(ready) if job.get("count") else cycle(ready)
    lines = await _lines(job, job["connections"])
    statuses: dict[int, int] = {}
    took: list[float] = []
    before_s = _used()
    started = time.perf_counter()
    ends = started + job.get("seconds", 1e9)

    async def one(line: Line) -> None:
        for request in source:
            before = time.perf_counter()
            if before >= ends:
                return
            status = await line.send(request)
            took.append(time.perf_counter() - before)
            statuses[status] = statuses.get(status, 0) + 1

    await asyncio.gather(*(one(line) for line in lines))
    return _told(statuses, took, time.perf_counter() - started, before_s)


async def open_loop(job: dict[str, Any]) -> dict[str, Any]:
    """At `rate` per second whatever the answers do; times count from when a request should have left."""
    source = cycle(list(requests(job)))
    free: asyncio.Queue[Line] = asyncio.Queue()
    for line in await _lines(job, job["connections"]):
        free.put_nowait(line)
    statuses: dict[int, int] = {}
    took: list[float] = []
    before_s = _used()
    started = time.perf_counter()
    total = int(job["rate"] * job["seconds"])

    async def one(due: float, request: bytes) -> None:
        line = await free.get()
        status = await line.send(request)
        took.append(time.perf_counter() - due)
        statuses[status] = statuses.get(status, 0) + 1
        free.put_nowait(line)

    tasks = []
    for n in range(total):
        due = started + n / job["rate"]
        while (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(one(due, next(source))))
    await asyncio.gather(*tasks)
    return _told(statuses, took, time.perf_counter() - started, before_s)


async def _with(job: dict[str, Any], send: Callable[[bytes], Awaitable[int]]) -> dict[str, Any]:
    """The closed loop again, with somebody else's client."""
    ready = [request.partition(b"\r\n\r\n")[2] for request in requests(job)]
    source = iter(ready[: job.get("most")])
    statuses: dict[int, int] = {}
    took: list[float] = []
    before_s = _used()
    started = time.perf_counter()

    async def one() -> None:
        for body in source:
            before = time.perf_counter()
            status = await send(body)
            statuses[status] = statuses.get(status, 0) + 1
            took.append(time.perf_counter() - before)

    await asyncio.gather(*(one() for _ in range(job["connections"])))
    return _told(statuses, took, time.perf_counter() - started, before_s)


async def library(job: dict[str, Any]) -> dict[str, Any]:
    """With the fastest client library found: aiohttp."""
    url, headers = job["url"], job.get("headers", {})
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=job["connections"]), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def send(body: bytes) -> int:
            async with session.post(url, data=body, headers=headers) as reply:
                await reply.read()
                return reply.status

        return await _with(job, send)


async def other_library(job: dict[str, Any]) -> dict[str, Any]:
    """With the other one at hand, httpx: to show which is the faster."""
    url, headers = job["url"], job.get("headers", {})
    limits = httpx.Limits(max_connections=job["connections"], max_keepalive_connections=job["connections"])
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:

        async def send(body: bytes) -> int:
            return (await client.post(url, content=body, headers=headers)).status_code

        return await _with(job, send)


async def own(job: dict[str, Any]) -> dict[str, Any]:
    """With the hub's own client, as its transports use it: every address checked, every wait timed, every reply read."""
    wire = HttpWire(
        policy=AddressPolicy(["127.0.0.0/8"]), connections=job["connections"], connect_s=5, read_s=30, max_reply=8 << 20, idle_s=10, tls=None,
    )  # fmt: skip

    async def send(body: bytes) -> int:
        asked = Request(method="POST", url=job["url"], body=body, headers=job.get("headers", {}))
        return (await wire.exchange(asked, 30)).status

    told = await _with(job, send)
    await wire.close()
    return told


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _told(statuses: dict[int, int], took: list[float], wall: float, before_s: float) -> dict[str, Any]:
    done = len(took)
    return {
        "done": done, "wall_s": wall, "per_s": done / wall, "statuses": statuses, "p50_ms": percentile(took, 0.5) * 1000,
        "p99_ms": percentile(took, 0.99) * 1000, "cpu": round((_used() - before_s) / wall, 2),
    }  # fmt: skip


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    kinds = {"closed": closed_loop, "open": open_loop, "library": library, "other": other_library, "own": own}
    work = kinds[given["kind"]]
    print(json.dumps(uvloop.run(work(given))), flush=True)
