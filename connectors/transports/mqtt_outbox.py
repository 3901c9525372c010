"""Publications of our own at QoS 1, until the broker has answered them.

One concern: their numbers, their turn and their answers. A broker of MQTT 5 says how many it takes at a time; what is more
waits here for an answer to one before it. It must never write a publication twice: when its connection ends first, nobody
knows whether the broker has it.
"""

from __future__ import annotations

import asyncio
import contextlib

from connectors.transports import mqtt_five as five
from connectors.transports.mqtt_link import Link


class NotTaken(Exception):
    """Máy chủ MQTT không nhận bản tin này. / The broker certainly has not taken this publication. `code`: the reason it gave, None
    when it was never asked."""

    def __init__(self, words: str, code: int | None = None) -> None:
        super().__init__(words)
        self.code = code


class Outbox:
    """For one event loop, over all connections of a client."""

    def __init__(self) -> None:
        self._answers: dict[int, asyncio.Future[int | None]] = {}
        self._mid = 0
        self._window = 0
        self._most = five.PACKET_MOST
        self._waiting: dict[int, bytes] = {}

    def opened(self, granted: five.Granted) -> None:
        """A session stands, whose broker takes so many at a time, and so long ones."""
        self._window, self._most = granted.window, granted.packet_most
        self._waiting.clear()

    def over(self) -> None:
        """The connection is over: what was written and not answered stays in doubt."""
        for future in self._answers.values():
            if not future.done():
                future.set_result(None)

    def number(self) -> int:
        """A packet identifier that is not in use."""
        while True:
            self._mid = self._mid % 65535 + 1
            if self._mid not in self._answers:
                return self._mid

    def send(self, link: Link, mid: int, packet: bytes) -> None:
        """Write a publication, now or when its turn comes. One that is too long is refused here, as the broker would."""
        answer = self._answers[mid] = asyncio.get_running_loop().create_future()
        if len(packet) > self._most:
            answer.set_result(five.TOO_LARGE)
        elif self._window:
            self._window -= 1
            link.write(packet)
        else:
            self._waiting[mid] = packet

    def heard(self, link: Link, mid: int, reason: int) -> None:
        """A PUBACK came."""
        if self._waiting:
            link.write(self._waiting.pop(next(iter(self._waiting))))
        else:
            self._window += 1
        future = self._answers.get(mid)
        if future is not None and not future.done():
            future.set_result(reason)

    async def confirmed(self, mid: int, timeout_s: float) -> bool:
        """Wait for the broker's answer; False when it does not come in time, or can no longer come. Raises `NotTaken`, also for
        one whose turn did not come."""
        reason: int | None = None
        try:
            with contextlib.suppress(TimeoutError):  # in doubt then, or not even written
                async with asyncio.timeout(timeout_s):
                    reason = await self._answers[mid]
        finally:
            del self._answers[mid]
            unwritten = self._waiting.pop(mid, None) is not None
        if unwritten:
            raise NotTaken("the broker has not answered those before it")
        if reason is not None and reason >= five.FAILURE:
            raise NotTaken(five.reason(reason), reason)
        return reason is not None
