"""The HTTP/1.1 client of the transports: what it understands, what it refuses, when it keeps a connection."""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from connectors.errors import AddressRefused
from connectors.transports.base import Request
from connectors.transports.http_wire import HttpWire
from hub.kernel.ports import MaybeSent, NotSent, Reply
from tests.contract.connectors import ready_server, wire_server

LOCAL = wire_server.LOCAL
OK, Answers, Server, run = ready_server.OK, ready_server.Answers, ready_server.Server, ready_server.run


def made(**more: Any) -> HttpWire:
    kept: dict[str, Any] = {
        "policy": LOCAL, "connections": 4, "connect_s": 1.0, "read_s": 0.5, "max_reply": 1 << 16, "idle_s": 5.0, "tls": None,
    }  # fmt: skip
    return HttpWire(**(kept | more))


def with_server(
    answers: Answers | bytes, use: Callable[[HttpWire, str, Server], Awaitable[Any]], *, ends: bool = False, **wire: Any
) -> Any:
    async def go() -> Any:
        ready = answers
        server = Server((lambda _n: ready) if isinstance(ready, bytes) else ready, ends=ends)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        w = made(**wire)
        try:
            return await use(w, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/x", server)
        finally:
            await w.close()
            listening.close()

    return run(asyncio.wait_for(go(), 15))


def post(url: str, body: bytes = b"{}", method: str = "POST", **headers: str) -> Request:
    return Request(method=method, url=url, body=body, headers=headers)


def said(answer: bytes | Answers, method: str = "POST", **wire: Any) -> tuple[Reply, int]:
    """The reply to the second of two requests, and over how many connections they went."""

    async def use(w: HttpWire, url: str, server: Server) -> tuple[Reply, int]:
        await w.exchange(post(url, method=method, body=b"" if method == "HEAD" else b"{}"), 2.0)
        reply = await w.exchange(post(url, method=method, body=b"" if method == "HEAD" else b"{}"), 2.0)
        return reply, server.connections

    found: tuple[Reply, int] = with_server(answer, use, **wire)
    return found


@pytest.mark.parametrize(
    ("answer", "status", "body", "connections"),
    [
        (OK, 200, b"{}", 1),
        (b"HTTP/1.1 100 Continue\r\nX: interim\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK, 200, b"{}", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", 1),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", 304, b"", 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n1\r\nc\r\n0\r\nX-Late: 1\r\n\r\n", 200, b"abc", 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", 200, b"{}", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}", 200, b"{}", 1),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n", 301, b"", 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", 1),
    ],
)  # fmt: skip
def test_kinds_of_replies(answer: bytes, status: int, body: bytes, connections: int) -> None:
    reply, used = said(answer)
    assert (reply.status, reply.body, used) == (status, body, connections)
    assert "x" not in reply.headers and "x-late" not in reply.headers and "link" not in reply.headers


def test_a_reply_in_single_bytes_is_the_same_reply() -> None:
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    reply, used = said(lambda _n: [whole[i : i + 1] for i in range(len(whole))])
    assert (reply.body, reply.headers["x-a"], used) == (b"abc", "b", 1)


def test_head_has_no_body_whatever_it_says_and_its_connection_is_not_used_again() -> None:
    reply, used = said(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", method="HEAD")
    assert (reply.status, reply.body, used) == (200, b"", 2)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-server\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 600_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 600_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: " + b"x" * 600_000,
    ],
)
def test_what_is_no_sound_reply_is_in_doubt(answer: bytes) -> None:
    async def use(w: HttpWire, url: str, server: Server) -> None:
        with pytest.raises(MaybeSent):
            await w.exchange(post(url), 3.0)
        assert len(server.heads) == 1

    with_server(answer, use)


def test_bytes_behind_a_reply_spoil_the_connection_not_the_reply() -> None:
    for behind in (OK, b"HTTP/1.1 500 No\r\nContent-Length: 2\r\nX-A: b\r\n\r\nno", b"garbage", b"HTTP/1.1 200"):
        reply, used = said(OK + behind)
        assert (reply.status, reply.body, used) == (200, b"{}", 2) and "x-a" not in reply.headers


def test_a_size_is_refused_by_its_announcement_and_by_its_bytes() -> None:
    announced = b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n"
    grown = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n"
    for answer in (announced, [grown] + [b"1000\r\n" + b"x" * 4096 + b"\r\n"] * 20):

        async def use(w: HttpWire, url: str, server: Server) -> None:
            with pytest.raises(MaybeSent, match="larger than 65536 bytes"):
                await w.exchange(post(url), 3.0)

        with_server(lambda _n, a=answer: a, use)  # type: ignore[misc]


def test_deflate_in_both_its_forms_and_gzip_in_parts() -> None:
    bare = zlib.compressobj(wbits=-15)
    raw = bare.compress(b"one") + bare.flush()
    gz = zlib.compressobj(wbits=31)
    part = gz.compress(b"one") + gz.flush()
    for coding, body, wanted in (
        ("deflate", zlib.compress(b"one"), b"one"), ("deflate", raw, b"one"), ("gzip", part + part, b"oneone"), ("identity", b"one", b"one"),
    ):  # fmt: skip
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        assert said(head + body)[0].body == wanted


def test_headers_on_the_wire_and_those_a_call_may_not_set() -> None:
    async def use(w: HttpWire, url: str, server: Server) -> None:
        await w.exchange(post(url, **{"X-Ten": "Hải Phòng"}), 2.0)
        await w.exchange(post(url, body=b"", method="GET", **{"Accept-Encoding": "gzip"}), 2.0)
        await w.exchange(post(url, body=b""), 2.0)
        first, second, third = server.heads
        assert "X-Ten: Hải Phòng".encode() in first and b"Accept-Encoding: identity" in first
        assert b"Accept-Encoding: gzip" in second and second.count(b"Accept-Encoding") == 1
        assert b"Content-Length" not in second and b"Content-Length: 0" in third
        assert first.count(b"Host: 127.0.0.1:") == 1 and b"Content-Length: 2" in first
        for name in ("Host", "content-length", "Transfer-Encoding", "CONNECTION", "Expect", "Upgrade"):
            with pytest.raises(NotSent, match="not a call's"):
                await w.exchange(post(url, **{name: "1"}), 2.0)
        for bad in (
            post(url, method="GET /x HTTP/1.1\r\n"),
            post(url.replace("/x", "/a b")),
            post("ftp://127.0.0.1/"),
            post("http://"),
        ):
            with pytest.raises(NotSent):
                await w.exchange(bad, 2.0)
        assert len(server.heads) == 3

    with_server(OK, use)


def test_idle_connections_end_by_themselves_and_the_last_used_goes_first() -> None:
    async def use(w: HttpWire, url: str, server: Server) -> int:
        await asyncio.gather(*(w.exchange(post(url), 2.0) for _ in range(3)))
        assert server.connections == 3
        for _ in range(10):
            await w.exchange(post(url), 2.0)
            await asyncio.sleep(0.05)
        (place,) = w._places.values()
        return len(place.lines)

    assert with_server(OK, use, idle_s=0.3) == 1


def test_a_peer_that_reads_nothing_and_one_that_drips() -> None:
    async def go(reads: bool) -> float:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if reads:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
                    while True:
                        writer.write(b"x")
                        await writer.drain()
                        await asyncio.sleep(0.05)
                await asyncio.sleep(30)
            except ConnectionError:
                return
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        w = made(read_s=0.4)
        started = time.monotonic()
        with pytest.raises(MaybeSent, match="deadline" if reads else "silent"):
            await w.exchange(post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"x" * (32 << 20)), 1.5)
        took = time.monotonic() - started
        await w.close()
        server.close()
        return took

    assert 0.3 < run(asyncio.wait_for(go(False), 10)) < 1.4, "it took nothing for 0.4 s"
    assert 1.4 < run(asyncio.wait_for(go(True), 10)) < 2.5, "it said something all the time"


def test_a_slow_upload_is_no_silence() -> None:
    """The peer takes the body slowly for longer than it may be silent: no timeout while it takes something."""

    async def go() -> Reply:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            left = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            while left > 0:
                left -= len(await reader.read(1 << 20))
                await asyncio.sleep(0.02)
            writer.write(OK)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16)
        w = made(read_s=1.2)
        reply = await w.exchange(
            post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"x" * (8 << 20)), 10.0
        )
        await w.close()
        server.close()
        return reply

    assert run(asyncio.wait_for(go(), 12)).status == 200


def test_an_answer_before_the_whole_request_counts_and_ends_the_connection() -> None:
    async def go() -> tuple[int, bool]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(1.0)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        w = made()
        reply = await w.exchange(
            post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"x" * (32 << 20)), 3.0
        )
        (place,) = w._places.values()
        kept = bool(place.lines)
        await w.close()
        server.close()
        return reply.status, kept

    assert run(asyncio.wait_for(go(), 8)) == (413, False)


def test_waiting_for_a_connection_is_in_turn_and_survives_those_who_give_up() -> None:
    async def use(w: HttpWire, url: str, server: Server) -> None:
        calls = [asyncio.create_task(w.exchange(post(url), 5.0)) for _ in range(30)]
        await asyncio.sleep(0.004)
        for one in calls[5:25:2]:
            one.cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(d, Reply) for d in done) == 20, done
        assert server.connections <= 2 + 10, "a cancelled call takes its connection with it, no more"
        assert len(w._places[next(iter(w._places))].lines) <= 2

    with_server(lambda _n: [OK[:20], OK[20:]], use, connections=2)


def test_each_address_is_checked_when_it_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with an inward and an allowed address reaches the allowed one alone; a dead one leaves time for the next."""

    async def use(w: HttpWire, url: str, server: Server) -> None:
        port = int(url.split(":")[2].split("/")[0])
        loop = asyncio.get_running_loop()
        entries = [("10.1.2.3", port), ("127.0.0.2", 1), ("127.0.0.1", port)]

        resolve = loop.getaddrinfo

        async def found(host: Any, *rest: Any, **more: Any) -> list[Any]:
            if not str(host).endswith(".example"):  # the loop itself asks about literal addresses
                return await resolve(host, *rest, **more)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in entries]

        monkeypatch.setattr(loop, "getaddrinfo", found)
        assert (await w.exchange(post(f"http://he-thong.example:{port}/x"), 2.0)).status == 200
        entries[:] = [("10.1.2.3", port), ("169.254.169.254", port)]
        with pytest.raises(AddressRefused):
            await w.exchange(post(f"http://khac.example:{port}/x"), 2.0)

    with_server(OK, use)


def test_two_origins_have_pools_of_their_own() -> None:
    async def use(w: HttpWire, url: str, server: Server) -> int:
        other = await asyncio.start_server(Server(lambda _n: OK).serve, "127.0.0.1", 0)
        await w.exchange(post(url), 2.0)
        await w.exchange(post(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}/log-in"), 2.0)
        other.close()
        return len(w._places)

    assert with_server(OK, use, connections=1) == 2
