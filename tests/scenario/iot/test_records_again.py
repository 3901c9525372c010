"""A face terminal asked over a real broker to send its records again: what never came comes, what came is known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.kernel.ledger import gate_commands, gates, intake, parties
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.gate_asks import GateAsks
from hub.worker.gates import families, registry
from iot.face_mqtt.decode import PROFILES
from iot.face_mqtt.simulator import FaceGate
from iot.gate import GateOptions, PlannedCheckin
from tests.brokers import broker, needs_broker

pytestmark = needs_broker
SCHOOL = "31HP0000001"


@contextlib.asynccontextmanager
async def bridge(port: int, core: Any) -> AsyncIterator[GateAsks]:
    known = families()
    client = MqttClient(
        MqttSettings(host="127.0.0.1", port=port, client_id="bridge-1"),
        subscriptions=[(topic, 1) for family in known.values() for topic in family.subscriptions],
    )
    asks = GateAsks(core, lambda p: client.publish(p.topic, p.payload) is not None, every_s=0.1)
    house: Any = SimpleNamespace(core=core)
    made = Bridge(
        client, lambda arrivals: intake.accept(core, arrivals), known, registry(house), core.hasher,
        lambda facts: parties.touch_devices(core, facts), BridgeOptions(touch_s=0.2), hinted=asks.hinted,
    )  # fmt: skip
    await client.start()
    assert await client.connected(10)
    tasks = [asyncio.create_task(made.run()), asyncio.create_task(asks.run())]
    try:
        yield asks
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.stop()


async def until(what: Any, seconds: float = 15.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await what()):
            await asyncio.sleep(0.1)
        return found


def test_what_a_terminal_never_sent_comes_when_it_is_asked(
    ledger: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = PROFILES.get("push-ack").settings
    monkeypatch.setitem(settings, "command_later", {"468": 0.2})
    now = datetime.now(UTC)

    async def go(port: int) -> None:
        async with ledger() as here:
            await here.school(SCHOOL)
            await here.connector("ministry", "ministry")
            await parties.add_device(
                here.core, "test", "2001001", family="face_mqtt", profile="push-ack", title="G", school=SCHOOL, entrance="",
                direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"x",
            )  # fmt: skip
            gate = FaceGate(
                GateOptions(device="2001001", school=SCHOOL, port=port, image_bytes=2_000, resend_s=1000, patience_s=60)
            )
            gate.codes["ManualPushRecords"] = ["468"]
            # Every other record is kept to itself.
            plan = [
                PlannedCheckin(
                    at_s=0.3, person=f"HS{i}", happened=now - timedelta(minutes=20 - i), copies=i % 2, live=False
                )
                for i in range(10)
            ]
            async with bridge(port, here.core):
                running = asyncio.create_task(gate.run(plan))

                async def stored(count: int) -> bool:
                    return await here.value("SELECT count(*) FROM records WHERE type = 'checkin'") == count

                await until(lambda: stored(5))
                number = await gate_commands.add(here.core, "2001001", now - timedelta(hours=1), now, "test")
                again = await gate_commands.add(here.core, "2001001", now - timedelta(minutes=30), now, "test")
                assert number == again, "a span that is asked for already is not asked for twice"
                await until(lambda: stored(10))
                await asyncio.wait_for(running, 20)
                assert all(entry.acked for entry in gate.books())

                async def ended() -> Any:
                    row = await gate_commands.one(here.core, number)
                    return row if row["state"] == "done" else None

                row = await until(ended)
                assert (row["tries"], row["code"], len(gate.asked)) == (2, "200", 1)
                assert await here.value("SELECT count(*) FROM records WHERE type = 'checkin'") == 10

    with broker(tmp_path) as mosquitto:
        asyncio.run(go(mosquitto.port))


def test_a_terminal_that_was_away_is_asked_for_that_time(ledger: Any, tmp_path: Path) -> None:
    async def go(port: int) -> None:
        async with ledger() as here:
            await here.school(SCHOOL)
            await here.connector("ministry", "ministry")
            await parties.add_device(
                here.core, "test", "2001001", family="face_mqtt", profile="push-ack", title="G", school=SCHOOL, entrance="",
                direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"x",
            )  # fmt: skip
            gate = FaceGate(GateOptions(device="2001001", school=SCHOOL, port=port, patience_s=1))
            async with bridge(port, here.core):
                for _ in range(3):
                    await gate._open()
                    await asyncio.sleep(0.5)
                    gate._say("mqtt/face/basic", gate._presence("Offline"), 0)
                    await asyncio.sleep(0.3)
                    await gate._close()

                async def asked() -> Any:
                    return await here.rows("SELECT device, reason FROM gate_commands")

                rows = await until(asked)
                assert [(r["device"], r["reason"]) for r in rows] == [("2001001", "offline")], (
                    "once, however often it flaps"
                )

    with broker(tmp_path) as mosquitto:
        asyncio.run(go(mosquitto.port))


def test_a_terminal_that_never_answers_is_not_asked_for_ever(ledger: Any) -> None:
    """Five tries, each after twice the wait; what it is asked meanwhile makes no more rows; a revoked one is let be."""

    async def go() -> None:
        async with ledger() as here:
            await here.school(SCHOOL)
            for device in ("A1", "A2"):
                await parties.add_device(
                    here.core, "test", device, family="face_mqtt", profile="push-ack", title="G", school=SCHOOL, entrance="",
                    direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"x",
                )  # fmt: skip
            now = datetime.now(UTC)

            async def rows() -> list[Any]:
                return await here.rows("SELECT * FROM gate_commands WHERE device = 'A1' ORDER BY id")

            async def later(seconds: float) -> None:
                await here.owner.execute(
                    "UPDATE gate_commands SET sent_at = sent_at - $1 * interval '1 second'", seconds
                )

            await gate_commands.add(here.core, "A2", now - timedelta(hours=1), now, "asked")
            first = await gate_commands.add(here.core, "A1", now - timedelta(hours=1), now, "offline")
            for n in range(1, 50):  # it goes on coming and going before it was asked
                span = now + timedelta(minutes=10 * n), now + timedelta(minutes=10 * n + 2)
                assert await gate_commands.add(here.core, "A1", *span, "offline") == first
            (row,) = await rows()
            assert (row["span_start"], row["span_end"]) == (now - timedelta(hours=1), now + timedelta(minutes=492))
            far = now + timedelta(days=30)
            assert await gate_commands.add(here.core, "A1", far, far, "asked") != first, (
                "months between are not asked for"
            )
            await here.owner.execute("DELETE FROM gate_commands WHERE id <> $1 AND device = 'A1'", first)
            for tries in range(1, 6):
                assert [c.tries for c in await gate_commands.take(here.core, ["A1"], 100)] == [tries]
                await later(100 * 2 ** (tries - 1) - 20)
                assert "A1" not in await gate_commands.waiting(here.core, 100)
                await later(30)
                assert "A1" in await gate_commands.waiting(here.core, 100)
                assert await gate_commands.take(here.core, ["A1"], 100) == []
            (row,) = await rows()
            assert (row["state"], row["code"]) == ("failed", "silent") and row["ended_at"] is not None
            assert "A1" not in await gate_commands.waiting(here.core, 100)
            # Back after a week: last month's question, which nobody was there to hear, is asked again too.
            week = now + timedelta(days=37)
            beside = await gate_commands.add(here.core, "A1", week, week, "offline")
            assert beside != first and [(r["state"], r["tries"]) for r in await rows()] == [("waiting", 0)] * 2
            await here.owner.execute("DELETE FROM gate_commands WHERE id = $1", beside)
            await here.owner.execute(
                "UPDATE gate_commands SET state = 'failed', code = 'silent', ended_at = now() WHERE id = $1", first
            )
            # What was given up is asked again with what comes after. While that is on its way, what follows waits in one row.
            assert await gate_commands.add(here.core, "A1", now, now, "offline") == first
            await gate_commands.take(here.core, ["A1"], 100)
            for n in range(1, 10):
                await gate_commands.add(here.core, "A1", now, now + timedelta(minutes=500 + n), "offline")
            assert [r["state"] for r in await rows()] == ["sent", "waiting"]
            assert await gates.revoke(here.core, "test", ["A2"], "lost") == ["A2"]
            assert "A2" not in await gate_commands.waiting(here.core, 100)
            assert await gate_commands.take(here.core, ["A2"], 100) == []
            await gate_commands.forget(here.core, 30)
            assert await here.value("SELECT count(*) FROM gate_commands WHERE device = 'A2'") == 0
            assert len(await rows()) == 2

    asyncio.run(go())
