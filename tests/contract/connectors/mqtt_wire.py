"""An MQTT broker of the tests' own: they answer its packets byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any


class Wire:
    """One connection to it: packets in, bytes out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.write = writer.write
        self.close = writer.close

    async def packet(self) -> tuple[int, bytes]:
        """Kind and body of the next one; all of this test's are short."""
        head, size = await self._reader.readexactly(2)
        return head >> 4, await self._reader.readexactly(size)

    async def publication(self) -> tuple[bytes, bytes]:
        """Packet identifier and payload of the next PUBLISH at QoS 1."""
        kind, body = await self.packet()
        assert kind == 3
        end = 2 + int.from_bytes(body[:2], "big")
        assert body[end + 2] == 0, "no properties"
        return body[end : end + 2], body[end + 3 :]


@asynccontextmanager
async def answering(serve: Callable[[Wire, int], Awaitable[None]]) -> AsyncIterator[tuple[int, list[int]]]:
    """A broker: `serve` gets each connection and the version its CONNECT is of. Gives the port and those versions."""
    levels: list[int] = []
    tasks: set[asyncio.Task[Any]] = set()

    async def each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        wire = Wire(reader, writer)
        try:
            kind, hello = await wire.packet()
            assert kind == 1
            levels.append(hello[6])
            await serve(wire, hello[6])
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(each, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], levels
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
