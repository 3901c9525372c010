"""Bodies of gates' requests in memory: how much of them there may be, all together and of one gate.

One concern: that bound. Every part counts from the moment it is read until its request is answered, however the request
ends, so slow bodies are as bounded as quick ones. It must never wait for room (a gate told to come again keeps what it
has), let one secret use up everybody's share, or keep what was put off.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from prometheus_client import Counter as Counted
from prometheus_client import Gauge
from starlette.requests import Request

from hub.kernel.intake import Overloaded

MOST = 268_435_456
"""Bytes of bodies, being read and being worked on, all gates together."""
SHARE = MOST // 8
"""Of these, one gate's at most: four of the largest bodies any family sends."""
READING = 8
"""Bodies of one gate on their way at once. Gates send one after the other; what a broken line left hanging ends in time."""
READING_ACCOUNT = 512
"""The same of an account that speaks for many cameras."""
UPLOAD_S = 60.0
"""How long one body may be on its way."""

HELD = Gauge("gate_bodies_held_bytes", "Bodies of gates in memory, being read or worked on")
PUT_OFF = Counted(
    "gate_bodies_put_off_total", "Bodies put off for want of room: of all gates', or of one's share", ["of"]
)


class Crowded(Overloaded):
    """Đang nhận quá nhiều dữ liệu cùng lúc; hãy gửi lại sau. / Too much is being received at once; send it again later."""

    def __init__(self, of: str) -> None:
        super().__init__(of)
        PUT_OFF.labels(of).inc()

    def __str__(self) -> str:
        return self.__doc__ or ""


class Bodies:
    """One per gateway process, on one event loop."""

    def __init__(self, most: int = MOST, share: int = SHARE, upload_s: float = UPLOAD_S) -> None:
        self.most, self.share, self.upload_s = most, share, upload_s
        self.held = 0
        self.of: Counter[str] = Counter()
        """Bytes held by gate; a gate of which nothing is held is not in it."""
        self.on_their_way: Counter[str] = Counter()
        """Bodies half read by gate, likewise."""

    @asynccontextmanager
    async def taken(
        self, request: Request, gate: str, largest: int, reading: int = READING
    ) -> AsyncIterator[bytes | None]:
        """A request's whole body, held until the block ends; None when it is larger than `largest` bytes. `reading`: so many of
        this gate's may be on their way at once. Raises `Crowded` beyond any bound, `TimeoutError` for one that does not
        end, and what the server raises when the client is gone."""
        declared = request.headers.get("content-length", "")
        length = int(declared) if declared.isascii() and declared.isdigit() else 0
        if length > largest:
            yield None
            return
        self._room(gate, length)
        held = _Held(self, gate)
        try:
            yield await self._read(request, held, largest, reading)
        finally:
            held.give_back()

    async def _read(self, request: Request, held: _Held, largest: int, reading: int) -> bytes | None:
        parts: list[bytes] = []
        with self.reading(held.gate, reading):
            async with asyncio.timeout(self.upload_s):
                async for part in request.stream():
                    if held.size + len(part) > largest:
                        return None
                    self._room(held.gate, len(part))
                    held.more(len(part))
                    parts.append(part)
        return b"".join(parts)

    @contextmanager
    def reading(self, gate: str, most: int = READING) -> Iterator[None]:
        """One body of a gate on its way. Raises `Crowded` when as many as may be are already."""
        if self.on_their_way[gate] >= most:
            raise Crowded("gate")
        self.on_their_way[gate] += 1
        try:
            yield
        finally:
            _add(self.on_their_way, gate, -1)

    def _room(self, gate: str, size: int) -> None:
        if self.of[gate] + size > self.share:
            raise Crowded("gate")
        if self.held + size > self.most:
            raise Crowded("all")

    def hold(self, gate: str, size: int) -> None:
        """So many bytes more of a gate's are held; fewer, when negative."""
        self.held += size
        HELD.set(self.held)
        _add(self.of, gate, size)


class _Held:
    """What one request has in memory."""

    def __init__(self, bodies: Bodies, gate: str) -> None:
        self._bodies = bodies
        self.gate = gate
        self.size = 0

    def more(self, size: int) -> None:
        self.size += size
        self._bodies.hold(self.gate, size)

    def give_back(self) -> None:
        self._bodies.hold(self.gate, -self.size)
        self.size = 0


def _add(counts: Counter[str], name: str, by: int) -> None:
    counts[name] += by
    if counts[name] <= 0:
        del counts[name]
