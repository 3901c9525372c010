"""What a gate says in MQTT 5's user properties, through Mosquitto and the bridge into the ledger."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.kernel.ledger import intake
from hub.worker.bridge import Bridge, BridgeOptions
from iot.native.decode import FAMILY
from tests.scenario.iot.test_gates_to_bridge import broker, hasher, pytestmark  # noqa: F401 - skips as it does

SCHOOL, DEVICE = "31HP0000001", "N1"
TOPIC = f"campus/v1/{SCHOOL}/{DEVICE}/evt"
TRACES = [f"00-{n:032x}-00f067aa0ba902b7-01" for n in range(1, 4)]


def say(port: int) -> None:
    """One event with a trace beside it, one in it, one in both places, and one of a gate that speaks 3.1.1."""
    for protocol, first in ((paho.MQTTv5, 1), (paho.MQTTv311, 4)):
        gate = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"gate-{first}", protocol=protocol)
        gate.connect("127.0.0.1", port)
        gate.loop_start()
        for number in range(first, first + (3 if first == 1 else 1)):
            event = {"id": f"N1-{number}", "seq": number, "time": time.time_ns() // 1_000_000, "person": "HS1"}
            beside = Properties(PacketTypes.PUBLISH) if first == 1 else None
            if beside is not None and number != 2:
                beside.UserProperty = [("pos", "cổng A"), ("traceparent", TRACES[0])]
            if number in (2, 3):
                event["traceparent"] = TRACES[number - 1]
            gate.publish(TOPIC, json.dumps(event), 1, properties=beside).wait_for_publish(10)
        gate.disconnect()
        gate.loop_stop()


def test_a_trace_beside_an_event_is_kept_with_its_message(ledger: Any, tmp_path: Path) -> None:
    async def load() -> Mapping[str, Any]:
        return {DEVICE: {"family": "native", "school": SCHOOL, "direction": "in", "profile": "standard"}}

    async def touch(_: dict[str, dict[str, Any]]) -> None:
        return None

    async def scenario() -> None:
        async with broker(tmp_path) as port, ledger() as led:
            client = MqttClient(
                MqttSettings(host="127.0.0.1", port=port, client_id="bridge-1"),
                subscriptions=[(topic, 1) for topic in FAMILY.subscriptions],
            )
            bridge = Bridge(
                client, lambda a: intake.accept(led.core, a), {"native": FAMILY}, load, hasher, touch, BridgeOptions()
            )
            await client.start()
            assert await client.connected(10)
            running = asyncio.create_task(bridge.run())
            try:
                await asyncio.to_thread(say, port)
                async with asyncio.timeout(10):
                    while client.stats.acked < 4:
                        await asyncio.sleep(0.02)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await client.stop()
            rows = await led.rows("SELECT attributes FROM messages ORDER BY id")
            kept = [
                row["attributes"] if isinstance(row["attributes"], dict) else json.loads(row["attributes"])
                for row in rows
            ]
            told = [{"topic": TOPIC, "family": "native", "traceparent": trace} for trace in TRACES]
            assert kept == [*told, {"topic": TOPIC, "family": "native"}]

    asyncio.run(scenario())
