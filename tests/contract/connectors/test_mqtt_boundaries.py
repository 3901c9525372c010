"""A publication outward, and a broker that closes, resets or falls silent: what was certainly not taken, what may have been."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.settings import validate
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply

CALL = Call(operation="o", deliveries=(1,), body=b"{}", content_type="application/json", idempotent=False, path="t/ra")
CONNACKS = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}
WAYS = ("close", "reset", "stall")
BEFORE = [f"{place}_{way}" for place in ("accept", "connect") for way in WAYS]
"""Before the broker lets the session in."""
UNACKNOWLEDGED = [f"publish_{way}" for way in WAYS]
"""After the publication was read, before its PUBACK."""
ACKNOWLEDGED = [f"puback_{way}" for way in WAYS]


class Broker:
    """Speaks as much MQTT as it takes to break off, 5 or 3.1.1 alone; `published` is the truth about delivery."""

    def __init__(self, boundary: str, level: int) -> None:
        self.place, _, self.way = boundary.partition("_")
        self.level = level
        self.published = 0
        self._open: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        try:
            if self.place == "accept":
                return await self._end(writer)
            _, hello = await self._packet(reader)
            if self.place == "connect":
                return await self._end(writer)
            if hello[6] > self.level:
                writer.write(b"\x20\x02\x00\x01")
                return writer.close()
            writer.write(CONNACKS[self.level])
            while True:
                first, body = await self._packet(reader)
                if first >> 4 == 8:
                    writer.write(b"\x90\x03" + body[:2] + b"\x01")
                if first >> 4 != 3:
                    continue
                self.published += 1
                if self.place == "publish":
                    return await self._end(writer)
                topic = int.from_bytes(body[:2], "big")
                writer.write(b"\x40\x02" + body[2 + topic : 4 + topic])
                await writer.drain()
                await asyncio.sleep(0.05)  # the acknowledgement is on its way before the end
                return await self._end(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return None

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        first, length = await reader.readexactly(2)
        return first, await reader.readexactly(length)

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        if self.way == "stall":
            await asyncio.sleep(30)
        if self.way == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()


@pytest.fixture(params=[5, 4])
def level(request: pytest.FixtureRequest) -> int:
    """The protocol level the broker speaks."""
    return int(request.param)


def _spoken(boundary: str, level: int) -> tuple[Reply | Exception, int]:
    async def go() -> tuple[Reply | Exception, int]:
        broker = Broker(boundary, level)
        tasks: set[asyncio.Task[Any]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())  # type: ignore[arg-type]
            await broker.serve(reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        transport = {
            "kind": "mqtt", "host": "127.0.0.1", "port": server.sockets[0].getsockname()[1], "client_id": "ra-1",
        }  # fmt: skip
        given = {"name": "ra", "system": "kho", "transport": transport, "policy": {"timeouts": {"connect_s": 0.5}}}
        c = build(validate(given), {}, AddressPolicy(["127.0.0.0/8"]))
        found: Reply | Exception
        try:
            found = await c.send(CALL, 1.5)
        except (NotSent, MaybeSent) as error:
            found = error
        await c.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found, broker.published

    return asyncio.run(go())


@pytest.mark.parametrize("boundary", BEFORE)
def test_without_a_session_nothing_was_published(boundary: str, level: int) -> None:
    found, published = _spoken(boundary, level)
    assert isinstance(found, NotSent) and published == 0


@pytest.mark.parametrize("boundary", UNACKNOWLEDGED)
def test_without_its_acknowledgement_a_publication_is_in_doubt(boundary: str, level: int) -> None:
    found, published = _spoken(boundary, level)
    assert isinstance(found, MaybeSent) and published >= 1


@pytest.mark.parametrize("boundary", ACKNOWLEDGED)
def test_what_was_acknowledged_was_taken_whatever_comes_after(boundary: str, level: int) -> None:
    found, published = _spoken(boundary, level)
    assert isinstance(found, Reply) and found.status == 200 and published == 1
