"""What every HTTP transport promises about a conversation that breaks, held against the server's own book."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from typing import Any

import pytest
from aiohttp import web

from connectors import settings as settings_module
from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.errors import AddressRefused
from connectors.settings import validate
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply
from tests.contract.connectors import wire_server

CAPABILITIES = settings_module.CAPABILITIES
HTTP = ["rest", "soap"]
"""The plain ones; what is spoken on top of them has its suite in `test_capabilities`."""


connector, call, with_app, LOCAL = wire_server.connector, wire_server.call, wire_server.with_app, wire_server.LOCAL


def test_every_kind_declares_its_capabilities() -> None:
    assert set(CAPABILITIES) == set(settings_module.KINDS)


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
@pytest.mark.parametrize("boundary", wire_server.BOUNDARIES)
@pytest.mark.parametrize("kind", HTTP)
def test_a_broken_conversation_is_told_truly_and_never_repeated(kind: str, boundary: str, method: str) -> None:
    # Larger than the buffers where the request must still be under way when the server goes.
    body = b"x" * (8 << 20) if boundary in ("headers_close", "body_middle_close", "body_middle_reset") else b'{"a":1}'
    if method == "GET":
        body = b""
        if boundary.startswith("body_middle"):
            pytest.skip("a GET has no body to be in the middle of")

    async def go() -> tuple[Exception | Reply, Any]:
        async with wire_server.wire(boundary) as (port, book):
            c = connector(kind, port)
            try:
                return await c.send(call(method, body), 3.0), book
            except (NotSent, MaybeSent) as error:
                return error, book
            finally:
                await c.close()

    verdict, book = asyncio.run(go())
    assert not isinstance(verdict, Reply)
    assert book.requests <= 1
    if book.bytes:
        assert isinstance(verdict, MaybeSent), f"the server holds {book.bytes} bytes"
    if boundary == "refused":
        assert isinstance(verdict, NotSent)
    if boundary not in ("refused", "accept_close", "accept_reset", "accept_stall"):
        assert isinstance(verdict, MaybeSent)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_idle_connection_closed_by_the_peer_is_seen_before_the_first_byte(method: str) -> None:
    """The server closes after each reply without saying so; the next call must neither be doubted nor doubled."""

    async def go() -> int:
        seen = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            await reader.readuntil(b"\r\n\r\n")
            seen += 1
            writer.write(wire_server.OK)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        c = connector("rest", server.sockets[0].getsockname()[1])
        try:
            for _ in range(20):
                assert (await c.send(call(method, b""), 3.0)).status == 200
                await asyncio.sleep(0.005)
        finally:
            await c.close()
            server.close()
        return seen

    assert asyncio.run(go()) == 20


def test_a_connection_that_ended_while_the_loop_was_busy_is_seen_too() -> None:
    """The system knows of the end, the event loop has not looked yet: a POST must still go out once and undoubted."""
    seen: list[bytes] = []

    def serve(server: socket.socket) -> None:
        for _ in range(2):
            peer, _address = server.accept()
            with peer:
                seen.append(peer.recv(65536))
                peer.sendall(wire_server.OK)

    async def go() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=serve, args=(server,), daemon=True)
            thread.start()
            c = connector("rest", server.getsockname()[1])
            assert (await c.send(call(), 3.0)).status == 200
            time.sleep(0.2)  # noqa: ASYNC251 (keeping the loop from looking is the point)
            assert (await c.send(call(), 3.0)).status == 200
            await c.close()
            thread.join(3)

    asyncio.run(go())
    assert len(seen) == 2


def test_a_get_on_a_pooled_connection_that_breaks_is_not_sent_again() -> None:
    """The client library repeats a GET on a dropped kept-alive connection by itself; ours must not."""

    async def go() -> int:
        seen = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            try:
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    seen += 1
                    if seen == 1:
                        writer.write(wire_server.OK)
                        await writer.drain()
                    else:
                        return
            except asyncio.IncompleteReadError:
                return
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        c = connector("rest", server.sockets[0].getsockname()[1])
        try:
            await c.send(call("GET", b""), 3.0)
            with pytest.raises(MaybeSent):
                await c.send(call("GET", b""), 3.0)
        finally:
            await c.close()
            server.close()
        return seen

    assert asyncio.run(go()) == 2


def test_a_full_pool_is_not_sent() -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(1.0)
        return web.json_response({})

    async def use(port: int) -> None:
        c = build(
            validate(
                {
                    "name": "thu",
                    "system": "ministry",
                    "transport": {"kind": "rest", "base_url": f"http://127.0.0.1:{port}"},
                    "policy": {"concurrency": 1, "timeouts": {"connect_s": 0.2, "read_s": 3}},
                }
            ),
            {},
            LOCAL,
        )
        first = asyncio.create_task(c.send(call(), 5.0))
        await asyncio.sleep(0.1)
        with pytest.raises(NotSent):
            await c.send(call(), 5.0)
        assert (await first).status == 200
        await c.close()

    with_app(slow, use)


def test_tls_to_a_plain_server_is_not_sent() -> None:
    async def go() -> None:
        async with wire_server.wire("request_close") as (port, book):
            c = connector("rest", port, base_url=f"https://127.0.0.1:{port}/")
            with pytest.raises(NotSent):
                await c.send(call(), 2.0)
            await c.close()
            assert book.requests == 0

    asyncio.run(go())


@pytest.mark.parametrize("kind", HTTP)
def test_any_status_is_a_reply_and_redirects_are_not_followed(kind: str) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=int(request.path.rsplit("/", 1)[1]), headers={"Location": "/other"}, body=b"b")

    async def use(port: int) -> None:
        c = connector(kind, port)
        for status in (201, 301, 307, 400, 401, 429, 500, 502, 503):
            assert (await c.send(call(path=str(status)), 3.0)).status == status
        await c.close()

    with_app(answer, use)
    assert "/other" not in asked and len(asked) == 9


@pytest.mark.parametrize("kind", HTTP)
def test_replies_are_capped_after_decompression(kind: str) -> None:
    bomb = gzip.compress(b"0" * (32 << 20))
    small = gzip.compress(b'{"nho":1}')

    async def answer(request: web.Request) -> web.Response:
        body = bomb if request.path.endswith("bomb") else small
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async def use(port: int) -> None:
        c = connector(kind, port, max_reply_bytes=1 << 20)
        assert (await c.send(call(path="small"), 3.0)).body == b'{"nho":1}'
        with pytest.raises(MaybeSent, match="larger"):
            await c.send(call(path="bomb"), 3.0)
        await c.close()

    with_app(answer, use)


@pytest.mark.parametrize("kind", HTTP)
def test_the_policy_guards_literal_and_resolved_addresses(kind: str) -> None:
    async def go() -> None:
        async with wire_server.wire("request_close") as (port, book):
            for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
                c = connector(kind, port, AddressPolicy(), base_url=f"http://{host}:{port}")
                with pytest.raises(AddressRefused):
                    await c.send(call(), 2.0)
                assert not (await c.probe(2.0)).ok
                await c.close()
            assert book.connections == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x",
        "http://evil.example/",
        "../up",
        "a/../../b",
        "%2e%2e/b",
        "a\\b",
        "a b",
        "a\nb",
        "a#b",
        "x//y",
    ],
)
def test_a_path_cannot_leave_the_base_address(path: str) -> None:
    c = connector("rest", 9)
    with pytest.raises(NotSent):
        asyncio.run(c.send(call(path=path), 1.0))


def test_headers_that_cannot_be_sent_are_refused_before_the_first_byte() -> None:
    async def go() -> None:
        async with wire_server.wire("request_close") as (port, book):
            c = connector("rest", port)
            for headers in ({"X-A": "a\r\nX-B: b"}, {"X A": "a"}, {"": "a"}):
                bad = Call(
                    operation="o", deliveries=(), body=b"{}", content_type="a/b", idempotent=False, headers=headers
                )
                with pytest.raises(NotSent):
                    await c.send(bad, 1.0)
            await c.close()
            assert book.connections == 0

    asyncio.run(go())


def test_what_goes_on_the_wire() -> None:
    seen: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append({"path": request.path_qs, "headers": dict(request.headers), "body": await request.read()})
        response = web.Response(body=b"ok", headers={"X-One": "1"})
        response.headers.add("X-Two", "a")
        response.headers.add("X-Two", "b")
        response.set_cookie("s", "1")
        return response

    async def use(port: int) -> None:
        c = connector("rest", port, query={"dstcode": "VN:GOV:1:a"}, headers={"X-Fix": "f", "X-Over": "f"})
        large = b"y" * (3 << 20)
        asked = call(path="/hồ-sơ/1?q=2", body=large)
        asked.headers["X-Over"] = "call"
        reply = await c.send(asked, 5.0)
        await c.send(call(path=""), 5.0)
        assert reply.headers["x-two"] == "a, b" and reply.headers["x-one"] == "1" and reply.elapsed_ms > 0
        await c.close()
        s11 = connector("soap", port, soap_action="mac-dinh")
        await s11.send(call(body=b"<a/>"), 5.0)
        quoted = call(body=b"<a/>")
        quoted.headers["SOAPAction"] = '""'
        await s11.send(quoted, 5.0)
        await s11.close()
        s12 = connector("soap", port, version="1.2", soap_action="urn:a")
        await s12.send(call(body=b"<a/>"), 5.0)
        await s12.close()

    with_app(answer, use)
    first, second, third, fourth, fifth = seen
    assert first["path"] == "/goc/h%E1%BB%93-s%C6%A1/1?q=2&dstcode=VN:GOV:1:a"
    assert first["headers"]["X-Over"] == "call" and first["headers"]["X-Fix"] == "f"
    assert len(first["body"]) == 3 << 20 and first["headers"]["Content-Type"] == "application/json"
    assert second["path"].startswith("/goc?") and "Cookie" not in second["headers"]
    assert third["headers"]["SOAPAction"] == '"mac-dinh"'
    assert third["headers"]["Content-Type"] == "text/xml; charset=utf-8"
    assert fourth["headers"]["SOAPAction"] == '""'
    assert fifth["headers"]["Content-Type"] == 'application/soap+xml; charset=utf-8; action="urn:a"'
    assert "SOAPAction" not in fifth["headers"]
