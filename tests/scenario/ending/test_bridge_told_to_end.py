"""A bridge told to end while its batch waits for a PostgreSQL that stands still: it ends, and the next one takes what the broker kept."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from hub.kernel.ledger import parties
from hub.kernel.store.db import patient
from iot.native.host import STATE_TOPIC
from tests.scenario.ending.children import Processes, until
from tests.scenario.native.test_reference_publisher import Broker, pytestmark  # noqa: F401 - skips as it does

_SCHOOL, _DEVICE = "31HP0000001", "N1"


class Gate:
    """Says each event once and remembers what was acknowledged: only the broker can bring it again."""

    def __init__(self, port: int) -> None:
        self.acked: set[str] = set()
        self.listened = False
        """Whether a bridge says that it listens."""
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="gate", clean_session=False)
        self._client.on_message = lambda _c, _d, message: self._heard(json.loads(message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(f"campus/v1/{_SCHOOL}/{_DEVICE}/cmd", 1), (STATE_TOPIC, 1)])
        self._client.loop_start()

    def _heard(self, told: dict[str, Any]) -> None:
        self.acked.update(told.get("ack", ()))
        if "state" in told:
            self.listened = told["state"] == "online"

    def passes(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            now = time.time_ns() // 1_000_000
            said = {"id": f"e{number}", "seq": number, "person": f"HS{number:04}", "time": now, "direction": "in"}
            self._client.publish(f"campus/v1/{_SCHOOL}/{_DEVICE}/evt", json.dumps(said), 1)

    def end(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.parametrize("where", ["before", "within"])
def test_a_batch_whose_commit_hangs_stays_with_the_broker(
    ledger: Any, processes: Processes, tmp_path: Path, where: str
) -> None:
    """PostgreSQL stands still before the batch comes, or within its transaction."""

    async def go() -> None:
        folder = tmp_path / "broker"
        folder.mkdir()
        broker = Broker(folder)
        gate = None
        try:
            async with ledger() as led:
                await led.school(_SCHOOL)
                await parties.add_device(
                    led.core, "test", _DEVICE, family="native", profile="standard", title="Cổng", school=_SCHOOL, entrance="Cổng chính",
                    direction="in",
                    person_ids="department", zone="Asia/Ho_Chi_Minh", secret=led.keys.encrypt(b"s", _DEVICE.encode()),
                )  # fmt: skip
                settings = {
                    "MQTT__HOST": "127.0.0.1",
                    "MQTT__PORT": broker.port,
                    "MQTT__USERNAME": "bridge",
                    "MQTT__PASSWORD": "x",
                }
                first = processes.start("bridge", **settings)
                gate = Gate(broker.port)
                acked, listened = gate.acked, lambda: gate.listened
                await until(listened, "the bridge listens")
                gate.passes(1, 5)
                await until(lambda: len(acked) == 5, "the first are stored and acknowledged")
                holder = await led.owner.acquire()
                locked = holder.transaction()
                if where == "within":
                    await locked.start()
                    await patient(holder)
                    await holder.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
                    gate.passes(6, 25)
                    await asyncio.sleep(1.0)
                with processes.database_frozen():
                    if where == "before":
                        gate.passes(6, 25)
                        await asyncio.sleep(1.5)
                    await first.told_to_end()
                    assert len(acked) == 5, "nothing is acknowledged that is not committed"
                if where == "within":
                    await locked.rollback()
                await led.owner.release(holder)
                assert await led.value("SELECT count(*) FROM records") >= 5
                assert not gate.listened, "it said goodbye"
                processes.start("bridge", **settings)
                await until(lambda: len(acked) == 25, "the broker gave the next one all of it")
                rows = await led.rows("SELECT body->>'person_code' AS person FROM records ORDER BY 1")
                assert [r["person"] for r in rows] == [f"HS{n:04}" for n in range(1, 26)], "each once"
        finally:
            if gate is not None:
                gate.end()
            broker.kill()

    asyncio.run(go())
