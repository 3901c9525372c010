"""What gateways know of gates together: numbers that now one hears and now another, a restart between two of them, stamps, clocks."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from hub.api import gate_numbers
from hub.api.devices import FAMILIES, Door, closing
from hub.api.gate_numbers import MISSING, tell_missing
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger.intake import accept
from iot.web import Ask, Served
from tests.scenario.iot_lists.asking import asked, standing

SERIAL, CLOCK_AHEAD = 5000, 600.0


class OneDoor:
    """One gateway's door on a database all share. A new one is a process begun anew."""

    def __init__(self, here: Any) -> None:
        class Hub:
            core, keys, redis = here.core, here.keys, None

        class Group:
            waiting, strained = 0, False

            async def put(self, arrival: Arrival) -> Accepted:
                return (await accept(here.core, [arrival]))[0]

        self.door = Door(Hub(), Group())  # type: ignore[arg-type]

    async def fresh(self) -> None:
        self.door.gates.forget()
        await self.door.gates.fresh()

    async def push(
        self, number: int, *, at: datetime | None = None, current: bool = True, front: int | None = None
    ) -> None:
        await self.door.gates.fresh()
        when = (at or datetime.now(UTC)).astimezone().isoformat(timespec="seconds")
        told: dict[str, Any] = {
            "majorEventType": 5, "subEventType": 75, "employeeNoString": f"HS{number}", "serialNo": number, "currentEvent": current,
        }  # fmt: skip
        if front is not None:
            told["frontSerialNo"] = front
        body = orjson.dumps({"eventType": "AccessControllerEvent", "dateTime": when, "AccessControllerEvent": told})
        entry = self.door.gates.entry("H1", "hikvision")
        assert entry is not None
        ask = Ask(method="POST", path="hikvision", content_type="application/json")
        assert (await self.door._take(FAMILIES["hikvision"], ask, body, entry)).status == 200

    async def told(self) -> None:
        await self.door.gates.tell()


def counted() -> float:
    return float(MISSING.labels("hikvision")._value.get())


async def holes(here: Any) -> list[list[int]]:
    return [h[:2] for h in (await here.value("SELECT holes FROM gate_memory WHERE device = 'H1'") or [])]


async def newest(here: Any) -> dict[str, Any]:
    body = await here.value("SELECT body FROM records WHERE type = 'checkin' ORDER BY id DESC LIMIT 1")
    return dict(body) if isinstance(body, dict) else dict(orjson.loads(body))


async def open_long(here: Any) -> None:
    await here.owner.execute("UPDATE device_state SET split_at = split_at - interval '10 seconds'")


def test_numbers_that_two_gateways_share_are_no_holes(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here:
            await asked(here, "H1", "hikvision", "http://127.0.0.1:9")
            one, two = OneDoor(here), OneDoor(here)
            before = counted()
            for number in range(1, 41):
                await (one if number % 2 else two).push(number)
                if number % 7 == 0:
                    await one.told()
                if number % 9 == 0:
                    await two.told()
                if number % 5 == 0:
                    await tell_missing(here.core)
            await one.told()
            await open_long(here)  # all that the other has not told by now would be a hole
            await two.told()
            assert await tell_missing(here.core) == 0 and counted() == before and await holes(here) == []
            assert await here.value("SELECT numbers::text FROM device_state") == "{[1,41)}"
            await two.fresh()
            assert (two.door.gates.entry("H1", "hikvision") or {})["serial"] == 40

    asyncio.run(go())


def test_a_true_hole_is_told_once_by_whoever_looks_first(ledger: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> None:
        async with ledger() as here:
            await asked(here, "H1", "hikvision", "http://127.0.0.1:9")
            await here.owner.execute(
                "UPDATE gate_lists SET due_at = now() + interval '1 hour', finished_at = now() - interval '1 hour'"
            )
            one, two = OneDoor(here), OneDoor(here)
            before = counted()
            await one.push(1)
            await two.push(2)
            await one.push(5)
            await two.push(6)
            await one.told()
            await two.told()
            assert await tell_missing(here.core) == 0, "it may still be on its way"
            await open_long(here)
            await one.push(9)  # a newer one is not told with it
            await one.told()
            with caplog.at_level(logging.WARNING):
                found = await asyncio.gather(tell_missing(here.core), tell_missing(here.core))
            assert sorted(found) == [0, 2] and counted() == before + 2 and await holes(here) == [[3, 4]]
            assert [r.getMessage() for r in caplog.records] == ["gate H1: events 3-4 are missing"]
            assert (await standing(here))["due_at"] <= datetime.now(UTC) + timedelta(seconds=1)
            await two.push(7)
            await two.push(8)
            await two.told()
            await open_long(here)
            assert await tell_missing(here.core) == 0, "what came late closed it"

    asyncio.run(go())


def test_a_hole_across_a_restart_is_seen(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with ledger() as here:
            await asked(here, "H1", "hikvision", "http://127.0.0.1:9")
            first = OneDoor(here)
            await first.push(10)
            await first.push(11)
            await closing(SimpleNamespace(state=SimpleNamespace(door=first.door)))  # type: ignore[arg-type]
            again = OneDoor(here)
            await again.push(14)
            await again.told()
            await open_long(here)
            await again.fresh()  # reading the registry is what has it looked for
            looking = again.door.gates._looking
            assert looking is not None and await looking == 2 and await holes(here) == [[12, 13]]

            await again.push(15)  # stored, and killed before it told: the gate sends it again
            last = OneDoor(here)
            await last.push(15)
            await last.push(16)
            await last.told()
            assert await here.value("SELECT numbers::text FROM device_state") == "{[10,17)}"

    asyncio.run(go())


def test_a_gate_that_counts_anew_is_believed_by_all(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here:
            await asked(here, "H1", "hikvision", "http://127.0.0.1:9")
            one, two = OneDoor(here), OneDoor(here)
            await one.push(SERIAL)
            await two.push(SERIAL + 1)
            await one.told()
            await two.told()
            await one.push(1)
            await one.told()
            await two.fresh()
            assert (two.door.gates.entry("H1", "hikvision") or {})["serial"] == 1
            await two.push(2)
            await two.told()
            await open_long(here)
            assert await tell_missing(here.core) == 0
            assert await here.value("SELECT numbers::text FROM device_state") == "{[1,3)}"

    asyncio.run(go())


def test_numbers_that_could_not_be_told_are_told_later(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with ledger() as here:
            await asked(here, "H1", "hikvision", "http://127.0.0.1:9")
            one = OneDoor(here)
            await one.push(1)

            async def away(core: Any, facts: Any) -> None:
                raise ConnectionError

            with monkeypatch.context() as broken:
                broken.setattr("hub.api.device_registry.parties.touch_devices", away)
                await one.told()
            await one.push(2)
            await one.fresh()
            assert (one.door.gates.entry("H1", "hikvision") or {})["serial"] == 2, "its own word until it is told"
            await one.told()
            assert await here.value("SELECT numbers::text FROM device_state") == "{[1,3)}"

    asyncio.run(go())


def test_the_last_stamp_outlives_the_gateway_and_is_every_gateways(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here:
            await asked(here, "Z1", "zkteco", "http://127.0.0.1:9")
            family = FAMILIES["zkteco"]

            async def post(door: OneDoor, stamp: str, pin: str) -> None:
                await door.door.gates.fresh()
                now = datetime.now(UTC) + timedelta(hours=7)
                query = {"sn": "Z1", "table": "ATTLOG", "stamp": stamp}
                body = f"{pin}\t{now:%Y-%m-%d %H:%M:%S}\t0\t15\t0\n".encode()
                entry = door.door.gates.entry("Z1", "zkteco")
                assert entry is not None
                answer = await door.door._take(family, Ask(method="POST", path="cdata", query=query), body, entry)
                assert answer.body == b"OK: 1"

            async def offered(door: OneDoor) -> str:
                await door.fresh()
                entry = door.door.gates.entry("Z1", "zkteco")
                served: Served = family.decode(
                    Ask(method="GET", path="cdata", query={"sn": "Z1"}), None, datetime.now(UTC), entry, "Z1"  # type: ignore[arg-type]
                )  # fmt: skip
                return next(line for line in served.answer.body.decode().splitlines() if line.startswith("ATTLOGStamp"))

            one = OneDoor(here)
            assert (await offered(one)).split("=")[1] != "9100"
            await post(one, "9100", "1")
            assert await offered(one) == "ATTLOGStamp=9100"
            await one.told()
            assert await offered(OneDoor(here)) == "ATTLOGStamp=9100", "after a restart"
            two = OneDoor(here)
            await post(two, "9200", "2")
            await two.told()
            assert await offered(one) == "ATTLOGStamp=9200", "another gateway took the newer one"
            await post(two, "17", "3")  # wiped: a stamp that is too high would have it leave passages out
            await two.told()
            assert await offered(one) == "ATTLOGStamp=17"

    asyncio.run(go())


def test_after_a_restart_a_backlog_is_corrected_by_what_the_ledger_knows(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here:
            await asked(here, "H1", "hikvision", "http://127.0.0.1:9")
            first = OneDoor(here)
            ahead = timedelta(seconds=CLOCK_AHEAD)
            for number in range(1, 4):
                await first.push(number, at=datetime.now(UTC) + ahead)
            await first.told()
            await here.owner.execute("UPDATE device_state SET offset_at = offset_at - interval '10 days'")

            again = OneDoor(here)
            true = datetime.now(UTC) - timedelta(hours=3)
            await again.push(4, at=true + ahead, current=False)
            body = await newest(here)
            assert body["historical"] and body["quarantine"] is None
            assert abs((datetime.fromisoformat(body["corrected_time"]) - true).total_seconds()) < 3
            assert abs(body["estimated_offset_s"] - CLOCK_AHEAD) < 3
            assert 140 < body["uncertainty_s"] < 150, "sixty seconds, and what a clock may run off in ten days"

            # Somebody set the clock meanwhile: a live event tells, and what the ledger has does not move it.
            now = datetime.now(UTC)
            await again.push(5, at=now)
            body = await newest(here)
            assert not body["historical"]
            assert abs((datetime.fromisoformat(body["corrected_time"]) - now).total_seconds()) < 3
            await again.fresh()
            entry = again.door.gates.entry("H1", "hikvision")
            assert entry is not None and not entry["clock"].kept and abs(entry["clock"].offset_s) < 3

    asyncio.run(go())


def test_a_process_tells_its_holes_no_sooner_than_said() -> None:
    assert gate_numbers.GRACE_S >= 5.0
