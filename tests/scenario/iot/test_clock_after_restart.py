"""The bridge begun anew, and the first it hears is a backlog: what the ledger knows of the gate's clock puts it right."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import orjson

from hub.kernel.ledger import intake, parties
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.bridge_clocks import UNCERTAIN_S
from hub.worker.gates import families, registry
from tests.unit.iot.rig import Delivered, FakeTransport

SCHOOL, AHEAD = "31HP0000001", timedelta(minutes=10)
HERE = timedelta(hours=7)


def record(number: int, at: datetime, mid: int, live: bool) -> Delivered:
    info = {
        "customId": f"HS{number:04d}", "RecordID": number, "VerifyStatus": 1, "Sendintime": int(live),
        "time": f"{at + HERE:%Y-%m-%d %H:%M:%S}",
    }  # fmt: skip
    return Delivered("mqtt/face/F1/Rec", {"operator": "RecPush", "info": info}, 1, mid)


@contextlib.asynccontextmanager
async def process(core: Any) -> AsyncIterator[FakeTransport]:
    """A bridge process; what it would tell within two seconds is told."""
    transport = FakeTransport()
    house: Any = SimpleNamespace(core=core)
    bridge = Bridge(
        transport, lambda arrivals: intake.accept(core, arrivals), families(), registry(house), core.hasher,
        lambda facts: parties.touch_devices(core, facts), BridgeOptions(touch_s=60),
    )  # fmt: skip
    running = asyncio.create_task(bridge.run())
    try:
        yield transport
        await bridge._gates.tell()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def said(transport: FakeTransport, *sent: Delivered) -> None:
    for one in sent:
        transport.queue.put_nowait(one)
    async with asyncio.timeout(20):
        while len(transport.pubacks) < len(sent):
            await asyncio.sleep(0.01)


def test_a_backlog_that_comes_first_is_corrected(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here:
            await here.school(SCHOOL)
            await here.connector("ministry", "ministry")
            await parties.add_device(
                here.core, "test", "F1", family="face_mqtt", profile="push-ack", title="G", school=SCHOOL, entrance="",
                direction="in", zone="Asia/Ho_Chi_Minh", person_ids="department", secret=b"sealed",
            )  # fmt: skip
            async with process(here.core) as first:
                now = datetime.now(UTC)
                await said(first, *(record(n, now + AHEAD, n, True) for n in range(1, 6)))
            kept = await here.value("SELECT offset_s FROM device_state WHERE device = 'F1' AND offset_at <= now()")
            assert abs(kept - AHEAD.total_seconds()) < 5

            true = datetime.now(UTC) - timedelta(hours=5)
            async with process(here.core) as again:
                await said(again, record(10, true + AHEAD, 1, False))
                (row,) = await here.rows("SELECT body FROM records WHERE body->>'person_code' = 'HS0010'")
                body = row["body"] if isinstance(row["body"], dict) else orjson.loads(row["body"])
                off = (datetime.fromisoformat(body["corrected_time"]) - true).total_seconds()
                assert abs(off) < 5 and body["quarantine"] is None and body["historical"]
                assert UNCERTAIN_S <= body["uncertainty_s"] < UNCERTAIN_S + 1

    asyncio.run(go())
