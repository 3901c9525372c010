"""Gates, a real broker and the bridge, through a failing ledger and a bridge that is stopped in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ports import DeviceFamily
from hub.worker.bridge import Bridge, BridgeOptions
from iot.face_mqtt.decode import FAMILY as FACE
from iot.face_mqtt.simulator import FaceGate
from iot.gate import Gate, GateOptions, PlannedCheckin, entries_by_mark
from iot.native.decode import FAMILY as NATIVE
from iot.native.simulator import NativeGate
from tests import brokers
from tests.brokers import needs_broker

pytestmark = needs_broker


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


@contextlib.asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[int]:
    """The port of one with room for what gates send while no bridge is there."""
    with brokers.broker(folder, "max_queued_messages 100000", "max_inflight_messages 500") as made:
        yield made.port


class Ledger:
    """Survives the bridges; down for a while at the start."""

    def __init__(self) -> None:
        self.stored: dict[bytes, Arrival] = {}
        self.duplicates = 0
        self.down_until = 0.0

    async def accept(self, arrivals: list[Arrival]) -> list[Accepted]:
        await asyncio.sleep(0.003)
        if asyncio.get_running_loop().time() < self.down_until:
            raise ConnectionError("the database is away")
        answers = []
        for number, arrival in enumerate(arrivals):
            assert arrival.key is not None
            again = arrival.key in self.stored
            self.duplicates += again
            self.stored.setdefault(arrival.key, arrival)
            answers.append(Accepted(message=number, duplicate=again))
        return answers


@contextlib.asynccontextmanager
async def bridge(port: int, ledger: Ledger, gates: Mapping[str, Any], told: dict[str, Any]) -> AsyncIterator[None]:
    async def load() -> Mapping[str, Any]:
        return gates

    async def touch(news: dict[str, dict[str, Any]]) -> None:
        for device, facts in news.items():
            told.setdefault(device, {}).update(facts)

    families: dict[str, DeviceFamily] = {"face_mqtt": FACE, "native": NATIVE}
    client = MqttClient(
        MqttSettings(host="127.0.0.1", port=port, client_id="bridge-1"),
        subscriptions=[(topic, 1) for family in families.values() for topic in family.subscriptions],
    )
    core = Bridge(client, ledger.accept, families, load, hasher, touch, BridgeOptions(backoff_s=0.05, touch_s=0.1))
    await client.start()
    assert await client.connected(10)
    running = asyncio.create_task(core.run())
    try:
        yield
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.stop()


EACH = 40


def plan(gate: int, start: datetime) -> list[PlannedCheckin]:
    return [
        PlannedCheckin(
            at_s=i * 0.05,
            person=f"HS{gate:02d}{i:03d}",
            happened=start + timedelta(seconds=i * 0.05) - (timedelta(hours=5) if i % 10 == 9 else timedelta()),
            live=i % 10 != 9,
            copies=2 if i % 8 == 3 else 1,
            verify={5: "refused", 6: "unregistered"}.get(i, "allowed"),
        )
        for i in range(EACH)
    ]


def test_nothing_is_lost_doubled_or_acknowledged_too_early(tmp_path: Path) -> None:
    asyncio.run(_scenario(tmp_path))


async def _scenario(folder: Path) -> None:
    async with broker(folder) as port:
        registry: dict[str, Any] = {}
        gates: list[Gate] = []

        def options(device: str, school: str, **more: Any) -> GateOptions:
            family = "face_mqtt" if device.startswith("F") else "native"
            registry[device] = {"family": family, "school": school, "direction": "in", "profile": "push-ack"}
            return GateOptions(device=device, school=school, port=port, seed=7, resend_s=0.5, patience_s=15, **more)

        gates.append(FaceGate(options("F1", "31000101")))
        gates.append(FaceGate(options("F2", "31000101", clock_error_s=-3 * 3600), drift=True))
        gates.append(NativeGate(options("N1", "31000102")))
        gates.append(NativeGate(options("N2", "31000102", clock_error_s=-10_000 * 86_400)))
        liar = FaceGate(msgspec.structs.replace(options("F9", "31000103"), claims="F1", patience_s=4))

        ledger, told = Ledger(), dict[str, Any]()
        start = datetime.now(UTC)
        ledger.down_until = asyncio.get_running_loop().time() + 1.0
        async with bridge(port, ledger, registry, told):
            playing = [asyncio.create_task(gate.run(plan(n, start))) for n, gate in enumerate(gates)]
            lying = asyncio.create_task(liar.run(plan(9, start)[:3]))
            await asyncio.sleep(0.8)
            assert not any(entry.acked for gate in gates for entry in gate.books()), "acknowledged before any commit"
            await asyncio.sleep(0.6)
        await asyncio.sleep(0.3)  # no bridge at all: the broker keeps QoS 1, the terminals keep sending
        async with bridge(port, ledger, registry, told):
            await asyncio.gather(*playing, lying)
            await asyncio.sleep(0.2)

    books = [(gate.options.device, entry) for gate in gates for entry in gate.books()]
    assert len(books) == 4 * EACH
    assert [f"{device}/{entry.event}" for device, entry in books if not entry.acked] == []
    assert not any(entry.acked for entry in liar.books())

    facts = [a for a in ledger.stored.values() if a.drafts]
    bodies = [a.drafts[0].body for a in facts if a.drafts]
    people = sorted((b["device"], b["device_time_raw"], b["person_code"]) for b in bodies)
    expected = sorted(
        (device, e.device_time, "unknown" if e.plan.verify == "unregistered" else e.plan.person) for device, e in books
    )
    assert people == expected
    assert ledger.duplicates > 0

    refused = [a for a in ledger.stored.values() if a.invalid is not None]
    assert {a.invalid.code for a in refused if a.invalid} == {"device_mismatch"}

    everything = b"".join(a.body + repr((a.drafts, a.removed)).encode() for a in ledger.stored.values())
    marks = entries_by_mark([*gates, liar])
    assert len(marks) >= 4 * EACH and not any(mark.encode() in everything for mark in marks)
    assert b"base64" not in everything.replace(b"reason='base64'", b"")

    for body in bodies:
        if body["device"] == "N2":
            assert body["quarantine"] == "clock"
        elif body["device"] == "F2" and not body["historical"]:
            delay = datetime.fromisoformat(body["received_at"]) - datetime.fromisoformat(body["corrected_time"])
            assert abs(delay.total_seconds()) < 30
    assert told["F2"]["offset_s"] == pytest.approx(-3 * 3600, abs=3)
    assert told["N1"]["state"] in ("online", "offline")
