"""What every simulated gate shares: a plan to play, resending until acknowledged, and books of its own.

One concern: a gate's behaviour over time. It must never look into the hub: what its books say of an acknowledgement
is what came back over the wire. The MQTT client (paho's) is made by the simulators; this module only uses it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

_STOP_S = 5.0


class PlannedCheckin(Struct, frozen=True, kw_only=True):
    """One event to play. `at_s`: seconds after the start at which it is sent; `happened`: true time, aware.

    `live` False: stored by the gate and sent later. `copies`: how often the gate sends it on purpose before it waits
    for an acknowledgement. `verify`: allowed, refused or unregistered (then without a person)."""

    at_s: float
    person: str
    happened: datetime
    direction: str = "in"
    live: bool = True
    copies: int = 1
    verify: str = "allowed"


class Entry(Struct, kw_only=True):
    """One line of a gate's books."""

    event: str
    """The event's name at the gate: record number or event id."""
    plan: PlannedCheckin
    device_time: str
    """The time as the gate's own clock had it, as sent."""
    marks: list[str]
    """Text within every picture sent with it: must be found nowhere afterwards."""
    published: int = 0
    acks: int = 0
    acked_at: datetime | None = None
    """True time of the first acknowledgement."""

    def acknowledge(self) -> None:
        """The hub has said at device level that it has it, once more."""
        self.acks += 1
        self.acked_at = self.acked_at or datetime.now(UTC)

    @property
    def acked(self) -> bool:
        """Whether the hub has acknowledged it at device level."""
        return self.acks > 0


class GateOptions(Struct, frozen=True, kw_only=True):
    """One gate: who it is at the broker, and its faults. `clock_error_s`: its clock minus true time."""

    device: str
    school: str
    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = None
    seed: int = 0
    clock_error_s: float = 0.0
    image_bytes: int = 20_000
    resend_s: float = 10.0
    patience_s: float = 120.0
    """How long after the last planned event it keeps resending what is not acknowledged."""
    claims: str | None = None
    """For a gate that lies: another device's id in its messages, or another school in its topic, by family."""


class Gate(ABC):
    """A gate for one event loop. `run` plays a plan; `books` tells what happened."""

    def __init__(self, options: GateOptions) -> None:
        self.options = options
        self._random = random.Random(f"{options.seed}/{options.device}")  # noqa: S311 - noise, not secrets
        self._entries: dict[str, Entry] = {}
        self._acked = asyncio.Event()
        self._client: Any = None
        self._beating: asyncio.Task[None] | None = None

    def books(self) -> list[Entry]:
        """Every event played so far, in order."""
        return list(self._entries.values())

    async def run(self, plan: Sequence[PlannedCheckin], speed: float = 1.0) -> None:
        """Connect, play the plan (`speed` 10: ten times as fast), resend until all is acknowledged or patience ends,
        disconnect. May be called again: the gate goes on where it was. Raises `ConnectionError` without a broker."""
        await self._open()
        try:
            started = asyncio.get_running_loop().time()
            resending = asyncio.create_task(self._resend())
            try:
                for planned in sorted(plan, key=lambda p: p.at_s):
                    wait = planned.at_s / speed - (asyncio.get_running_loop().time() - started)
                    if wait > 0:
                        await asyncio.sleep(wait)
                    entry = self._enter(planned)
                    for _ in range(planned.copies):
                        self._publish(entry)
                await self._settled()
            finally:
                resending.cancel()
                await asyncio.gather(resending, return_exceptions=True)
        finally:
            await self._close()

    def _enter(self, planned: PlannedCheckin) -> Entry:
        number = len(self._entries) + 1
        shown = planned.happened.astimezone(UTC) + timedelta(seconds=self.options.clock_error_s)
        entry = Entry(event=self._name(number), plan=planned, device_time=self._clock(shown), marks=[])
        self._entries[entry.event] = entry
        return entry

    def _publish(self, entry: Entry) -> None:
        self._send(entry, resend=entry.published > 0)
        entry.published += 1

    async def _resend(self) -> None:
        while True:
            await asyncio.sleep(self.options.resend_s)
            for entry in self.books():
                if not entry.acked:
                    self._publish(entry)
                    await asyncio.sleep(0)

    async def _settled(self) -> None:
        try:
            async with asyncio.timeout(self.options.patience_s):
                while not all(entry.acked for entry in self._entries.values()):
                    self._acked.clear()
                    await self._acked.wait()
        except TimeoutError:
            return  # the books say what was not acknowledged

    def _acknowledged(self, event: str) -> None:
        entry = self._entries.get(event)
        if entry is not None:
            entry.acknowledge()
            self._acked.set()

    def _picture(self, entry: Entry) -> str:
        """A new picture as a data URI: noise with a mark through and through, different at every sending."""
        place = f"{self.options.device}/{entry.event}/{entry.published}"
        mark = "anh-" + hashlib.sha256(place.encode()).hexdigest()[:24]
        entry.marks.append(mark)
        parts = [b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"]
        size = 0
        while size < self.options.image_bytes:
            parts += (mark.encode(), self._random.randbytes(512))
            size += 540
        return "data:image/jpeg;base64," + base64.b64encode(b"".join(parts) + b"\xff\xd9").decode()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        refused: list[str] = []

        def tell(callback: Callable[..., object], *arguments: object) -> None:
            # The loop may end before the client's thread does.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(callback, *arguments)

        def on_connect(client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                refused.append(str(reason))
                tell(ready.set)
                return
            if (heard := self._listens_to()) is None:
                tell(ready.set)
            else:
                client.subscribe(*heard)
            tell(self._greet)

        client = self._make_client(f"gate-{self.options.device}")
        if self.options.username is not None:
            client.username_pw_set(self.options.username, self.options.password)
        if (will := self._will()) is not None:
            client.will_set(*will)
        client.max_queued_messages_set(0)
        client.reconnect_delay_set(1, 10)
        client.on_connect = on_connect
        client.on_subscribe = lambda *_: tell(ready.set)
        client.on_message = lambda _client, _data, message: tell(self._heard, bytes(message.payload))
        try:
            await asyncio.to_thread(client.connect, self.options.host, self.options.port, 30)
        except OSError as error:
            raise ConnectionError(f"{self.options.device}: no broker answers") from error
        self._client = client
        client.loop_start()
        try:
            async with asyncio.timeout(10):
                await ready.wait()
        except TimeoutError:
            refused.append("no answer")
        except asyncio.CancelledError:
            await self._close()  # else its thread would go on signing in under this gate's name
            raise
        if refused:
            await self._close()
            raise ConnectionError(f"{self.options.device}: the broker refused: {refused[0]}")
        self._beating = asyncio.create_task(self._beat())

    async def _close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            # It waits for the client's own thread, which may never end where a broker was killed under it: nobody else need.
            stopping = threading.Thread(target=client.loop_stop, daemon=True)
            stopping.start()
            end = asyncio.get_running_loop().time() + _STOP_S
            while stopping.is_alive() and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.01)

    def _say(self, topic: str, payload: bytes, qos: int) -> None:
        """Publish if there is a connection; what is lost is sent again later."""
        if self._client is not None:
            self._client.publish(topic, payload, qos)

    @abstractmethod
    def _make_client(self, client_id: str) -> Any:
        """A paho client, protocol 3.1.1, callback API version 2."""

    @abstractmethod
    def _listens_to(self) -> tuple[str, int] | None:
        """Topic and QoS of what the hub sends to this gate; None for one that hears nothing."""

    @abstractmethod
    def _will(self) -> tuple[str, bytes, int] | None:
        """Topic, payload and QoS the broker publishes when the gate is cut off; None for one that leaves no will."""

    @abstractmethod
    def _greet(self) -> None:
        """Say hello after each connection."""

    @abstractmethod
    async def _beat(self) -> None:
        """Send heartbeats until cancelled; returns at once for gates that have none."""

    @abstractmethod
    def _heard(self, payload: bytes) -> None:
        """Read what the hub sent; calls `_acknowledged`."""

    @abstractmethod
    def _name(self, number: int) -> str:
        """The name at the gate of its `number`-th event."""

    @abstractmethod
    def _clock(self, shown: datetime) -> str:
        """The gate's own time as it writes it."""

    @abstractmethod
    def _send(self, entry: Entry, resend: bool) -> None:
        """Publish one event."""


def entries_by_mark(gates: Sequence[Gate]) -> dict[str, Entry]:
    """Every picture mark of all gates with its entry: what a search of the hub's storage must not find."""
    return {mark: entry for gate in gates for entry in gate.books() for mark in entry.marks}
