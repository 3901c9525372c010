"""From a gate's picture in memory to a sealed one in the store: beside the way of the message, never on it.

One concern: that way. It must never hold up a message or an acknowledgement, keep a picture whose message was not stored,
write a picture in clear anywhere, or grow beyond its bound: what does not fit, is not kept, and that is counted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable

from msgspec import Struct
from prometheus_client import Counter

from hub.kernel.gate_pictures import Picture
from hub.kernel.ledger import gate_pictures
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.gate_pictures import Sealed, place_of

log = logging.getLogger("hub.gates")

WAITING_MOST = 33_554_432
"""Bytes of pictures that may wait to be stored."""
_BATCH = 50
_LINGER_S = 0.5

PICTURES = Counter("gate_pictures_total", "Pictures of gates whose keeping is switched on, by outcome", ["outcome"])


class _Waiting(Struct):
    device: str
    school: str | None
    message: int
    picture: Picture


class Album:
    """One per process that hears gates. `offer` is called after a commit; `run` ends by cancellation only."""

    def __init__(self, core: Core, seal: Callable[[bytes, bytes], bytes], hours: float) -> None:
        """`seal`: encrypts (content, what it is tied to); `hours`: how long a picture is kept."""
        self._core = core
        self._seal = seal
        self._hours = hours
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._bell = asyncio.Event()

    def hold(self, picture: Picture) -> bool:
        """Make room for a picture whose message is on its way; False: there is none, and it is not kept. From any thread.

        What was held is given to `offer`, or back by `let_go`."""
        with self._lock:
            if self._bytes + len(picture.content) <= WAITING_MOST:
                self._bytes += len(picture.content)
                return True
        PICTURES.labels("no_room").inc()
        return False

    def let_go(self, picture: Picture) -> None:
        """Its message was not stored, or was known already."""
        with self._lock:
            self._bytes -= len(picture.content)

    def offer(self, device: str, school: str | None, message: int, picture: Picture) -> None:
        """Keep a picture that is held: its message is stored."""
        self._waiting.append(_Waiting(device, school, message, picture))
        self._bell.set()

    async def run(self) -> None:
        """Store what was offered. What waits when this ends is not kept."""
        while True:
            await self._bell.wait()
            await asyncio.sleep(_LINGER_S)
            self._bell.clear()
            await self.step()

    async def step(self) -> int:
        """Store everything that waits; how many were taken. What cannot be stored is dropped: it is not the message."""
        taken = 0
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            sealed = await asyncio.to_thread(self._sealed, batch)
            for waiting in batch:
                self.let_go(waiting.picture)
            try:
                stored = await gate_pictures.add(self._core, sealed, self._hours)
            except TRANSIENT as error:
                log.warning("%d pictures are not kept: %s", len(batch), type(error).__name__)
                stored = 0
            PICTURES.labels("kept").inc(stored)
            PICTURES.labels("not_kept").inc(len(batch) - stored)
            taken += stored
        return taken

    def _sealed(self, batch: list[_Waiting]) -> list[Sealed]:
        return [
            Sealed(
                device=w.device, school=w.school, message=w.message, kind=w.picture.kind, size=len(w.picture.content),
                sealed=self._seal(w.picture.content, place_of(w.device, w.message)),
            )
            for w in batch
        ]  # fmt: skip
