"""What gates left retained at a real broker: cleared when nobody may say it any more, and never what a gate says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.kernel.intake import Accepted, Arrival
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.gate_retained import Retired, clearing, sweep
from iot.native.decode import FAMILY
from tests.scenario.native.test_reference_publisher import Broker, pytestmark  # noqa: F401 - skips as it does

SCHOOL = "31HP0000001"
ENTRY = {
    "family": "native",
    "profile": "standard",
    "school": SCHOOL,
    "entrance": "A",
    "direction": "in",
    "zone": "Asia/Ho_Chi_Minh",
}


def topic(device: str, what: str, school: str = SCHOOL) -> str:
    return f"campus/v1/{school}/{device}/{what}"


def client(port: int, name: str) -> paho.Client:
    made = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
    for _ in range(100):
        with contextlib.suppress(OSError):
            made.connect("127.0.0.1", port)
            break
        time.sleep(0.1)
    made.loop_start()
    return made


def kept(port: int) -> set[str]:
    """Topics with a retained copy, as somebody who comes now is given them."""
    found: set[str] = set()
    looker = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="looker")
    looker.on_message = lambda _c, _d, m: found.add(m.topic) if m.retain else None
    looker.connect("127.0.0.1", port)
    looker.subscribe("campus/#", 1)
    looker.loop_start()
    time.sleep(0.5)
    looker.disconnect()
    looker.loop_stop()
    return found


def test_copies_of_gates_that_are_gone_are_cleared(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    registry: dict[str, Mapping[str, Any]] = {"N1": ENTRY, "N2": ENTRY}
    stored: list[Arrival] = []

    async def accept(arrivals: list[Arrival]) -> list[Accepted]:
        stored.extend(arrivals)
        return [Accepted(message=n + 1) for n, _ in enumerate(arrivals)]

    async def load() -> Mapping[str, Mapping[str, Any]]:
        return dict(registry)

    async def touch(_news: dict[str, dict[str, Any]]) -> None:
        """Nothing is kept of what is new."""

    async def until(what: Any) -> None:
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(what):
                await asyncio.sleep(0.1)

    async def go() -> None:
        birth = json.dumps({"state": "birth", "bd": 1, "seq": 0}).encode()
        event = json.dumps({"id": "e1", "seq": 1, "time": int(time.time() * 1000), "person": "HS1"}).encode()
        gate = client(broker.port, "gate")
        for device in ("N1", "N2", "old"):
            gate.publish(topic(device, "state"), birth, 1, retain=True).wait_for_publish(5)
        gate.publish(topic("N1", "evt"), event, 1, retain=True).wait_for_publish(5)
        assert len(kept(broker.port)) == 4

        link = MqttClient(
            MqttSettings(host="127.0.0.1", port=broker.port, client_id="b"),
            subscriptions=[(t, 1) for t in FAMILY.subscriptions],
        )
        bridge = Bridge(
            link, accept, {"native": FAMILY}, load, lambda d: "00" * 32, touch, BridgeOptions(), clear=clearing(link)
        )
        await link.start()
        tasks = [
            asyncio.create_task(bridge.run()),
            asyncio.create_task(sweep(lambda: bridge.schools("native"), clearing(link))),
        ]
        # The retired gate's birth and the retained event are gone; what registered gates say of themselves stands.
        await until(lambda: kept(broker.port) == {topic("N1", "state"), topic("N2", "state")})
        # A copy may be given out twice, if the session subscribes twice; the ledger knows it again. The clearing is no message.
        assert stored and all(a.invalid and a.invalid.code == "retained" and a.body for a in stored)
        # Revoked, and moved: what they said where they stood is cleared, by the bridge that saw it happen.
        del registry["N1"]
        registry["N2"] = {**ENTRY, "school": "31HP0000002"}
        gate.publish(topic("N2", "state", "31HP0000002"), birth, 1, retain=True).wait_for_publish(5)
        await bridge.reload()
        await until(lambda: kept(broker.port) == {topic("N2", "state", "31HP0000002")})
        assert all(a.body for a in stored)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.stop()
        gate.disconnect()
        gate.loop_stop()

    try:
        asyncio.run(go())
    finally:
        with contextlib.suppress(Exception):
            broker.kill()


def test_a_look_tells_what_is_gone_once() -> None:
    retired = Retired()
    assert retired.look({"A": "1", "B": "1"}) == []
    assert retired.look({"A": "1", "B": "2"}) == ["campus/v1/1/B/state"]
    assert retired.look({"B": "2"}) == ["campus/v1/1/A/state"]
    assert retired.look({"B": "2"}) == []
