"""Gates by the thousand in one process: bare MQTT and HTTP connections that send, wait, and send again.

One concern: the wire. A gate forgets an event only when the hub has acknowledged it at device level, and sends it again
when that takes long, as real ones do. It must never count a broker's PUBACK for anything.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from connectors.transports import mqtt_packets as packets
from hub.simulate.gates_words import MQTT, WEB, Event, Spec

RESEND_S = 10.0
_AGAIN_S = 0.5
_KEEPALIVE_S = 300

Acked = Callable[[Spec, Event, float], None]
"""Told of every acknowledged event: the gate, the event, and when (`time.perf_counter`)."""


class MqttGate(asyncio.Protocol):
    """One gate at the broker."""

    def __init__(self, spec: Spec, run: int, address: tuple[str, int], acked: Acked) -> None:
        """`acked` of a silent gate is told of every event that was written to a connection, at once."""
        self.spec = spec
        self.words = MQTT[spec.family]
        self._run = run
        self._address = address
        self._acked = acked
        self._head = self.words.publishes(spec)
        self._transport: Any = None
        self._packets = packets.Packets()
        self._connecting = False
        self._outcome: asyncio.Future[bool] | None = None  # of the attempt under way
        self._back: asyncio.Task[None] | None = None
        self._number = 0
        self._mid = 0
        self.waiting: dict[str, Event] = {}
        self.repeats = 0
        """Events sent again because no acknowledgement had come in time or the connection was new."""
        self.ready = asyncio.Event()
        """Connected and subscribed."""
        self._stored = 0
        self._stored_out = 0
        self._window = 0

    # -- the connection

    async def connect(self, patience_s: float = 30.0) -> None:
        """Connect, again until it succeeds. Raises `TimeoutError`."""
        loop = asyncio.get_running_loop()
        self._connecting = True
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    self._outcome = loop.create_future()
                    try:
                        await loop.create_connection(lambda: self, *self._address)
                        if await self._outcome:
                            return
                    except OSError:
                        pass  # a broker with too many at its door: again in a moment
                    await asyncio.sleep(_AGAIN_S)
        finally:
            self._connecting = False
            if not self.ready.is_set():
                self.cut()

    def cut(self) -> None:
        """Lose the connection, as with the power."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self.ready.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._packets = packets.Packets()
        s = self.spec
        self._transport.write(packets.connect(f"gate-{s.device}", _KEEPALIVE_S, True, s.device, s.secret))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ready.clear()
        self._transport = None
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(False)

    def data_received(self, data: bytes) -> None:
        for head, body in self._packets.feed(data):
            kind = head >> 4
            if kind == packets.PUBLISH:
                now = time.perf_counter()
                for name in self.words.acknowledged(packets.publication(head, body)[1]):
                    self._done(name, now)
            elif kind == packets.CONNACK and body[1] == 0 and self.words.silent:
                self._joined()
            elif kind == packets.CONNACK and body[1] == 0:
                self._transport.write(packets.subscribe(1, [(self.words.hears(self.spec), 0)]))
            elif kind == packets.SUBACK:
                self._joined()

    def _joined(self) -> None:
        self.ready.set()
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(True)
        self._again(list(self.waiting.values()))

    # -- events

    def send(self, due: float, picture: str = "") -> None:
        """Somebody passes, now; `due`: when the plan had it (`time.perf_counter`)."""
        self._number += 1
        self._put(self.words.event(self.spec, self._run, self._number, time.time(), due, False, picture))

    def release(self, count: int, window: int) -> None:
        """Begin to send so many stored events, at most `window` unacknowledged at a time."""
        self._stored, self._window = count, window
        self._pump()

    @property
    def left(self) -> int:
        """Stored events not acknowledged yet."""
        return self._stored + self._stored_out

    def again(self, now: float) -> None:
        """Send again what has waited too long; come back when the connection was lost."""
        if not self.ready.is_set():
            if not self._connecting:
                self._back = asyncio.create_task(self._come_back())
            return
        late = [event for event in self.waiting.values() if now - event.sent > RESEND_S]
        if late:
            self._again(late)

    async def _come_back(self) -> None:
        try:
            await self.connect()
        except TimeoutError:
            return  # the next look tries again

    def _pump(self) -> None:
        while self._stored and self._stored_out < self._window:
            self._number += 1
            self._stored -= 1
            self._stored_out += 1
            # Three seconds apart, hours ago: nobody passes twice in one second.
            at = time.time() - 7_200 - self._stored * 3.0
            self._put(self.words.event(self.spec, self._run, self._number, at, time.perf_counter(), True, ""))

    def _put(self, event: Event) -> None:
        if self.words.silent:
            if self.ready.is_set():
                self._write(event)
                self._acked(self.spec, event, event.sent)
            return
        self.waiting[event.name] = event
        if self.ready.is_set():
            self._write(event)

    def _write(self, event: Event) -> None:
        event.sent = time.perf_counter()
        self._mid = self._mid % 65535 + 1
        self._transport.write(packets.publish(self._head, event.body, self.words.qos, self._mid))

    def _again(self, events: list[Event]) -> None:
        self.repeats += len(events)
        for event in events:
            self._write(event)

    def _done(self, name: str, now: float) -> None:
        event = self.waiting.pop(name, None)
        if event is None:
            return
        self._acked(self.spec, event, now)
        if event.stored:
            self._stored_out -= 1
            self._pump()


class WebGate(asyncio.Protocol):
    """One gate over HTTP: one request at a time on one connection, which the server may close in between."""

    def __init__(self, spec: Spec, run: int, address: tuple[str, int], acked: Acked) -> None:
        self.spec = spec
        self.words = WEB[spec.family]
        self._run = run
        self._address = address
        self._host = f"{address[0]}:{address[1]}"
        self._acked = acked
        self._transport: Any = None
        self._buffer = b""
        self._number = 0
        self._queue: deque[Event] = deque()
        self._flying: list[Event] = []
        self._asked = 0.0
        self._not_before = 0.0
        self._dialling: asyncio.Task[None] | None = None
        self.repeats = 0
        """Requests that were sent again."""

    @property
    def waiting(self) -> int:
        """Events not acknowledged yet."""
        return len(self._queue) + len(self._flying)

    def send(self, due: float, picture: str = "") -> None:
        """Somebody passes, now; see `MqttGate.send`."""
        self._number += 1
        self._queue.append(self.words.event(self.spec, self._run, self._number, time.time(), due, False, ""))
        self._go()

    def again(self, now: float) -> None:
        """Send again what has waited too long."""
        if self._flying and now - self._asked > RESEND_S and self._transport is not None:
            self._transport.abort()
        self._go()

    def cut(self) -> None:
        """End the connection."""
        if self._dialling is not None:
            self._dialling.cancel()
        if self._transport is not None:
            self._transport.abort()

    def unacknowledged(self) -> list[Event]:
        """What is still waiting."""
        return [*self._flying, *self._queue]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._flying:
            self._refused(_AGAIN_S)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        place = lower.find(b"content-length:")
        size = int(lower[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(body) < size:
            return
        self._buffer = b""
        status = int(head[9:12])
        if not self.words.yes(status, body, len(self._flying)):
            self._refused(2.0)
            return
        now = time.perf_counter()
        done, self._flying = self._flying, []
        for event in done:
            self._acked(self.spec, event, now)
        self._go()

    def _refused(self, pause_s: float) -> None:
        self.repeats += 1
        self._queue.extendleft(reversed(self._flying))
        self._flying = []
        self._not_before = time.perf_counter() + pause_s

    def _go(self) -> None:
        if self._flying or not self._queue or time.perf_counter() < self._not_before:
            return
        if self._transport is None or self._transport.is_closing():
            if self._dialling is None:
                self._dialling = asyncio.create_task(self._dial())
            return
        self._flying = [self._queue.popleft() for _ in range(min(self.words.most, len(self._queue)))]
        self._asked = time.perf_counter()
        self._transport.write(self.words.request(self.spec, self._host, self._flying, self._number))

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, *self._address)
        except OSError:
            self._not_before = time.perf_counter() + _AGAIN_S
        finally:
            self._dialling = None
        self._go()
