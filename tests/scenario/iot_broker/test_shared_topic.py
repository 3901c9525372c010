"""One gate writes nonsense and heartbeats to the topics all gates share, over TLS to a real broker with the rights gates have: few rows,
one alarm, and the others' events and greetings come as ever."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import paho.mqtt.client as paho
import pytest

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.embedded import mosquitto
from hub.embedded.area import open_area, remove_area
from hub.embedded.authority import Authority
from hub.embedded.broker import Tls
from hub.embedded.process import free_port
from hub.embedded.supervisor import Supervisor
from hub.kernel.intake import Accepted, Arrival
from hub.worker.bridge import Bridge
from hub.worker.gate_guard import FLOOD
from iot.face_mqtt.decode import FAMILY as FACE
from tests.scenario.iot_broker.test_broker_with_tls import BRIDGE, gate
from tests.scenario.iot_broker.test_flood import sender

pytestmark = pytest.mark.skipif(mosquitto.find_server() is None, reason="mosquitto is not installed")

NONSENSE, HONEST = 2000, 40


class Book:
    """A ledger that takes 5 ms a transaction."""

    def __init__(self) -> None:
        self.refused: list[Arrival] = []
        self.at: dict[str, float] = {}

    async def accept(self, arrivals: list[Arrival]) -> list[Accepted]:
        await asyncio.sleep(0.005)
        for a in arrivals:
            if a.drafts:
                self.at[str(a.drafts[0].body["device"])] = time.monotonic()
            else:
                self.refused.append(a)
        return [Accepted(message=n, duplicate=False) for n in range(len(arrivals))]


def record(number: int) -> bytes:
    here = datetime.now(UTC) + timedelta(hours=7)
    info = {"customId": f"HS{number}", "RecordID": number, "VerifyStatus": 1, "Sendintime": 1}
    return orjson.dumps({"operator": "RecPush", "info": {**info, "time": f"{here:%Y-%m-%d %H:%M:%S}"}})


def test_nonsense_on_a_shared_topic_costs_the_others_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    names = ["BAD", *(f"F{n}" for n in range(HONEST))]
    authority, gates_port = Authority(tmp_path / "ca"), free_port()
    authority.ensure(["gates.example"])
    tls = Tls(gates_port, authority.cert, authority.key, host="127.0.0.1")
    broker = mosquitto.Mosquitto(open_area(data), port=free_port(), bridge=BRIDGE, tls=tls)
    broker.write_config()
    broker.set_devices([gate(name, "face_mqtt") for name in names])

    async def load() -> Any:
        return {
            name: {"family": "face_mqtt", "profile": "push-ack", "school": "S1", "direction": "in"} for name in names
        }

    async def touch(news: Any) -> None:
        return None

    async def scene() -> None:
        book = Book()
        client = MqttClient(
            MqttSettings(host="127.0.0.1", port=broker.port, client_id="b", username=BRIDGE.name), password=BRIDGE.secret,
            subscriptions=[(t, 1) for t in FACE.subscriptions],
        )  # fmt: skip
        bridge = Bridge(client, book.accept, {"face_mqtt": FACE}, load, lambda d: "00" * 32, touch)
        await client.start()
        assert await client.connected(10)
        running = asyncio.create_task(bridge.run())
        clients: list[paho.Client] = []
        greeted: set[str] = set()
        try:
            bad = await asyncio.to_thread(sender, gates_port, "BAD", authority.ca)
            clients.append(bad)
            for n in range(NONSENSE):
                bad.publish("mqtt/face/basic", orjson.dumps({"n": n}), 1)
                if n % 4 == 0:
                    beat = {"operator": "HeartBeat", "info": {"facesluiceId": f"F{n % HONEST}"}}
                    bad.publish("mqtt/face/heartbeat", orjson.dumps(beat), 1)
            sent: dict[str, float] = {}
            for number, name in enumerate(names[1:]):
                one = await asyncio.to_thread(sender, gates_port, name, authority.ca)
                clients.append(one)
                one.on_message = lambda c, u, m: greeted.add(m.topic) if b"Online-Ack" in m.payload else None
                one.subscribe(f"mqtt/face/{name}", 1)
                one.publish("mqtt/face/basic", orjson.dumps({"operator": "Online", "info": {"facesluiceId": name}}), 1)
                sent[name] = time.monotonic()
                one.publish(f"mqtt/face/{name}/Rec", record(number), 1)
            async with asyncio.timeout(40):
                while len(book.at) < HONEST or len(greeted) < HONEST or not bridge.guard.standing()[FLOOD]:
                    await asyncio.sleep(0.05)
            waits = sorted(book.at[name] - sent[name] for name in sent)
            print(f"{HONEST} gates beside the nonsense: median {waits[len(waits) // 2] * 1000:.0f} ms, worst {waits[-1] * 1000:.0f} ms")  # fmt: skip
            assert len(book.refused) == 20 and bridge.guard.standing()[FLOOD] == ["mqtt/face/basic"]
            assert greeted == {f"mqtt/face/{name}" for name in sent} and waits[-1] < 5.0
        finally:
            for one in clients:
                one.disconnect()
                one.loop_stop()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await client.stop()

    async def go() -> None:
        async with Supervisor(data) as supervisor:
            await supervisor.add(broker.spec(), wait=True)
            await scene()

    try:
        asyncio.run(go())
    finally:
        remove_area(data)
