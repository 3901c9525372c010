"""A conversation broken in every way at every place of it: what the transport says is held against the server's book."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
import uvloop

from hub.kernel.ports import MaybeSent, NotSent, Reply
from tests.contract.connectors import wire_server


def run(work: Any) -> Any:
    """On the loop the hub's processes run on; the other tests of these transports use the plain one."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


connector, call = wire_server.connector, wire_server.call

PLACES: dict[str, bytes | None] = {
    "connect": None,
    "first_byte": None,
    "request": b"",
    "status_first_byte": b"H",
    "status_half": b"HTTP/1.1 20",
    "status": b"HTTP/1.1 200 OK\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n",
    "header_half": b"HTTP/1.1 200 OK\r\nContent-Le",
    "headers_half": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n",
    "headers_all_but_one": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r",
    "headers": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    "body_first_byte": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "body_half": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50,
    "body_all_but_one": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 99,
    "chunked_headers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunk_size_half": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1",
    "chunk_half": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "between_chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    "before_last_line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
}
"""How far the server goes: what it has said when it breaks off; None where it has not read the request."""


class Server:
    """Goes to one place and breaks off there, on every connection; counts what it read."""

    def __init__(self, place: str, how: str) -> None:
        self.place, self.how = place, how
        self.bytes = self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.place == "first_byte":
                self.bytes += len(await reader.read(1))
            elif self.place != "connect":
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                self.bytes += len(head) + len(await reader.readexactly(length))
                self.requests += 1
                writer.write(PLACES[self.place] or b"")
                await writer.drain()
            if self.how == "stall":
                await asyncio.sleep(30)
            elif self.how == "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


async def talk(place: str, how: str, **transport: Any) -> tuple[Exception | Reply, Server]:
    server = Server(place, how)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    c = connector("rest", listening.sockets[0].getsockname()[1], **transport)
    try:
        return await c.send(call(), 3.0), server
    except (NotSent, MaybeSent) as error:
        return error, server
    finally:
        await c.close()
        listening.close()


@pytest.mark.parametrize("how", ["close", "reset", "stall"])
@pytest.mark.parametrize("place", PLACES)
def test_whatever_breaks_is_told_truly_and_said_once(place: str, how: str) -> None:
    verdict, server = run(asyncio.wait_for(talk(place, how), 10))
    assert not isinstance(verdict, Reply)
    assert server.requests <= 1
    if server.bytes or place != "connect":
        assert isinstance(verdict, MaybeSent), f"the server holds {server.bytes} bytes"


def test_a_reply_that_ends_with_the_connection_is_whole_only_when_it_ends_well() -> None:
    async def go(how: str) -> Exception | Reply:
        PLACES["until_close"] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it"
        try:
            return (await talk("until_close", how))[0]
        finally:
            del PLACES["until_close"]

    whole = run(go("close"))
    assert isinstance(whole, Reply) and whole.body == b"all of it"
    for how in ("reset", "stall"):
        assert isinstance(run(go(how)), MaybeSent)
