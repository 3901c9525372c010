"""A thousand gates at the broker, as light as can be: raw MQTT 3.1.1, QoS 1, kept sessions, back at once when cut off.

One concern: the load of many connections, and books of what was acknowledged to whom. Its MQTT is written here, not the
hub's. It must never read anything of the hub's but its acknowledgements.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import time
from datetime import UTC, datetime
from typing import Any

from tests.chaos.books import Passage
from tests.chaos.overtaking import SHARE
from tests.chaos.world import SCHOOL, World

_RESEND_S = 2.0
_CONNACK, _PUBLISH, _SUBACK = 2, 3, 9


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def _packet(head: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, digit = size >> 7, size & 0x7F
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([head]) + length + body


class Member(asyncio.Protocol):
    """One gate of the family `native`: says its events until each is acknowledged on its command topic."""

    def __init__(self, herd: Herd, device: str, secret: str) -> None:
        self.device = device
        self.events: dict[str, str] = {}
        """Event → the person who passed."""
        self.acked: set[str] = set()
        self.overtaken: set[str] = set()
        """Said for the first time after a later one."""
        self.up = False
        self._herd = herd
        self._dice = random.Random(f"{herd.seed}/{device}")
        self._said: set[int] = set()
        self._hello = _packet(
            0x10, b"\x00\x04MQTT\x04\xc0\x00\x3c" + _text(f"herd-{device}") + _text(device) + _text(secret)
        )  # user and password, session kept, keep-alive 60 s
        self._topic = f"campus/v1/{SCHOOL}/{device}"
        self._rest = b""
        self._mid = 0
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] | None = None

    async def live(self) -> None:
        """Be connected, and at once again when the connection is lost, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._closed = loop.create_future()
                await loop.create_connection(lambda: self, self._herd.host, self._herd.port)
                await self._closed
            except OSError:
                pass
            finally:
                self.up = False
                if self._transport is not None:
                    self._transport.abort()
            await asyncio.sleep(self._herd.rng.uniform(0.05, 0.5))

    def connection_made(self, transport: Any) -> None:
        self._transport, self._rest = transport, b""
        transport.write(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        self.up = False
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (size := _whole(self._rest)) is not None:
            head, (start, end) = self._rest[0], size
            body, self._rest = self._rest[start:end], self._rest[end:]
            self._heard(head >> 4, head, body)

    def _heard(self, kind: int, head: int, body: bytes) -> None:
        assert self._transport is not None
        if kind == _CONNACK:
            if body[1]:
                self._herd.refused += 1
                self._transport.abort()
                return
            self._transport.write(_packet(0x82, b"\x00\x01" + _text(f"{self._topic}/cmd") + b"\x01"))
        elif kind == _SUBACK:
            self.up = True
            self.speak()
        elif kind == _PUBLISH:
            skip = 2 + int.from_bytes(body[:2], "big")
            if head & 6:
                self._transport.write(b"\x40\x02" + body[skip : skip + 2])
                skip += 2
            told = json.loads(body[skip:])
            self.acked.update(e for e in told.get("ack", ()) if e in self.events)
            if (span := told.get("resend")) is not None:
                asked = sorted(n for n in self._said if span["from"] <= n <= span["to"])
                self._say(asked)
                self._send("res", json.dumps({"id": told["id"], "code": 0 if asked else 2}).encode())

    def speak(self) -> None:
        """Say everything that is not acknowledged yet; now and then two neighbours change places."""
        waiting = [n for n, event in enumerate(self.events, 1) if event not in self.acked]
        for at in range(len(waiting) - 1):
            if self._dice.random() < SHARE:
                waiting[at], waiting[at + 1] = waiting[at + 1], waiting[at]
        self._say(waiting)

    def _say(self, numbers: list[int]) -> None:
        if not self.up or self._transport is None:
            return
        for number in numbers:
            event = f"{self.device}-{number}"
            if number not in self._said and any(later > number for later in self._said):
                self.overtaken.add(event)
            self._said.add(number)
            said = {
                "id": event, "seq": number, "person": self.events[event], "time": round(datetime.now(UTC).timestamp() * 1000),
                "is_historical": False, "direction": "in", "method": "face", "similarity": 97.5, "verify": "allowed",
            }  # fmt: skip
            self._send("evt", json.dumps(said).encode())

    def _send(self, topic: str, payload: bytes) -> None:
        assert self._transport is not None
        self._mid = self._mid % 65_000 + 1
        self._transport.write(_packet(0x32, _text(f"{self._topic}/{topic}") + self._mid.to_bytes(2, "big") + payload))

    def passes(self, times: int) -> None:
        """Somebody who has never passed passes, so often."""
        for _ in range(times):
            number = len(self.events) + 1
            self.events[f"{self.device}-{number}"] = f"H.{self.device}.{number}"
        self.speak()


def _whole(data: bytes) -> tuple[int, int] | None:
    """Where the first packet's body starts and ends; None while it is not all there."""
    size = shift = 0
    for at in range(1, min(len(data), 5)):
        size |= (data[at] & 0x7F) << shift
        shift += 7
        if not data[at] & 0x80:
            return (at + 1, at + 1 + size) if len(data) >= at + 1 + size else None
    return None


class Herd:
    """Many gates on one loop."""

    def __init__(self, world: World, seed: int, count: int, *, prefix: str) -> None:
        self.world = world
        self.seed = seed
        self.rng = random.Random(seed)
        self.host, self.port = world.broker.host, world.broker.port
        self.refused = 0
        self._ids = [f"{prefix}-{n:04d}" for n in range(count)]
        self.members: list[Member] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Register and connect them all."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < len(self._ids) + 512:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, len(self._ids) * 2 + 1024), hard))
        await self.world.install(*((device, "native") for device in self._ids))
        self.members = [Member(self, d, self.world.devices[d].secret) for d in self._ids]
        self._tasks = [asyncio.create_task(m.live()) for m in self.members]
        self._tasks.append(asyncio.create_task(self._again()))

    async def _again(self) -> None:
        while True:
            await asyncio.sleep(_RESEND_S)
            for n, member in enumerate(self.members):
                member.speak()
                if n % 100 == 99:
                    await asyncio.sleep(0)

    def everybody_passes(self, times: int = 1) -> None:
        """More events at every gate, whether it is connected or not."""
        for member in self.members:
            member.passes(times)

    async def until(self, what: str, timeout_s: float) -> float:
        """Wait until all are `up`, `down`, or everything said is `acked`. Seconds it took; raises TimeoutError."""
        ask = {
            "up": lambda m: m.up,
            "down": lambda m: not m.up,
            "acked": lambda m: len(m.acked) == len(m.events),
        }[what]
        started = time.monotonic()
        while not all(ask(m) for m in self.members):
            if time.monotonic() - started > timeout_s:
                missing = sum(not ask(m) for m in self.members)
                raise TimeoutError(
                    f"{missing} of {len(self.members)} gates not {what} within {timeout_s:g} s; {self.refused} refused"
                )
            await asyncio.sleep(0.02)
        return time.monotonic() - started

    def passages(self) -> list[Passage]:
        """What they know of their passages. They stay connected, for what they may still be asked."""
        return [
            Passage(
                device=m.device, person=person, acked=event in m.acked, clock_right=True, overtaken=event in m.overtaken
            )
            for m in self.members
            for event, person in m.events.items()
        ]

    def numbers(self) -> dict[str, int]:
        """The last number each has given."""
        return {m.device: len(m.events) for m in self.members}

    async def end(self) -> None:
        """Disconnect."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
