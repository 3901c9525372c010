"""Counterparties that come to a world for its sweeps: a webhook's subscriber, terminals that are told people, look-ups answered later.

One concern: putting them there, and the terminals' own knowledge. They must never judge, and are never hurt themselves: what is
hurt beside them is the hub.
"""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.subscriber.simulator import SECRET
from connectors.settings import dump, validate
from hub.broker_keeper import commands_user
from hub.kernel.ledger import operations
from iot.face_mqtt.simulator import FaceGate
from iot.gate import GateOptions
from tests.chaos.world import POLICY, SCHOOL, World, connector

FAMILIES, GATES = "families", "face_gates"
_GATE_TIMEOUTS = {"connect_s": 2.0, "read_s": 12.0}
_ANSWER_S = 5.0
"""A terminal that is silent for so long is asked again minutes later: longer than this machine ever holds its answer up."""


async def families(world: World) -> None:
    """Have passages told to families as well, from now on. Twice is once."""
    if "subscriber" in world.sims:
        return
    await world.simulator("subscriber", [])
    url = world.sims["subscriber"]
    settings = {
        "name": FAMILIES, "system": "subscriber", "transport": {"kind": "webhook", "base_url": url},
        "auth": {"scheme": "standard_webhooks"}, "adapter": {}, "policy": POLICY,
    }  # fmt: skip
    await _connect(world, FAMILIES, "subscriber", settings, {"webhook_secret": SECRET})


async def answered_later(world: World, later: bool) -> None:
    """Whether a look-up is a request first, whose answer is fetched when it is due."""
    settings = connector("population", world.sims["population"])
    settings["adapter"]["asynchronous"] = later
    await operations.update_connector(world.house.core, world.house.keys, "chaos", "population", settings, None)


async def _connect(world: World, name: str, system: str, settings: dict[str, Any], secrets: dict[str, str]) -> None:
    core, keys = world.house.core, world.house.keys
    new = name not in core.connectors
    await operations.add_connector(core, keys, "chaos", name, system, dump(validate(settings)), secrets)
    await world.house.refresh()
    if new:
        await asyncio.sleep(
            1.0
        )  # the other processes hear of it by the bell: what they take in before then is not for it


class Terminals:
    """Face terminals at the broker. What they know at the end is what was told them."""

    def __init__(self, world: World, *, prefix: str) -> None:
        self.world = world
        self._prefix = prefix
        self._gates: dict[str, FaceGate] = {}

    async def one(self) -> str:
        """Another terminal, connected and registered; its id."""
        world, mqtt = self.world, self.world.broker
        device = f"{self._prefix}-{len(self._gates)}"
        await world.install((device, "face_mqtt"))
        account = commands_user(world.house.keys)
        settings = {
            "name": GATES, "system": "face_gates", "auth": {"scheme": "none"}, "adapter": {},
            "transport": {
                "kind": "mqtt", "host": mqtt.host, "port": mqtt.port, "username": account.name, "client_id": "chaos-people",
                "answers": "mqtt/face/+/Ack", "answer_s": _ANSWER_S,
            },
            "policy": POLICY | {"timeouts": _GATE_TIMEOUTS},
        }  # fmt: skip
        await _connect(world, GATES, "face_gates", settings, {"mqtt_password": account.secret})
        options = GateOptions(
            device=device, school=SCHOOL, host=mqtt.host, port=mqtt.port, username=device, password=world.devices[device].secret,
        )  # fmt: skip
        gate = FaceGate(options)
        await gate._open()
        self._gates[device] = gate
        return device

    def known(self) -> set[str]:
        """`<gate>/<person>` for everybody who is known where."""
        return {f"{device}/{person}" for device, gate in self._gates.items() for person in gate.people}

    async def close(self) -> None:
        """Disconnect."""
        for gate in self._gates.values():
            await gate._close()
