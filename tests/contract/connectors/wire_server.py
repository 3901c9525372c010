"""A raw TCP server that ends a conversation at a chosen boundary and keeps its own book of what it received; and what
tests of transports share beside it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from connectors.address import AddressPolicy
from connectors.connector import LiveConnector, build
from connectors.settings import validate
from hub.kernel.ports import Call

LOCAL = AddressPolicy(["127.0.0.0/8", "::1/128"])

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

BOUNDARIES = (
    "refused",
    "accept_close",
    "accept_reset",
    "accept_stall",
    "headers_close",
    "body_middle_close",
    "body_middle_reset",
    "request_close",
    "request_reset",
    "request_stall",
    "status_middle",
    "headers_middle",
    "headers_stall",
    "body_reply_middle",
    "chunked_middle",
    "body_reply_stall",
    "garbage",
    "bad_gzip",
)


class Book:
    """What the server saw: the truth a transport's verdict is held against."""

    def __init__(self) -> None:
        self.connections = 0
        self.bytes = 0
        self.requests = 0


async def _read_request(reader: asyncio.StreamReader, book: Book) -> bool:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        book.bytes += len(getattr(error, "partial", b""))
        return False
    book.bytes += len(head)
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    try:
        book.bytes += len(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        book.bytes += len(getattr(error, "partial", b""))
        return False
    book.requests += 1
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _play(boundary: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, book: Book) -> None:
    if boundary == "accept_close":
        return
    if boundary == "accept_reset":
        return _reset(writer)
    if boundary == "headers_close":
        book.bytes += len(await reader.readuntil(b"\r\n\r\n"))
        return None
    if boundary.startswith("body_middle"):
        book.bytes += len(await reader.readuntil(b"\r\n\r\n"))
        book.bytes += len(await reader.read(1000))
        return _reset(writer) if boundary.endswith("reset") else None
    if not await _read_request(reader, book):
        return None
    if boundary == "request_close":
        return None
    if boundary == "request_reset":
        return _reset(writer)
    parts = {
        "request_stall": b"",
        "status_middle": b"HTTP/1.1 20",
        "headers_middle": b"HTTP/1.1 200 OK\r\nContent-Ty",
        "headers_stall": b"HTTP/1.1 200 OK\r\nContent-Ty",
        "body_reply_middle": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        "chunked_middle": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "body_reply_stall": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        "garbage": b"\x00\x01\x02 what is this\r\n\r\n",
        "bad_gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nnogzip",
    }
    writer.write(parts[boundary])
    await writer.drain()
    if boundary.endswith("stall"):
        await asyncio.sleep(30)
    return None


@asynccontextmanager
async def wire(boundary: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, Book]]:
    """Port and book of a server that behaves so on every connection (inside TLS, with a context)."""
    book = Book()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        book.connections += 1
        try:
            if boundary == "accept_stall":
                await asyncio.sleep(30)
            await _play(boundary, reader, writer, book)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    if boundary == "refused":
        server.close()
        await server.wait_closed()
    try:
        yield port, book
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def connector(kind: str, port: int, policy: AddressPolicy = LOCAL, **transport: Any) -> LiveConnector:
    return build(
        validate(
            {
                "name": "thu",
                "system": "ministry",
                "transport": {"kind": kind, "base_url": f"http://127.0.0.1:{port}/goc", **transport},
                "policy": {
                    "timeouts": {"connect_s": 0.5, "read_s": 0.5},
                    "quick_tries": {"attempts": 3, "wait_s": 0.01},
                },
            }
        ),
        {},
        policy,
    )


def call(method: str = "POST", body: bytes = b'{"a":1}', path: str = "x", idempotent: bool = False) -> Call:
    return Call(
        operation="op",
        deliveries=(1,),
        body=body,
        content_type="application/json",
        idempotent=idempotent,
        method=method,
        path=path,
    )


def with_app(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], use: Callable[[int], Awaitable[Any]]
) -> Any:
    async def go() -> Any:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            return await use(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    return asyncio.run(go())
