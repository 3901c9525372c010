"""A hole in what a terminal pushes has its list asked for soon: not at every hole of a flood, and not while it is at fault."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from hub.api import gate_numbers
from hub.api.devices import FAMILIES, Door
from hub.api.gate_numbers import HURRY_S, tell_missing
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger import gate_lists
from hub.kernel.ledger.intake import accept
from iot.web import Ask
from tests.scenario.iot_lists.asking import asked, standing


def event(number: int) -> bytes:
    when = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    told = {
        "majorEventType": 5,
        "subEventType": 75,
        "employeeNoString": f"HS{number}",
        "serialNo": number,
        "currentEvent": True,
    }
    return orjson.dumps({"eventType": "AccessControllerEvent", "dateTime": when, "AccessControllerEvent": told})


def test_a_hole_hurries_the_list(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_numbers, "GRACE_S", 0.0)

    async def go() -> None:
        async with ledger() as here:
            await asked(here, "H1", "hikvision", "http://127.0.0.1:9")

            class Hub:
                core, keys, redis = here.core, here.keys, None

            class Group:
                async def put(self, arrival: Arrival) -> Accepted:
                    return (await accept(here.core, [arrival]))[0]

            door = Door(Hub(), Group())  # type: ignore[arg-type]
            await door.gates.fresh()
            opener = door.gates.entry("H1", "hikvision")
            assert opener is not None

            async def push(number: int) -> None:
                entry = door.gates.entry("H1", "hikvision")
                assert entry is not None
                ask = Ask(method="POST", path="hikvision", content_type="application/json")
                assert (await door._take(FAMILIES["hikvision"], ask, event(number), entry)).status == 200
                await door.gates.tell()
                await tell_missing(here.core)

            async def plan(finished_s: float, fault: bool = False) -> datetime:
                """The list was read so long ago, is due in an hour and perhaps at fault; when that was."""
                now = datetime.now(UTC)
                await here.owner.execute(
                    "UPDATE gate_lists SET due_at = $1, finished_at = $2, fault = $3",
                    now + timedelta(hours=1), now - timedelta(seconds=finished_s),
                    '{"vi": "hỏng", "en": "broken"}' if fault else None,
                )  # fmt: skip
                return now

            now = await plan(HURRY_S + 60)
            await push(10)
            await push(11)
            assert (await standing(here))["due_at"] > now + timedelta(minutes=50), "no hole, no hurry"
            await push(15)
            assert (await standing(here))["due_at"] <= datetime.now(UTC), "asked now"

            now = await plan(0)
            await push(20)
            soon = (await standing(here))["due_at"] - now
            assert timedelta(seconds=HURRY_S - 5) < soon < timedelta(seconds=HURRY_S + 5), (
                "a flood of holes: once in a while"
            )

            now = await plan(HURRY_S + 60, fault=True)
            await push(30)
            assert (await standing(here))["due_at"] > now + timedelta(minutes=50), "a fault's pause is not cut short"
            await gate_lists.hurry(here.core, "nobody", 1.0)

    asyncio.run(go())
