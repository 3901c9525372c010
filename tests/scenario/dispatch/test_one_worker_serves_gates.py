"""Two workers and one connector with a session at a broker: one serves it at a time, and the other soon after it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator
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

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
SCHOOL = "31HP0123001"


@contextlib.asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """A broker and its log, which tells every session that another took over."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, told = folder / "mosquitto.conf", folder / "mosquitto.log"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\nlog_type all\nlog_dest stderr\n"
    )
    assert MOSQUITTO is not None
    with told.open("wb") as log:
        process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=log, stderr=log)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            await asyncio.sleep(0.05)
        yield port, told
    finally:
        process.terminate()
        process.wait(10)


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


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_two_workers_share_no_session_and_keep_a_gates_pace(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with broker(tmp_path) as (port, told), stage() as s:
            transport = {
                "kind": "mqtt", "host": "127.0.0.1", "port": port, "client_id": "people", "answers": "mqtt/face/+/Ack", "answer_s": 1.0,
            }  # fmt: skip
            policy = {"timeouts": {"connect_s": 2.0, "read_s": 8.0}}
            await s.connect("face_gates", transport, {"scheme": "none"}, {}, {}, policy)
            await parties.add_device(
                s.core, "test", "G1", family="face_mqtt", profile="push-ack", title="G1", school=SCHOOL, entrance="Cổng chính",
                direction="in", zone="Asia/Ho_Chi_Minh", secret=b"sealed",
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

    asyncio.run(go())


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


def test_a_lease_is_one_workers_until_it_ends(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_serving, "SERVING_S", 0.4)

    async def go() -> None:
        async with ledger(worker="w1") as one, ledger(worker="w2") as two:
            number = await one.connector("face_gates", "face_gates")
            assert await ledger_serving.take(one.core, [number]) == {number}
            assert await ledger_serving.take(two.core, [number]) == set(), "it is the first one's"
            await asyncio.sleep(0.25)
            assert await ledger_serving.take(one.core, [number]) == {number}
            await asyncio.sleep(0.25)
            assert await ledger_serving.take(two.core, [number]) == set(), "asked for again, it stands longer"
            # The first is killed: it says nothing more.
            await asyncio.sleep(0.5)
            assert await ledger_serving.take(two.core, [number]) == {number}
            assert await ledger_serving.take(one.core, [number]) == set(), "and a sleeper that wakes has lost it"
            await ledger_serving.leave(two.core)
            assert await ledger_serving.take(one.core, [number]) == {number}

    asyncio.run(go())
