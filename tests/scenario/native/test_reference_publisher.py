"""The reference publisher against Mosquitto and the bridge, each of which is killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.kernel.intake import Accepted, Arrival
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.gate_gaps import Gaps
from iot.native.decode import FAMILY
from iot.native.host import HostState
from tests import brokers
from tests.brokers import needs_broker

PUBLISHER = Path(__file__).resolve().parents[3] / "iot" / "native" / "publisher.py"
SCHOOL, DEVICE = "31HP0000001", "N1"
pytestmark = needs_broker


class Broker(brokers.Broker):
    """One that keeps what it holds on disk: it is killed in the middle."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "persistence true", f"persistence_location {folder}/", "autosave_interval 1")


class Gate:
    """The publisher as its own process; what it said was recorded is what must arrive."""

    def __init__(self, port: int, queue: Path) -> None:
        self._argv = [sys.executable, str(PUBLISHER), "--school", SCHOOL, "--device", DEVICE, "--queue", str(queue),
                      "--host", "127.0.0.1", "--port", str(port), "--again-s", "1"]  # fmt: skip
        self.queue = queue
        self.recorded: list[str] = []
        self._asked: list[str] = []
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._asked = []
        self._reader = threading.Thread(target=self._read, args=(self._process, self._asked), daemon=True)
        self._reader.start()

    def _read(self, process: Any, asked: list[str]) -> None:
        for number, line in enumerate(process.stdout):
            assert line.startswith("recorded ")
            self.recorded.append(asked[number])

    def pass_by(self, person: str) -> None:
        self._asked.append(person)
        self._process.stdin.write(json.dumps({"person": person, "direction": "in", "method": "face"}) + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._reader.join(10)

    def waiting(self) -> int:
        with contextlib.closing(sqlite3.connect(self.queue)) as db:
            return int(db.execute("SELECT COUNT(*) FROM events WHERE acked = 0").fetchone()[0])

    def wrongly_acknowledged(self, person: str) -> None:
        """An event in the queue that is marked as acknowledged and never was sent."""
        body = json.dumps({"person": person, "time": time.time_ns() // 1_000_000})
        with contextlib.closing(sqlite3.connect(self.queue, isolation_level=None)) as db:
            db.execute("INSERT INTO events SELECT MAX(seq) + 1, 'N1-x', ?, 1 FROM events", (body,))


class Hub:
    """The bridge with a ledger that outlives it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.stored: dict[bytes, Arrival] = {}
        self.told: dict[str, Any] = {}

    async def _accept(self, arrivals: list[Arrival]) -> list[Accepted]:
        answers = []
        for number, arrival in enumerate(arrivals):
            assert arrival.key is not None
            answers.append(Accepted(message=number, duplicate=arrival.key in self.stored))
            self.stored.setdefault(arrival.key, arrival)
        return answers

    async def start(self) -> None:
        async def load() -> Mapping[str, Any]:
            return {DEVICE: {"family": "native", "school": SCHOOL, "direction": "in", "profile": "standard"}}

        async def touch(news: dict[str, dict[str, Any]]) -> None:
            self.told |= news.get(DEVICE, {})

        self.client = MqttClient(
            MqttSettings(host="127.0.0.1", port=self._port, client_id="bridge-1"),
            subscriptions=[(topic, 1) for topic in FAMILY.subscriptions], presence=HostState(1_000),
        )  # fmt: skip
        gaps = Gaps(lambda p: self.client.publish(p.topic, p.payload) is not None, grace_s=0.3, again_s=1.0)
        work = Bridge(
            self.client, self._accept, {"native": FAMILY}, load, lambda d: hmac.digest(b"k", d, "sha256").hex(), touch,
            BridgeOptions(touch_s=0.1), hinted=gaps.hinted, numbered=gaps.seen,
        )  # fmt: skip
        await self.client.start()
        self._tasks = [asyncio.create_task(work.run()), asyncio.create_task(gaps.run())]
        assert await self.client.connected(10)

    async def kill(self) -> None:
        """As a kill leaves it: no goodbye, so the broker says the Will."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        link, self.client._stopped = self.client._link, True
        if link is not None:
            link.abort()
        await asyncio.sleep(0.1)

    def people(self) -> list[str]:
        return sorted(d.body["person_code"] for a in self.stored.values() for d in a.drafts or [])


async def until(true: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s: {what}")


def test_nothing_is_lost_or_doubled_whoever_is_killed(tmp_path: Path) -> None:
    async def play() -> None:
        broker = Broker(tmp_path)
        hub = Hub(broker.port)
        gate = Gate(broker.port, tmp_path / "queue.db")
        try:
            for n in range(5):
                gate.pass_by(f"HS{n:04}")
            await until(lambda: len(gate.recorded) == 5, "recorded")
            await asyncio.sleep(1.0)
            assert gate.waiting() == 5 and not hub.stored, "while the hub has never said it listens, events are held"
            await hub.start()
            await until(lambda: gate.waiting() == 0, "the first events acknowledged")
            await until(lambda: hub.told.get("state") == "online", "its birth told")

            for n in range(5, 40):
                gate.pass_by(f"HS{n:04}")
            await asyncio.sleep(0.05)
            gate.kill()
            gate.start()
            for n in range(40, 60):
                gate.pass_by(f"HS{n:04}")
            await asyncio.sleep(0.1)
            await hub.kill()
            for n in range(60, 80):
                gate.pass_by(f"HS{n:04}")
            await until(lambda: "HS0079" in gate.recorded, "recorded")
            await asyncio.sleep(0.3)
            assert gate.waiting() >= 20, "without the bridge nothing is acknowledged"
            await hub.start()
            for n in range(80, 100):
                gate.pass_by(f"HS{n:04}")
            broker.kill()
            broker.start()
            for n in range(100, 120):
                gate.pass_by(f"HS{n:04}")
            await until(lambda: gate.waiting() == 0 and "HS0119" in gate.recorded, "all acknowledged", 40)
            assert set(gate.recorded) <= set(hub.people()), "what was recorded arrived"
            assert len(hub.people()) == len(set(hub.people())), "and once"

            # An event the gate takes for acknowledged, which never came: its birth tells the number, and it is asked for.
            gate.kill()
            gate.wrongly_acknowledged("HS-missing")
            gate.start()
            await until(lambda: "HS-missing" in hub.people(), "the missing one, sent when asked")
            gate.pass_by("HS-after")
            await until(lambda: "HS-after" in hub.people(), "the next event")
            assert len(hub.people()) == len(set(hub.people()))
        finally:
            gate.kill()
            with contextlib.suppress(Exception):
                await hub.kill()
            broker.kill()

    asyncio.run(play())
