"""Events that overtake each other on their way: Mosquitto, the bridge's parts as its process puts them together, and PostgreSQL.

A number or record id that comes after a higher one is an event like any other: stored once, acknowledged, and the hole it left closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.kernel.ledger import gate_memory, intake, parties
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.gate_asks import GateAsks
from hub.worker.gate_gaps import MISSING, Gaps
from hub.worker.gate_memory import GateMemory
from hub.worker.gates import families, registry
from iot.face_mqtt.simulator import FaceGate
from iot.gate import Entry, Gate, GateOptions, PlannedCheckin
from iot.native.host import HostState
from iot.native.simulator import NativeGate
from tests.scenario.ending.children import until
from tests.scenario.native.test_reference_publisher import Broker, pytestmark  # noqa: F401 - skips as it does

_SCHOOL = "31HP0000001"
_LONG_S = 60.0
Holes = list[list[int]]


class Native(NativeGate):
    """Also remembers which numbers it was asked for."""

    def __init__(self, options: GateOptions) -> None:
        super().__init__(options, with_image=False)
        self.asked: list[bytes] = []

    def _heard(self, payload: bytes) -> None:
        if b"resend" in payload:
            self.asked.append(payload)
        super()._heard(payload)


@contextlib.asynccontextmanager
async def bridge(led: Any, port: int, *, grace_s: float) -> AsyncIterator[None]:
    """A bridge that ends as a kill ends it: no goodbye, and nothing noted at the last moment."""
    known = families()
    client = MqttClient(
        MqttSettings(host="127.0.0.1", port=port, client_id="bridge-1"), presence=HostState(1_000),
        subscriptions=[(topic, 1) for family in known.values() for topic in family.subscriptions],
    )  # fmt: skip

    def publish(said: Any) -> bool:
        return client.publish(said.topic, said.payload) is not None

    gaps, asks = Gaps(publish, grace_s=grace_s), GateAsks(led.core, publish)
    memory = GateMemory(led.core, gaps, asks)
    work = Bridge(
        client, partial(intake.accept, led.core), known, registry(SimpleNamespace(core=led.core)),  # type: ignore[arg-type]
        led.core.hasher, partial(parties.touch_devices, led.core), BridgeOptions(touch_s=0.2), hinted=gaps.hinted, numbered=gaps.seen,
    )  # fmt: skip

    async def note() -> None:
        while True:
            await asyncio.sleep(0.1)
            await memory.note()

    await memory.restore()
    await client.start()
    tasks = [asyncio.create_task(work.run()), asyncio.create_task(gaps.run()), asyncio.create_task(note())]
    try:
        assert await client.connected(10)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        link, client._stopped = client._link, True
        if link is not None:
            link.abort()


async def holes(led: Any, device: str) -> tuple[int, Holes]:
    """What the hub has noted of a gate: the last number seen, and [first, last] of what is missing before it."""
    for one in (await gate_memory.load(led.core))[0]:
        if one.device == device:
            return one.highest, [[first, last] for first, last, _tries in one.holes]
    return 0, []


class Passages:
    """A gate that is led by the hand: it enters events in order, and says them in the order it is told."""

    def __init__(self, gate: Gate, count: int) -> None:
        self.gate = gate
        name, at = gate.options.device, datetime.now(UTC)
        self.entries: dict[int, Entry] = {
            n: gate._enter(PlannedCheckin(at_s=0, person=f"{name}.{n}", happened=at)) for n in range(1, count + 1)
        }

    async def say(self, *numbers: int) -> None:
        """Say these and hear that each is stored."""
        for number in numbers:
            self.gate._publish(self.entries[number])
        await until(lambda: all(self.entries[n].acked for n in numbers), f"{numbers} acknowledged")


async def registered(led: Any, device: str, family: str, profile: str) -> None:
    await parties.add_device(
        led.core, "test", device, family=family, profile=profile, title=device, school=_SCHOOL, entrance="Cổng", direction="in",
        person_ids="department", zone="Asia/Ho_Chi_Minh", secret=led.keys.encrypt(b"s", device.encode()),
    )  # fmt: skip


def test_what_was_overtaken_is_stored_once_and_closes_its_hole(ledger: Any, tmp_path: Path) -> None:
    async def go() -> None:
        broker = Broker(tmp_path)
        native = face = None
        try:
            async with ledger() as led:
                await led.school(_SCHOOL)
                await registered(led, "N1", "native", "standard")
                await registered(led, "F1", "face_mqtt", "push-ack")
                native = Native(GateOptions(device="N1", school=_SCHOOL, port=broker.port))
                face = FaceGate(GateOptions(device="F1", school=_SCHOOL, port=broker.port, image_bytes=1_500))

                async def noted(highest: int, *missing: list[int]) -> None:
                    wanted = (highest, list(missing))

                    async def so() -> bool:
                        return await holes(led, "N1") == wanted

                    await until(so, f"noted as {wanted}")

                given_up = MISSING._value.get()
                async with bridge(led, broker.port, grace_s=_LONG_S):
                    await native._open()
                    await face._open()
                    n, f = Passages(native, 60), Passages(face, 60)
                    await n.say(1, 3)
                    await noted(3, [2, 2])
                    await n.say(2)
                    await noted(3)
                    await n.say(4, *range(6, 51))
                    await noted(50, [5, 5])
                    await f.say(1, 3)
                    await f.say(2)
                    await f.say(*range(5, 51))
                    assert native.asked == [], "what is merely late is not asked for"

                async with bridge(led, broker.port, grace_s=0.2):
                    # The next bridge knows of the hole, asks for it, and it comes after fifty others.
                    await until(lambda: native.asked, "asked for by the next bridge")
                    await n.say(5)
                    await noted(50)
                    await n.say(52, 51, 54)
                    await noted(54, [53, 53])
                    await f.say(4)
                async with bridge(led, broker.port, grace_s=_LONG_S):
                    # Its birth, overtaken by an event, does not make the hub forget what is still missing.
                    await n.say(55)
                    native._seq = 54
                    native._greet()
                    await noted(54, [53, 53])
                    await n.say(56)
                    await noted(56, [53, 53], [55, 55])
                    await n.say(53)
                    await noted(56, [55, 55])
                    # Sent again as it would be when asked for: it is known, and the hole closed.
                    n.gate._publish(n.entries[55])
                    await noted(56)
                    await f.say(52, 51)
                rows = await led.rows("SELECT body->>'person_code' AS person FROM records ORDER BY 1")
                wanted = [f"N1.{k}" for k in range(1, 57)] + [f"F1.{k}" for k in range(1, 53)]
                assert [r["person"] for r in rows] == sorted(wanted), "each once, whatever came before it"
                assert MISSING._value.get() == given_up, "nothing that came was told as missing"
        finally:
            for gate in (native, face):
                if gate is not None and gate._client is not None:
                    await gate._close()
            broker.kill()

    asyncio.run(go())
