"""HANET cameras at a broker that lets them write their own topic and read nothing: every sighting is stored once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.kernel.ledger import parties
from iot.gate import GateOptions, PlannedCheckin
from iot.hanet.simulator import HanetAtBroker
from tests.scenario.iot.test_city_of_gates import bridge, port  # noqa: F401 - a fixture

SCHOOL = "31HP0990001"


def test_sightings_are_stored_once_and_nobody_is_told(
    ledger: Callable[[], AbstractAsyncContextManager[Any]],
    port: int,  # noqa: F811
) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(SCHOOL)
            for device in ("C1", "C2"):
                await parties.add_device(
                    led.core, "test", device, family="hanet", profile="camera", title=device, school=SCHOOL, entrance="Cổng chính",
                    direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"",
                )  # fmt: skip
            began = datetime.now(UTC)
            plan = [
                PlannedCheckin(
                    at_s=n * 0.02, person=f"77{n:04d}", happened=began + timedelta(seconds=n), copies=1 + n % 2
                )
                for n in range(8)
            ] + [PlannedCheckin(at_s=0.2, person="", happened=began, verify="unregistered")]
            cameras = [
                HanetAtBroker(
                    GateOptions(device=device, school=SCHOOL, port=port, image_bytes=2_000, patience_s=10), compact=compact, embed=compact
                )
                for device, compact in (("C1", False), ("C2", True))
            ]  # fmt: skip
            liar = HanetAtBroker(GateOptions(device="C2", school=SCHOOL, port=port, seed=9, claims="C1", patience_s=10))
            async with bridge(led.core, port):
                await asyncio.gather(*(camera.run(plan) for camera in cameras))
                await liar.run(plan[:1])
                async with asyncio.timeout(15):
                    while await led.value("SELECT count(*) FROM messages") < 17:
                        await asyncio.sleep(0.1)
            assert [c.handed_over for c in cameras] == [13, 13] and not any(e.acked for c in cameras for e in c.books())
            rows = await led.rows(
                "SELECT body ->> 'device' AS device, body ->> 'person_code' AS person, body ->> 'quarantine' AS quarantine FROM records"
            )
            assert sorted((r["device"], r["person"]) for r in rows) == sorted(
                (device, f"hanet:77{n:04d}") for device in ("C1", "C2") for n in range(8)
            )
            assert {r["quarantine"] for r in rows} == {"person"}, "vendor's numbers, until somebody links them"
            waits = await led.rows("SELECT device, namespace, local FROM checkin_waits WHERE reason = 'person'")
            assert sorted((w["namespace"], w["local"]) for w in waits) == sorted(
                (r["device"], r["person"]) for r in rows
            )
            kept = b"".join(r["body"] for r in await led.rows("SELECT body FROM messages WHERE body IS NOT NULL"))
            marks = [mark for c in cameras for e in c.books() for mark in e.marks]
            assert marks and b"anh-" not in kept and b"/9j/" not in kept

    asyncio.run(go())
