"""The bridge process: the devices' broker on one side, the ledger on the other.

Composes; the work is `hub.worker.bridge`'s. It must never acknowledge anything itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub import lean
from hub.kernel.ledger import intake, parties
from hub.kernel.ports import DeviceFamily
from hub.settings import Settings
from hub.wiring import House, open_house
from hub.worker import gate_held, gate_retained, gate_watch
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.gate_album import Album
from hub.worker.gate_asks import GateAsks
from hub.worker.gate_gaps import Gaps
from hub.worker.gate_memory import GateMemory
from hub.worker.lasting import lasting
from iot.face_mqtt.decode import FaceMqtt
from iot.hanet.mqtt import HanetMqtt
from iot.native.decode import Native
from iot.native.host import HostState

log = logging.getLogger("hub.gates")

_CLIENT_ID = "lien-thong-bridge-1"
_FIELDS = (
    "family", "profile", "school", "entrance", "direction", "zone", "places", "trace", "pictures", "offset_s", "offset_age_s",
)  # fmt: skip
_CONNECTIONS = 5
"""Kept open from the start: commits side by side, history and the registry shall not wait for a new one."""

_END_S = 4.0
"""How long an end waits for the database: what is not committed the broker gives the next bridge."""


def families() -> dict[str, DeviceFamily]:
    """The device families this hub speaks, by name."""
    return {"face_mqtt": FaceMqtt(), "native": Native(), "hanet": HanetMqtt()}


def registry(house: House) -> Any:
    """A loader of the registry for the bridge: device → its entry, without secrets."""

    async def load() -> Mapping[str, Mapping[str, Any]]:
        rows = await parties.devices(house.core)
        return {r["id"]: {k: r[k] for k in _FIELDS} for r in rows}

    return load


async def main(settings: Settings) -> None:
    """Run the bridge until SIGTERM or SIGINT. What is not committed by then stays with the broker."""
    mqtt = settings.mqtt
    assert mqtt.host is not None and mqtt.password is not None, "the supervisor gives the bridge its broker"
    async with open_house(settings, "bridge", pool_min=_CONNECTIONS) as house:
        known = families()
        client = MqttClient(
            MqttSettings(host=mqtt.host, port=mqtt.port, tls=mqtt.tls, ca_pem=mqtt.ca_file.read_text() if mqtt.ca_file else None,
                         username=mqtt.username, client_id=_CLIENT_ID),
            password=mqtt.password.get_secret_value(),
            subscriptions=[(topic, 1) for family in known.values() for topic in family.subscriptions],
            presence=HostState(time.time_ns() // 1_000_000),
        )  # fmt: skip
        asks = GateAsks(house.core, lambda p: client.publish(p.topic, p.payload) is not None)
        gaps = Gaps(lambda p: client.publish(p.topic, p.payload) is not None)

        pictures = settings.pictures
        album = Album(house.core, house.keys.encrypt, pictures.hours) if pictures.hours else None

        def hinted(family: str, facts: dict[str, Any], entry: Mapping[str, Any]) -> None:
            asks.hinted(family, facts, entry)
            gaps.hinted(family, facts, entry)

        bridge = Bridge(
            client, lambda arrivals: intake.accept(house.core, arrivals), known, registry(house), house.core.hasher,
            lambda facts: parties.touch_devices(house.core, facts),
            BridgeOptions(history_capacity=max(1, house.settings.mqtt.inflight_messages // 2)), hinted=hinted,
            numbered=gaps.seen, album=album, clear=gate_retained.clearing(client), moment=house.core.moment,
        )  # fmt: skip
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        memory = GateMemory(house.core, gaps, asks)
        await memory.restore()
        await client.start()
        lean.settle()
        lean.seldom()
        running = asyncio.create_task(bridge.run())
        beside: dict[str, Callable[[], Awaitable[None]]] = {
            "reading the small tables": house.follow,
            "asking terminals": asks.run,
            "asking for gaps": gaps.run,
            "hearing of changes": partial(gate_watch.follow, house, bridge),
            "noting what is known of gates": memory.run,
            "clearing what gates left behind": partial(
                gate_retained.sweep, partial(bridge.schools, "native"), gate_retained.clearing(client)
            ),
            "telling what is held back": partial(gate_held.say, house.core, bridge.guard.standing),
        }
        if album is not None:
            beside["keeping pictures"] = album.run
        others = [asyncio.create_task(lasting(name, loop)) for name, loop in beside.items()]
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        house.end_within(_END_S)
        for task in (running, stopping, *others):
            task.cancel()
        results = await asyncio.gather(running, stopping, *others, return_exceptions=True)
        await client.stop()
        if isinstance(results[0], Exception):
            raise results[0]
