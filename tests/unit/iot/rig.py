"""A bridge on a broker, a ledger and a registry of the test's own: what the tests of the bridge share."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from hub.kernel.intake import Accepted, Arrival
from hub.worker.bridge import Bridge, BridgeOptions
from iot.face_mqtt.decode import FAMILY as FACE
from iot.native.decode import FAMILY as NATIVE

GATES = {
    "F1": {"family": "face_mqtt", "profile": "push-ack", "school": "31000101", "direction": "in"},
    "N1": {"family": "native", "profile": "standard", "school": "31000102", "direction": "in"},
}
IMAGE = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff\xe0" + b"MARK" * 500).decode()


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


class Delivered:
    def __init__(self, topic: str, payload: Any, qos: int = 1, mid: int = 1) -> None:
        self.topic = topic
        self.payload = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        self.qos = qos
        self.mid = mid
        self.generation = 1
        self.retain = False
        self.properties: Mapping[str, str] = {}
        self.received_at = time.time()


class FakeTransport:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delivered] = asyncio.Queue()
        self.log: list[tuple[str, Any]] = []

    async def batch(self, limit: int, linger_s: float = 0.0) -> Sequence[Delivered]:
        taken = [await self.queue.get()]
        await asyncio.sleep(linger_s)
        while len(taken) < limit and not self.queue.empty():
            taken.append(self.queue.get_nowait())
        return taken

    def ack(self, batch: Sequence[Delivered]) -> int:
        self.log += [("puback", d.mid) for d in batch]
        return 0

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> int | None:
        self.log.append(("device", (topic, orjson.loads(payload))))
        return 0

    @property
    def pubacks(self) -> list[int]:
        return [mid for kind, mid in self.log if kind == "puback"]

    @property
    def device_acks(self) -> list[tuple[str, Any]]:
        return [what for kind, what in self.log if kind == "device"]


class Ledger:
    """Keeps what it is given; `faults` are raised first, `refuses` tells which arrivals are poison."""

    def __init__(self, transport: FakeTransport) -> None:
        self.transport = transport
        self.stored: list[Arrival] = []
        self.keys: dict[bytes, int] = {}
        self.faults: list[BaseException] = []
        self.refuses: Callable[[Arrival], bool] = lambda _: False
        self.calls = 0
        self.sizes: dict[bool, list[int]] = {}
        self.gate: dict[bool, asyncio.Event] = {}
        self.acked_before_commit = 0

    async def accept(self, arrivals: list[Arrival]) -> list[Accepted]:
        self.calls += 1
        self.sizes.setdefault(arrivals[0].historical, []).append(len(arrivals))
        before = len(self.transport.log)
        if (held := self.gate.get(arrivals[0].historical)) is not None:
            await held.wait()
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        if any(self.refuses(a) for a in arrivals):
            raise ValueError("cannot be encoded")
        self.acked_before_commit += len(self.transport.log) - before if not self.gate else 0
        answers = []
        for arrival in arrivals:
            assert arrival.key is not None
            duplicate = arrival.key in self.keys
            first = self.keys.setdefault(arrival.key, len(self.keys) + 1)
            if not duplicate:
                self.stored.append(arrival)
            answers.append(Accepted(message=first, duplicate=duplicate))
        return answers


class Rig:
    def __init__(self, gates: Mapping[str, Any] = GATES, **options: Any) -> None:
        self.transport = FakeTransport()
        self.ledger = Ledger(self.transport)
        self.registry: dict[str, Any] = dict(gates)
        self.loads: list[BaseException] = []
        self.told: list[dict[str, dict[str, Any]]] = []
        settings = {"linger_s": 0.001, "backoff_s": 0.01, "touch_s": 0.01, "refresh_gap_s": 0.0, **options}
        self.bridge = Bridge(
            self.transport,
            self.ledger.accept,
            {"face_mqtt": FACE, "native": NATIVE},
            self.load,
            hasher,
            self.touch,
            BridgeOptions(**settings),
        )

    async def load(self) -> Mapping[str, Any]:
        if self.loads:
            raise self.loads.pop(0)
        return dict(self.registry)

    async def touch(self, news: dict[str, dict[str, Any]]) -> None:
        self.told.append(news)

    def send(self, *delivered: Delivered) -> None:
        for one in delivered:
            self.transport.queue.put_nowait(one)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)


def play(scenario: Callable[[Rig], Awaitable[None]], rig: Callable[[], Rig] = Rig) -> Rig:
    async def main() -> Rig:
        made = rig()
        task = asyncio.create_task(made.bridge.run())
        try:
            await scenario(made)
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return made

    return asyncio.run(main())


def face(record: int, mid: int, *, live: bool = True, device: str = "F1", qos: int = 1, **info: Any) -> Delivered:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 7 * 3600))
    content = {
        "customId": f"HS{record:04d}",
        "RecordID": record,
        "VerifyStatus": 1,
        "Sendintime": int(live),
        "time": moment,
        "pic": IMAGE,
        **info,
    }
    return Delivered(f"mqtt/face/{device}/Rec", {"operator": "RecPush", "info": content}, qos, mid)


def native(number: int, mid: int) -> Delivered:
    event = {"id": f"N1-{number}", "seq": number, "time": round(time.time() * 1000), "person": f"HS{number:04d}"}
    return Delivered("campus/v1/31000102/N1/evt", event, 1, mid)
