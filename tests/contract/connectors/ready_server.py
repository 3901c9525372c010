"""A server that answers with ready bytes, and the loop the hub's processes run on: what tests of the HTTP client share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvloop

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Answers = Callable[[int], list[bytes] | bytes]


def run(work: Any) -> Any:
    """On the loop the hub's processes run on; the other tests of these transports use the plain one."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


class Server:
    """Answers the n-th request with ready bytes, in pieces where a list is given; `ends`: closes after each."""

    def __init__(self, answers: Answers, *, ends: bool = False) -> None:
        self.answers, self.ends = answers, ends
        self.connections = 0
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                self.heads.append(head)
                said = self.answers(len(self.heads))
                for piece in said if isinstance(said, list) else [said]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.002)
                if self.ends:
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()
