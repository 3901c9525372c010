"""A time for each phase of a call: waiting for a connection, connecting, TLS, sending, waiting for the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from connectors.settings import TimeoutSettings, dump, form, validate
from connectors.transports.base import Request
from connectors.transports.http_wire import HttpWire
from connectors.transports.tls import tls_context
from hub.kernel.ports import MaybeSent, NotSent, Reply
from tests.contract.connectors import ready_server, wire_server

LARGE = b"x" * (32 << 20)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def said(serve: Serve, use: Callable[[HttpWire, int], Awaitable[Any]], **times: float) -> Any:
    """What `use(wire, port)` gives while `serve` takes every connection, on the loop the hub's processes run on."""

    async def go() -> Any:
        tasks: set[asyncio.Task[Any]] = set()

        async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await serve(reader, writer)
            except ConnectionError:
                return
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(taken, "127.0.0.1", 0, limit=1 << 16)
        kept: dict[str, Any] = {"connect_s": 8.0, "read_s": 8.0, **times}
        w = HttpWire(
            policy=wire_server.LOCAL, connections=1, max_reply=1 << 16, idle_s=5.0, tls=tls_context(None), **kept
        )
        try:
            return await use(w, server.sockets[0].getsockname()[1])
        finally:
            await w.close()
            server.close()
            for task in list(tasks):
                task.cancel()

    return ready_server.run(asyncio.wait_for(go(), 20))


async def verdict(w: HttpWire, port: int, body: bytes = b"{}", tls: bool = False) -> tuple[Reply | Exception, float]:
    """The reply or the error, and the seconds it took."""
    url = f"http{'s' if tls else ''}://127.0.0.1:{port}/x"
    started = time.monotonic()
    try:
        got: Reply | Exception = await w.exchange(Request(method="POST", url=url, body=body), 12.0)
    except (NotSent, MaybeSent) as error:
        got = error
    return got, time.monotonic() - started


@pytest.mark.parametrize(
    ("times", "why"), [({"tls_s": 0.4}, "no TLS within 0.4 s"), ({"connect_s": 0.4}, "no connection within 0.4 s")]
)
def test_a_server_that_accepts_and_never_shakes_hands(times: dict[str, float], why: str) -> None:
    """With a time of its own the handshake ends by that; without one it is part of connecting, as it always was."""
    ended = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.read(5))[:1] == b"\x16", "the hub's part of a handshake, and nothing of a request"
        while await reader.read(4096):
            pass
        ended.append(1)

    async def use(w: HttpWire, port: int) -> tuple[Reply | Exception, float]:
        found = await verdict(w, port, tls=True)
        for _ in range(40):
            if not ended:
                await asyncio.sleep(0.05)
        return found

    got, took = said(serve, use, **times)
    assert isinstance(got, NotSent) and why in str(got) and 0.3 < took < 3.0
    assert ended, "the connection was given up, not left standing"


def test_tls_has_its_own_time_and_takes_none_of_connectings() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    got, took = said(serve, lambda w, port: verdict(w, port, tls=True), connect_s=0.2, tls_s=0.9)
    assert isinstance(got, NotSent) and 0.8 < took < 4.0


def test_a_server_that_reads_nothing() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    got, took = said(serve, lambda w, port: verdict(w, port, LARGE), write_s=0.4)
    assert isinstance(got, MaybeSent) and "taking nothing" in str(got) and 0.3 < took < 4.0
    got, took = said(serve, lambda w, port: verdict(w, port, LARGE), read_s=0.4)
    assert isinstance(got, MaybeSent) and "taking nothing" in str(got) and took < 4.0, "none of its own: as answering"
    got, took = said(serve, lambda w, port: verdict(w, port), write_s=8.0, read_s=0.4)
    assert isinstance(got, MaybeSent) and "silent for 0.4 s" in str(got) and took < 4.0, (
        "taken by the system: answering"
    )


def test_patience_while_sending_ends_with_the_last_byte_taken() -> None:
    """A server slow in taking is waited for; once it has all of it, its silence counts by the shorter time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.2)  # longer than it may be silent
        left = len(LARGE)
        while left:
            left -= len(await reader.read(1 << 20))
        await asyncio.sleep(30)

    got, took = said(serve, lambda w, port: verdict(w, port, LARGE), write_s=8.0, read_s=0.5)
    assert isinstance(got, MaybeSent) and str(got).endswith("silent for 0.5 s") and 1.5 < took < 6.0


@pytest.mark.parametrize("own", [True, False])
def test_waiting_for_a_free_connection(own: bool) -> None:
    """The one connection is busy for 0.8 s. Waiting has its own time, or is part of connecting."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            await asyncio.sleep(0.8)
            writer.write(ready_server.OK)

    async def use(w: HttpWire, port: int) -> tuple[Any, Any]:
        first = asyncio.create_task(verdict(w, port))
        await asyncio.sleep(0.1)
        return await verdict(w, port), await first

    short = {"pool_s": 0.3} if own else {"connect_s": 0.3}
    (got, took), (first, _) = said(serve, use, **short)
    assert isinstance(first, Reply) and isinstance(got, NotSent)
    assert "no connection was free within 0.3 s" in str(got) and took < 0.7
    if own:
        (got, _), _ = said(serve, use, pool_s=8.0, connect_s=0.3)
        assert isinstance(got, Reply), "what was spent waiting is not taken from connecting"


def test_settings_of_before_mean_what_they_meant() -> None:
    rest = {"kind": "rest", "base_url": "http://mau.example.vn"}
    given = {"name": "a", "system": "b", "transport": rest, "policy": {"timeouts": {"connect_s": 5.0, "read_s": 30.0}}}
    old = validate(given).policy.timeouts
    assert (old.whole_s, old.pool_s, old.tls_s, old.write_s) == (35.0, None, None, None)
    assert validate(dump(validate(given))) == validate(given)
    assert TimeoutSettings(pool_s=1.0, connect_s=2.0, tls_s=3.0, write_s=4.0, read_s=5.0).whole_s == 15.0
    shown = form("rest", "none")["properties"]["policy"]["properties"]["timeouts"]["properties"]
    assert list(shown) == ["pool_s", "connect_s", "tls_s", "write_s", "read_s"]
