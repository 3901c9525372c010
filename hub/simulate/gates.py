"""A city of gates against a running hub: live check-ins, a flood of stored ones, everybody reconnecting, pictures.

One concern: the course of the load and its figures. It must never take anything but a device-level acknowledgement for
one, nor look into the hub while it plays; the comparison at the end is `hub.simulate.gates_books`'.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import resource
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct, field

from hub.simulate.gates_books import Books
from hub.simulate.gates_lists import ListedGate, Lists
from hub.simulate.gates_meter import Meter, resident_mb
from hub.simulate.gates_wire import MqttGate, WebGate
from hub.simulate.gates_words import LISTED, MQTT, WEB, Event, Spec

_STEP_S = 0.002
_FILES_MORE = 200
_AT_ONCE = 200
_LAST_S = 1.0
_BACKLOG = 30_000
"""Ten seconds of the peak unacknowledged: a hub that far behind is not loaded further, and the figures say so."""


class Profile(Struct, frozen=True, kw_only=True):
    """What is played. Rates are events a second over the whole fleet."""

    rate: float = 3_000
    live_s: float = 60
    stored: int = 500_000
    stored_gates: int = 300
    window: Mapping[str, int] = field(default_factory=lambda: {"face_mqtt": 2, "native": 8})
    """Stored events a gate sends before it waits for an acknowledgement, by family."""
    reconnecting: int = 1_000
    images_per_s: float = 50
    images_s: float = 60
    image_bytes: int = 1_000_000


PROFILES = {
    "peak": Profile(),
    "short": Profile(live_s=10, stored=30_000, images_s=6),
    "pictures": Profile(rate=300, live_s=5, stored=0, reconnecting=0),
    "calm": Profile(rate=300, live_s=30, stored=0, reconnecting=0, images_per_s=0),
}


class Phase(Struct, kw_only=True):
    """One part of the load and its figures. Milliseconds from the planned moment to the device-level acknowledgement."""

    name: str
    seconds: float
    sent: int
    """By gates that push."""
    acknowledged: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cpu: dict[str, float]
    """Shares of one core; `gates` is the generator's own."""
    memory_mb: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Before, most in the first third, most after it: what goes on growing shows between the last two."""
    stored: int = 0
    """Stored events there were to release."""
    released: int = 0
    """Stored events acknowledged meanwhile; fewer than `stored` when patience ended before they were through."""
    held_back: int = 0
    """Planned and not sent, because the hub was too far behind."""
    by_family: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """p50 and p99 of each family's live passages, milliseconds as above."""
    late_p99_ms: float = 0.0
    """How late the generator itself was with what it sent; counted in with everything else."""
    listed: int = 0
    """Passages at gates that are asked: put into their lists meanwhile, acknowledged by nobody."""
    note: str = ""


class TooFewFiles(OSError):
    """Giới hạn số tệp mở quá thấp cho ngần ấy cổng. / The limit of open files is too low for so many gates."""


def allow_files(count: int) -> None:
    """Raise this process's limit of open files as far as it goes. Raises `TooFewFiles`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < count + _FILES_MORE:
        raise TooFewFiles(f"{most} < {count + _FILES_MORE} (ulimit -n)")


def quantiles_ms(took: Sequence[float], *shares: float) -> tuple[float, ...]:
    """Of durations in seconds, the ones so far up in their order, in milliseconds; 0 where there are none."""
    ordered = sorted(took) or [0.0]
    return tuple(round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) for share in shares)


class Crowd:
    """The gates of one run on one event loop. `pids`: the hub's processes, for the meter."""

    def __init__(
        self,
        gates: Sequence[Spec],
        mqtt: tuple[str, int],
        web: tuple[str, int],
        books: Path,
        pids: Mapping[str, int],
        *,
        seed: int = 1,
    ) -> None:
        allow_files(len(gates))
        self.books = Books(books)
        self._pids = {**pids, "gates": os.getpid()}
        self._random = random.Random(seed)  # noqa: S311 - a plan, not secrets
        run = int(time.time()) % 1_000_000
        broker = [g for g in gates if g.family in MQTT]
        self.mqtt = [MqttGate(g, run, mqtt, self._acked) for g in broker if not MQTT[g.family].silent]
        self.silent = [MqttGate(g, run, mqtt, self.books.silent) for g in broker if MQTT[g.family].silent]
        """Gates that nobody tells anything: they send as the others do and count in nothing but the proof."""
        self.web = [WebGate(g, run, web, self._acked) for g in gates if g.family in WEB]
        self.gates: list[MqttGate | WebGate] = [*self.mqtt, *self.web]
        self.listed = [ListedGate(g, run, self._noted) for g in gates if g.family in LISTED]
        """Gates that say nothing until the hub asks: people pass them like the others."""
        self.lists = Lists(self.listed)
        self._took: list[float] = []
        self._by_family: dict[str, list[float]] = {}
        self._late: list[float] = []
        self._released = self._sent = self._held_back = self._listed = 0
        self._tending: asyncio.Task[None] | None = None

    # -- the gates' common life

    async def open(self, patience_s: float = 60.0) -> float:
        """Serve the lists and connect all gates that keep a connection; gives the seconds it took. Raises `TimeoutError`."""
        began = time.perf_counter()
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(gate: MqttGate) -> None:
            async with turn:
                await gate.connect(patience_s)

        await self.lists.open()
        await asyncio.gather(*(one(gate) for gate in [*self.mqtt, *self.silent]))
        self._tending = asyncio.create_task(self._tend())
        return time.perf_counter() - began

    async def close(self) -> None:
        """Cut all connections, serve the lists no longer and close the books."""
        if self._tending is not None:
            self._tending.cancel()
        if self.silent:
            await asyncio.sleep(_LAST_S)  # what they wrote last is still on its way, and they will not send it again
        for gate in [*self.gates, *self.silent]:
            gate.cut()
        await asyncio.sleep(0)
        await self.lists.close()
        self.books.close()

    def waiting(self) -> list[tuple[Spec, Event]]:
        """Every event that is not acknowledged."""
        mine = [(g.spec, event) for g in self.mqtt for event in g.waiting.values()]
        return mine + [(g.spec, event) for g in self.web for event in g.unacknowledged()]

    @property
    def repeats(self) -> int:
        """How often something was sent again."""
        return sum(g.repeats for g in self.gates)

    async def settled(self, patience_s: float) -> bool:
        """Wait until everything is acknowledged; whether it was in time."""
        until = time.perf_counter() + patience_s
        while any(g.waiting for g in self.gates) or any(g.left for g in self.mqtt):
            if time.perf_counter() > until:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = time.perf_counter()
            for gate in self.gates:
                if gate.waiting:
                    gate.again(now)
            for gate in self.silent:
                gate.again(now)
                gate.send(now)

    def _acked(self, gate: Spec, event: Event, now: float) -> None:
        self.books.acked(gate, event)
        if event.stored:
            self._released += 1
        else:
            self._took.append(now - event.due)
            self._by_family.setdefault(gate.family, []).append(now - event.due)

    def _noted(self, gate: Spec, person: str, raw: str, at: float) -> None:
        self.books.noted(gate, person, raw, at)
        self._listed += 1

    # -- the parts of the load

    @asynccontextmanager
    async def _measured(self, name: str, sampled: bool = False) -> AsyncIterator[Phase]:
        self._took, self._late, self._released, self._sent, self._held_back, self._listed = [], [], 0, 0, 0, 0
        self._by_family = {}
        meter, began = Meter(self._pids), time.perf_counter()
        samples = [resident_mb(self._pids)]
        phase = Phase(name=name, seconds=0, sent=0, acknowledged=0, p50_ms=0, p99_ms=0, worst_ms=0, cpu={})

        async def sample() -> None:
            while True:
                await asyncio.sleep(0.5)
                samples.append(resident_mb(self._pids))

        sampling = asyncio.create_task(sample()) if sampled else None
        try:
            yield phase
        finally:
            if sampling is not None:
                sampling.cancel()
        phase.seconds = round(time.perf_counter() - began, 2)
        phase.cpu = meter.shares()
        phase.acknowledged, phase.released, phase.held_back = len(self._took), self._released, self._held_back
        phase.listed = self._listed
        phase.p50_ms, phase.p99_ms, phase.worst_ms = quantiles_ms(self._took, 0.5, 0.99, 1.0)
        phase.by_family = {family: quantiles_ms(took, 0.5, 0.99) for family, took in sorted(self._by_family.items())}
        (phase.late_p99_ms,) = quantiles_ms(self._late, 0.99)
        if sampled:
            third = len(samples) // 3 + 1
            early, late = samples[:third], samples[third:] or samples[-1:]
            phase.memory_mb = {
                name: (before, max(s[name] for s in early), max(s[name] for s in late))
                for name, before in samples[0].items()
            }

    async def _play(
        self, rate: float, until: float, gates: Sequence[MqttGate | WebGate | ListedGate], picture: Sequence[str] = ()
    ) -> int:
        """Have `rate` passages a second until a moment (`time.perf_counter`), each at its planned time; gives how many
        were sent, without those that went into lists."""
        began, sent, planned = time.perf_counter(), 0, 0
        while (now := time.perf_counter()) < until:
            room = _BACKLOG - (self._sent + sent - len(self._took))
            last = int((now - began) * rate) + 1
            for number in range(planned, min(last, planned + max(room, 0))):
                gate = gates[self._random.randrange(len(gates))]
                due = began + number / rate
                self._late.append(time.perf_counter() - due)
                gate.send(due, picture[number % len(picture)] if picture else "")
                sent += not isinstance(gate, ListedGate)
            self._held_back += max(0, last - planned - max(room, 0))
            planned = last
            await asyncio.sleep(_STEP_S)
        self._sent += sent
        return sent

    async def live(self, rate: float, seconds: float, name: str = "live") -> Phase:
        """Everybody passes, as it happens."""
        async with self._measured(name) as phase:
            phase.sent = await self._play(rate, time.perf_counter() + seconds, [*self.gates, *self.listed])
            await self.settled(20)
        return phase

    async def flood(self, profile: Profile, patience_s: float = 900.0) -> Phase:
        """Some gates come back with stored events, all at once, while everybody else goes on passing."""
        some = self._random.sample(self.mqtt, min(profile.stored_gates, len(self.mqtt)))
        async with self._measured("flood", sampled=True) as phase:
            phase.stored = profile.stored
            began, everybody = time.perf_counter(), [*self.gates, *self.listed]
            share, rest = divmod(profile.stored, len(some))
            for place, gate in enumerate(some):
                gate.release(share + (place < rest), profile.window[gate.spec.family])
            done = asyncio.create_task(self._drained(some, patience_s))
            while not done.done():
                phase.sent += await self._play(profile.rate, time.perf_counter() + 1.0, everybody)
            drained = await done
            phase.note = f"{self._released / (drained - began):,.0f} stored events/s beside the live ones"
            await self.settled(20)
        return phase

    async def _drained(self, gates: Sequence[MqttGate], patience_s: float) -> float:
        until = time.perf_counter() + patience_s
        while any(g.left for g in gates) and time.perf_counter() < until:
            await asyncio.sleep(0.05)
        return time.perf_counter()

    async def reconnect(self, count: int) -> Phase:
        """Many gates lose their connection and come back in the same moment; each then sends one event."""
        some = self._random.sample(self.mqtt, min(count, len(self.mqtt)))
        async with self._measured("reconnect") as phase:
            for gate in some:
                gate.cut()
            await asyncio.sleep(0)
            began = time.perf_counter()
            await asyncio.gather(*(gate.connect(60) for gate in some))
            back = time.perf_counter() - began
            for gate in some:
                gate.send(time.perf_counter())
            phase.sent = len(some)
            await self.settled(30)
            phase.note = f"{len(some):,} gates back after {back:.1f} s"
        return phase

    async def images(self, profile: Profile) -> Phase:
        """Face terminals send their records with large pictures."""
        faces = [g for g in self.mqtt if g.spec.family == "face_mqtt"]
        pictures = [
            "data:image/jpeg;base64,"
            + base64.b64encode(
                b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + self._random.randbytes(profile.image_bytes)
            ).decode()
            for _ in range(4)
        ]
        async with self._measured("images", sampled=True) as phase:
            until = time.perf_counter() + profile.images_s
            phase.sent = await self._play(profile.images_per_s, until, faces, pictures)
            await self.settled(30)
        return phase


_STEEP, _RISE = 500, (0.15, 0.3, 0.5, 0.7, 0.85)
"""A rate above the first is come to by steps of two seconds each, which are not counted: no morning begins with its peak, and
what a process does once after its start is no part of one."""


async def play(crowd: Crowd, profile: Profile) -> AsyncIterator[Phase]:
    """The whole load, part after part. `crowd` must be open."""
    for share in _RISE if profile.rate > _STEEP else (1.0,):
        await crowd.live(profile.rate * share, 2, "warm-up")
    yield await crowd.live(profile.rate, profile.live_s)
    if profile.stored:
        yield await crowd.flood(profile)
    if profile.reconnecting:
        yield await crowd.reconnect(profile.reconnecting)
    if profile.images_per_s:
        yield await crowd.images(profile)
