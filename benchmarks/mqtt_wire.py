"""The smallest MQTT 3.1.1 client that will do: gates that send check-ins, and a watcher that counts acknowledgements.

One concern: load and its timing, at so little cost that the broker and the hub are what is measured. It is no client
for anything else: QoS 1 out, QoS 0 in, no repeats.
As a process: `python -m benchmarks.mqtt_wire '<job>'`, one JSON line out.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.rig import SCHOOL, percentile

DEVICES = 100


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def _packet(head: int, rest: bytes) -> bytes:
    size, out = len(rest), bytearray([head])
    while True:
        size, digit = divmod(size, 128)
        out.append(digit | (128 if size else 0))
        if not size:
            return bytes(out) + rest


def connect(client: str, user: str, password: str, clean: bool = True) -> bytes:
    """CONNECT without a will."""
    flags = 0xC0 | (2 if clean else 0)
    return _packet(
        0x10,
        _text("MQTT") + bytes([4, flags]) + (60).to_bytes(2, "big") + _text(client) + _text(user) + _text(password),
    )


def subscribe(topics: list[tuple[str, int]]) -> bytes:
    """SUBSCRIBE number 1."""
    return _packet(0x82, b"\x00\x01" + b"".join(_text(topic) + bytes([qos]) for topic, qos in topics))


def publish(topic: str, payload: bytes, number: int) -> bytes:
    """PUBLISH at QoS 1."""
    return _packet(0x32, _text(topic) + (number % 65535 + 1).to_bytes(2, "big") + payload)


class Client(asyncio.Protocol):
    """One connection. `hear(kind, body)` is called for every packet."""

    def __init__(self, hear: Callable[[int, memoryview], None] | None = None) -> None:
        self._hear = hear
        self._rest = b""
        self._transport: Any = None
        self.count = dict.fromkeys(range(16), 0)
        self.changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        view, at, end = memoryview(data), 0, len(data)
        while end - at >= 2:
            size, shift, place = 0, 0, at + 1
            while place < end:
                digit = data[place]
                size |= (digit & 127) << shift
                shift += 7
                place += 1
                if not digit & 128:
                    break
            else:
                break
            if place + size > end:
                break
            kind = data[at] >> 4
            self.count[kind] += 1
            if self._hear is not None:
                self._hear(kind, view[place : place + size])
            at = place + size
        self._rest = data[at:]
        self.changed.set()

    async def write(self, data: bytes) -> None:
        """Write, waiting while the socket is full."""
        await self._writable.wait()
        self._transport.write(data)

    async def seen(self, kind: int, count: int, patience_s: float = 60.0) -> None:
        """Wait for so many packets of a kind. Raises TimeoutError."""
        async with asyncio.timeout(patience_s):
            while self.count[kind] < count:
                self.changed.clear()
                await self.changed.wait()

    def close(self) -> None:
        """Say goodbye."""
        self._transport.write(b"\xe0\x00")
        self._transport.close()


async def opened(
    job: dict[str, Any], client: str, hear: Callable[[int, memoryview], None] | None = None, *, clean: bool = True
) -> Client:
    """A connected client of the job's broker and account."""
    _, made = await asyncio.get_running_loop().create_connection(lambda: Client(hear), "127.0.0.1", job["port"])
    await made.write(connect(client, job["user"] or client, job["password"], clean))
    await made.seen(2, 1)
    return made


def event(number: int, mark: str) -> tuple[str, bytes]:
    """Topic and payload of one live check-in, as a gate of the hub's own family writes it: each counts its own events."""
    device = f"BENCH{number % DEVICES:03d}"
    body = {
        "id": f"{mark}-{number}", "seq": number // DEVICES, "time": int(time.time() * 1000), "person": f"31{number % 1_000_000:08d}", "direction": "in",
        "method": "face", "similarity": 97.25, "verify": "allowed",
    }  # fmt: skip
    return f"campus/v1/{SCHOOL}/{device}/evt", json.dumps(body, separators=(",", ":")).encode()


async def session(job: dict[str, Any]) -> dict[str, Any]:
    """Make (or renew) the persistent session of `client` with its subscriptions, and leave: the broker queues from now on."""
    for clean in (True, False):
        made = await opened(job, job["client"], clean=clean)
        if not clean:
            await made.write(subscribe([(t, 1) for t in job["topics"]]))
            await made.seen(9, 1)
        made.close()
        await asyncio.sleep(0.1)
    return {"ok": True}


async def forget(job: dict[str, Any]) -> dict[str, Any]:
    """End the session of `client` for good."""
    made = await opened(job, job["client"], clean=True)
    made.close()
    await asyncio.sleep(0.1)
    return {"ok": True}


async def load(job: dict[str, Any]) -> dict[str, Any]:
    """Send `count` check-ins as fast as the broker takes them."""
    started = time.perf_counter()
    made = await opened(job, "bench-load")
    sent = 0
    while sent < job["count"]:
        block = range(sent, min(job["count"], sent + 200))
        await made.write(b"".join(publish(*event(n, job["mark"]), n) for n in block))
        sent += len(block)
        await made.seen(4, max(0, sent - 400))
    await made.seen(4, sent)
    made.close()
    return {"wall_s": time.perf_counter() - started}


async def watch(job: dict[str, Any]) -> dict[str, Any]:
    """Count the device acknowledgements of `count` check-ins: from the first to the last one."""
    times = [0.0, 0.0]
    made = await opened(job, "bench-watch")

    def hear(kind: int, _body: memoryview) -> None:
        if kind == 3:
            times[1] = time.perf_counter()
            times[0] = times[0] or times[1]

    made._hear = hear
    await made.write(subscribe([(f"campus/v1/{SCHOOL}/+/cmd", 0)]))
    await made.seen(9, 1)
    print(json.dumps({"watching": True}), flush=True)
    await made.seen(3, job["count"], job["patience_s"])
    used = resource.getrusage(resource.RUSAGE_SELF)
    wall = times[1] - times[0]
    return {
        "count": made.count[3],
        "wall_s": wall,
        "per_s": (job["count"] - 1) / wall,
        "cpu": round((used.ru_utime + used.ru_stime) / wall, 2),
    }


async def live(job: dict[str, Any]) -> dict[str, Any]:
    """Send `rate` check-ins a second for `seconds`, and time each from the moment it was due until its device acknowledgement.

    What this process itself is late with counts as latency like everything else, and is told beside it: `late` is how
    long after its due time an event was written, `paused` how much longer than asked for this process slept. With
    `events` (a path) every event's times are written there: due, written, acknowledged, on the machine's one clock.
    """
    due: dict[str, float] = {}
    written: dict[str, float] = {}
    took: list[float] = []
    told: dict[str, tuple[float, float, float]] = {}

    def hear(kind: int, body: memoryview) -> None:
        if kind == 3:
            ids = json.loads(bytes(body[2 + int.from_bytes(body[:2], "big") :])).get("ack", ())
            now = time.perf_counter()
            for name in ids:
                left = due.pop(name, None)
                if left is not None:
                    took.append(now - left)
                    told[name] = left, written[name], now

    watcher = await opened(job, "bench-watch", hear)
    await watcher.write(subscribe([(f"campus/v1/{SCHOOL}/+/cmd", 0)]))
    await watcher.seen(9, 1)
    made = [await opened(job, f"bench-live-{n}") for n in range(10)]
    total, step = int(job["rate"] * job["seconds"]), 0.002
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    sent = 0
    late: list[float] = []
    paused: list[float] = []
    while sent < total:
        now = time.perf_counter()
        target = min(total, int((now - started) * job["rate"]) + 1)
        for n in range(sent, target):
            topic, payload = event(n, job["mark"])
            name = f"{job['mark']}-{n}"
            due[name] = started + n / job["rate"]
            await made[n % 10].write(publish(topic, payload, n))
            written[name] = at = time.perf_counter()
            late.append(at - due[name])
        sent = target
        slept = time.perf_counter()
        await asyncio.sleep(step)
        paused.append(time.perf_counter() - slept - step)
    deadline = time.perf_counter() + 20
    while due and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / wall
    if job.get("events"):
        Path(job["events"]).write_text(json.dumps(told))
    shares = {
        f"{name}p{round(share * 100)}_ms": round(percentile(values, share) * 1000, 1)
        for name, values in (("", took), ("late_", late), ("paused_", paused))
        for share in (0.5, 0.99)
    }
    return {"sent": sent, "acked": len(took), "per_s": len(took) / wall, "cpu": round(cpu, 2), **shares,
            "slowest_ms": round(max(took, default=0.0) * 1000, 1)}  # fmt: skip


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    work = {"session": session, "forget": forget, "load": load, "watch": watch, "live": live}[given["kind"]]
    print(json.dumps({"done": True, **uvloop.run(work(given))}), flush=True)
