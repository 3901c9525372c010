"""Two workers and one connector with a session at a broker: one serves it at a time, and the other soon after it is gone."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hub.bell import Bell
from hub.kernel.ledger import parties
from hub.kernel.ledger import serving as ledger_serving
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router, load_flows
from hub.wiring import FLOWS, House
from hub.worker.main import Worker
from iot.face_mqtt.simulator import FaceGate
from iot.gate import GateOptions
from tests.brokers import broker, needs_broker

SCHOOL = "31HP0123001"


async def another(s: Any) -> tuple[Worker, asyncio.Task[None]]:
    core = Core(s.core.pool, Router(load_flows(FLOWS), {}), s.core.catalogue, s.core.hasher, worker="second")
    core.people_takers = s.core.people_takers
    house = House(s.house.settings, s.house.keys, core, None, Bell(None))
    await house.refresh()
    worker = Worker(house, None)
    return worker, asyncio.create_task(worker.run())


async def nothing() -> None:
    """What a killed process gives back."""


async def is_now(s: Any, query: str, wanted: str) -> bool:
    return bool(await s.led.value(query) == wanted)


@needs_broker
def test_two_workers_share_no_session_and_keep_a_gates_pace(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go(port: int, told: Path) -> None:
        async with stage() as s:
            transport = {
                "kind": "mqtt", "host": "127.0.0.1", "port": port, "client_id": "people", "answers": "mqtt/face/+/Ack", "answer_s": 1.0,
            }  # fmt: skip
            policy = {"timeouts": {"connect_s": 2.0, "read_s": 8.0}}
            await s.connect("face_gates", transport, {"scheme": "none"}, {}, {}, policy)
            await parties.add_device(
                s.core, "test", "G1", family="face_mqtt", profile="push-ack", title="G1", school=SCHOOL, entrance="Cổng chính",
                direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"sealed",
            )  # fmt: skip
            gate = FaceGate(GateOptions(device="G1", school=SCHOOL, port=port))
            await gate._open()
            await s.work()
            served = "SELECT worker FROM connector_serving"
            await s.until(lambda: is_now(s, served, "test"))
            second, task = await another(s)
            try:
                await people(s, range(5))
                await s.until(lambda: len(gate.people) == 5)
                assert await s.led.value("SELECT count(*) FROM connector_serving") == 1
                assert await s.led.value(served) == "test"
                # The one that serves it is gone as after a kill, its lease still standing: the other goes on once that ends.
                monkeypatch.setattr(s.worker._serving, "leave", nothing)
                await s.rest()
                await people(s, range(5, 8))
                began = time.monotonic()
                await s.until(lambda: len(gate.people) == 8)
                assert time.monotonic() - began < 12.0
                assert await s.led.value(served) == "second"
            finally:
                second.stop()
                await asyncio.wait_for(task, 20)
                await gate._close()
            edits = [at for at, word in gate.commands if word == "EditPerson"]
            assert len(edits) == 8, "each command once: no answer was lost"
            assert min(b - a for a, b in pairwise(edits)) >= 0.95, "a second apart, whoever sends"
            assert "already connected" not in told.read_text(errors="replace"), "no session was taken over"
            assert await s.led.value("SELECT count(*) FROM connector_serving") == 0, "whoever ends gives it back"

    # Its log tells every session that another took over.
    with broker(tmp_path, "log_type all") as mosquitto:
        asyncio.run(go(mosquitto.port, mosquitto.log))


@needs_broker
def test_a_worker_whose_database_hangs_gives_the_session_up_by_the_clock(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> set[int]:
        await asyncio.Event().wait()
        raise AssertionError

    async def go(port: int, told: Path) -> None:
        async with stage() as s:
            transport = {
                "kind": "mqtt",
                "host": "127.0.0.1",
                "port": port,
                "client_id": "people",
                "answers": "mqtt/face/+/Ack",
            }
            await s.connect("face_gates", transport, {"scheme": "none"}, {}, {}, {})
            await parties.add_device(
                s.core, "test", "G1", family="face_mqtt", profile="push-ack", title="G1", school=SCHOOL, entrance="Cổng chính",
                direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"sealed",
            )  # fmt: skip
            gate = FaceGate(GateOptions(device="G1", school=SCHOOL, port=port))
            await gate._open()
            try:
                await s.work()
                await people(s, range(1))
                await s.until(lambda: len(gate.people) == 1)
                assert ended(told) == 0
                monkeypatch.setattr(ledger_serving, "take", hang)
                monkeypatch.setattr(ledger_serving, "leave", nothing_of)
                # Its lease at the database may have ended after SERVING_S, when another opens the session: gone by then.
                async with asyncio.timeout(ledger_serving.SERVING_S):
                    while not ended(told):
                        await asyncio.sleep(0.05)
            finally:
                await gate._close()

    with broker(tmp_path, "log_type all") as found:
        asyncio.run(go(found.port, found.log))


def ended(told: Path) -> int:
    """How often the session of the connector was ended."""
    return sum("people" in line and "disconnected" in line for line in told.read_text(errors="replace").splitlines())


async def nothing_of(_core: Any) -> None:
    """What a process that cannot reach its database gives back."""


async def people(s: Any, numbers: range) -> None:
    items = [
        {
            "event": "UPDATE", "updated_at": "2026-09-07T08:00:00+07:00",
            "data": {
                "device": "G1", "person_code": f"HS{n}", "school_code": SCHOOL, "full_name": "Trần Thị Mẫu", "sex": "Nữ",
                "birth_date": "2014-03-05",
            },
        }
        for n in numbers
    ]  # fmt: skip
    await s.push("gate_person", *items)


LONG = "UPDATE connector_serving SET until = clock_timestamp() + interval '1 minute'"
OVER = "UPDATE connector_serving SET until = clock_timestamp() - interval '1 second'"
LEFT = "SELECT until > clock_timestamp() + interval '1 minute' FROM connector_serving"


def test_a_lease_is_one_workers_until_it_ends(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is set in the database: a machine that is slow meanwhile changes nothing."""
    monkeypatch.setattr(ledger_serving, "SERVING_S", 600.0)

    async def go() -> None:
        async with ledger(worker="w1") as one, ledger(worker="w2") as two:
            number = await one.connector("face_gates", "face_gates")
            assert await ledger_serving.take(one.core, [number]) == {number}
            assert await ledger_serving.take(two.core, [number]) == set(), "it is the first one's"
            await one.owner.execute(LONG)
            assert await ledger_serving.take(one.core, [number]) == {number}
            assert await one.value(LEFT)
            assert await ledger_serving.take(two.core, [number]) == set(), "asked for again, it stands longer"
            # The first is killed: it says nothing more.
            await one.owner.execute(OVER)
            assert await ledger_serving.take(two.core, [number]) == {number}
            assert await ledger_serving.take(one.core, [number]) == set(), "and a sleeper that wakes has lost it"
            await ledger_serving.leave(two.core)
            assert await ledger_serving.take(one.core, [number]) == {number}

    asyncio.run(go())
