"""One gate floods a real broker and bridge, over TLS as gates come; another one's events must not feel it, and nothing of either is
lost."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
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
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.gate_guard import FLOOD, GuardOptions
from iot.native.decode import FAMILY as NATIVE
from tests.scenario.iot_broker.test_broker_with_tls import BRIDGE, gate

pytestmark = pytest.mark.skipif(mosquitto.find_server() is None, reason="mosquitto is not installed")

FLOODED, CALM = 4000, 40


class Book:
    """A ledger that takes 5 ms a transaction and a little for each item."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    async def accept(self, arrivals: list[Arrival]) -> list[Accepted]:
        await asyncio.sleep(0.005 + 0.0004 * len(arrivals))
        for a in arrivals:
            assert a.drafts, a.invalid
            self.at[a.drafts[0].key + a.drafts[0].body["person_code"]] = time.monotonic()
        return [Accepted(message=n, duplicate=False) for n in range(len(arrivals))]


def event(number: int) -> bytes:
    now = int(datetime.now(UTC).timestamp() * 1000)
    said = {"id": f"e{number}", "seq": number, "time": now, "person": f"HS{number:05d}", "direction": "in"}
    return msgspec.json.encode({**said, "method": "card", "verify": "allowed", "is_historical": False})


def sender(port: int, name: str, ca: Path) -> paho.Client:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
    client.max_inflight_messages_set(1000)
    client.username_pw_set(name, f"secret-of-{name}")
    client.tls_set_context(ssl.create_default_context(cafile=str(ca)))
    client.connect("localhost", port)
    client.loop_start()
    return client


def test_a_flood_stays_one_gates_own(tmp_path: Path) -> None:
    data, users = tmp_path / "data", [gate("N1", "native"), gate("N2", "native")]
    authority, gates_port = Authority(tmp_path / "ca"), free_port()
    authority.ensure(["gates.example"])
    tls = Tls(gates_port, authority.cert, authority.key, host="127.0.0.1")
    broker = mosquitto.Mosquitto(open_area(data), port=free_port(), bridge=BRIDGE, tls=tls)
    broker.write_config()
    broker.set_devices(users)
    entry = {
        "family": "native",
        "profile": "native",
        "school": "S1",
        "direction": "in",
        "entrance": "A",
        "zone": "Asia/Ho_Chi_Minh",
    }

    async def load() -> Any:
        return {u.name: entry for u in users}

    async def touch(news: Any) -> None:
        return None

    async def scene() -> tuple[Book, list[float], dict[str, list[str]]]:
        book = Book()
        client = MqttClient(
            MqttSettings(host="127.0.0.1", port=broker.port, client_id="b", username=BRIDGE.name), password=BRIDGE.secret,
            subscriptions=[(t, 1) for t in NATIVE.subscriptions],
        )  # fmt: skip
        options = BridgeOptions(guard=GuardOptions(per_s=20, burst=100))
        bridge = Bridge(client, book.accept, {"native": NATIVE}, load, lambda d: "00" * 32, touch, options)
        await client.start()
        assert await client.connected(10)
        running = asyncio.create_task(bridge.run())
        flood, calm = sender(gates_port, "N1", authority.ca), sender(gates_port, "N2", authority.ca)
        sent: dict[int, float] = {}
        told = [event(n) for n in range(FLOODED)]
        for payload in told:
            flood.publish("campus/v1/S1/N1/evt", payload, 1)
        for n in range(CALM):
            sent[n] = time.monotonic()
            calm.publish("campus/v1/S1/N2/evt", event(n), 1)
            await asyncio.sleep(0.05)
        until, again = time.monotonic() + 40, time.monotonic() + 3
        while len(book.at) < FLOODED + CALM and time.monotonic() < until:
            await asyncio.sleep(0.05)
            if time.monotonic() > again:  # as a gate does that misses acknowledgements
                again = time.monotonic() + 3
                there = {int(k.rpartition("HS")[2]) for k in book.at if k.startswith("N1/")}
                for n in sorted(set(range(FLOODED)) - there):
                    flood.publish("campus/v1/S1/N1/evt", told[n], 1)
        standing = bridge.guard.standing()
        waits = sorted(at - sent[int(k.rpartition("HS")[2])] for k, at in book.at.items() if k.startswith("N2/"))
        for one in (flood, calm):
            one.disconnect()
            one.loop_stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.stop()
        return book, waits, standing

    async def go() -> Any:
        async with Supervisor(data) as supervisor:
            await supervisor.add(broker.spec(), wait=True)
            return await scene()

    try:
        book, waits, standing = asyncio.run(go())
    finally:
        remove_area(data)
    assert len(book.at) == FLOODED + CALM
    assert standing[FLOOD] == ["N1"]
    print(
        f"calm gate behind a flood of {FLOODED}: median {waits[len(waits) // 2] * 1000:.0f} ms, worst {waits[-1] * 1000:.0f} ms"
    )
    assert waits[len(waits) // 2] < 0.5 and waits[-1] < 3.0
