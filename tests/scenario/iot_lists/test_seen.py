"""What an answered list tells of its gate besides passages: that it is there, how busy it was and when, its clock, its trace."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from hub.console.pages.gates import state_of
from hub.kernel.ledger import gates, parties, silence
from hub.kernel.silence import ZONE
from hub.kernel.store.db import sql
from hub.worker.catchup import ONLY_ASKED
from iot.dahua.simulator import DahuaStore
from iot.hanet.simulator import HanetPlace
from iot.hikvision.simulator import HikvisionStore
from iot.simulator import Stored
from tests.scenario.iot_lists.asking import NOW, PASSWORD, asked, due, memory, people, standing


async def state(here: Any, device: str = "G1") -> dict[str, Any] | None:
    rows = await here.rows("SELECT * FROM device_state WHERE device = $1", device)
    return dict(rows[0]) if rows else None


async def presence(here: Any) -> tuple[str, int]:
    """The gate's state on its page, and how many are online on the first one."""
    async with here.core.pool.acquire() as connection:
        (row,) = await connection.fetch(sql.gates_standing, None, "G1")
        counted = await connection.fetchrow(sql.console_gates_count, None)
    return state_of(row), counted["online"]


async def noise(here: Any) -> dict[tuple[date, int], int]:
    rows = await here.rows("SELECT day, slots FROM gate_noise")
    return {(r["day"], slot): n for r in rows for slot, n in enumerate(r["slots"]) if n}


def slot_of(at: datetime) -> tuple[date, int]:
    here = at.astimezone(ZONE)
    return here.date(), here.hour * 2 + here.minute // 30


def test_a_gate_that_is_only_asked_is_seen_counted_and_traced(ledger: Any) -> None:
    async def go() -> None:
        stored = memory(40, every_s=120.0)
        async with ledger() as here, DahuaStore(stored, password=PASSWORD) as address:
            worker = await asked(here, "G1", "dahua", address, overlap_s=86_400)
            await gates.trace(here.core, "an", "G1", "không thấy lượt nào", timedelta(minutes=10))
            await worker.work(30)
            seen = await state(here)
            assert seen is not None and seen["online"] and seen["seen_at"] >= NOW - timedelta(seconds=1)
            assert (seen["events"], seen["quarantined"], seen["images_removed"]) == (40, 4, 40), (
                "each told where its picture lies"
            )
            assert seen["last_event_at"] == stored[-1].at, "when it happened, not when it was read"
            assert abs(seen["offset_s"]) <= 1.0
            usual: dict[tuple[date, int], int] = {}
            for s in stored:
                usual[slot_of(s.at)] = usual.get(slot_of(s.at), 0) + 1
            assert await noise(here) == usual, "where they happened, though they came at once"
            trace = await gates.latest_trace(here.core, "G1")
            assert trace is not None
            lines = [line["line"] for line in trace[1]]
            assert sum(1 for x in lines if x["outcome"] == "stored" and x["kind"] == "list") == 40
            (told,) = [x for x in lines if x["outcome"] == "advisory"]
            assert (told["listed"], told["stored"]) == (40, 40)
            assert not any("HS0" in str(line) for line in lines), "no person in a trace"

            # What is listed again is known: the gate is seen, and not busier.
            await here.owner.execute("UPDATE device_state SET seen_at = seen_at - interval '1 hour'")
            await due(here)
            await worker.work(30)
            again = await state(here)
            assert again is not None and again["seen_at"] > NOW - timedelta(minutes=5)
            assert (again["events"], again["last_event_at"]) == (40, stored[-1].at) and await noise(here) == usual
            assert (await standing(here))["listed"] >= 80
            assert await presence(here) == ("online", 1)
            ago = "UPDATE device_state SET seen_at = clock_timestamp() - interval '14 minutes'"
            await here.owner.execute(ago)
            asked_then = "UPDATE gate_lists SET finished_at = clock_timestamp() - interval '14 minutes 1 second', due_at = clock_timestamp() + $1"
            await here.owner.execute(asked_then, timedelta(minutes=1))
            assert await presence(here) == ("online", 1), "it is to be asked again in a minute"
            await here.owner.execute(asked_then, timedelta(minutes=-11))
            assert await presence(here) == ("offline", 0)

    asyncio.run(go())


def test_a_gate_that_lost_its_clock_tells_so_and_is_asked_by_it(ledger: Any) -> None:
    async def go() -> None:
        before = memory(6)
        lost_s = (datetime(2000, 1, 1, tzinfo=UTC) - NOW).total_seconds() + 3600
        after = [
            Stored(number=100 + i, person=f"SAU{i}", at=NOW + timedelta(seconds=lost_s - 600 + i)) for i in range(4)
        ]
        store = DahuaStore([*after, *before], password=PASSWORD)
        store.ahead_s = lost_s
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "dahua", address)
            await worker.work(30)
            assert await people(here) == sorted(s.person for s in [*before, *after])
            waiting = await here.rows(
                "SELECT body->>'person_code' AS p FROM records WHERE body->>'quarantine' = 'clock'"
            )
            assert sorted(r["p"] for r in waiting) == [s.person for s in after], "those before it stand as they are"
            seen = await state(here)
            assert seen is not None and abs(seen["offset_s"] - lost_s) <= 1.0
            assert seen["last_event_at"] >= before[-1].at and sum((await noise(here)).values()) == len(before)

    asyncio.run(go())


def test_an_empty_list_is_a_sign_of_life_and_no_noise_unless_a_cloud_gives_it(ledger: Any) -> None:
    async def go() -> None:
        cloud = HanetPlace([], camera="G2")
        dahua = DahuaStore([], password=PASSWORD)
        dahua.ahead_s = -600.0
        async with ledger() as here, dahua as address, cloud as vendor:
            await asked(here, "G1", "dahua", address)
            worker = await asked(here, "G2", "hanet", vendor, place="12345", password=None)
            assert await worker.work(30) == 2
            seen = await state(here)
            assert seen is not None and seen["online"] and abs(seen["offset_s"] + 600.0) <= 1.0
            assert (seen["events"], seen["last_event_at"]) == (0, None) and await noise(here) == {}
            assert await state(here, "G2") is None, "the vendor's cloud answered, not the camera"

    asyncio.run(go())


def test_a_camera_behind_a_cloud_was_there_when_it_saw_somebody(ledger: Any) -> None:
    async def go() -> None:
        stored = [s for s in memory(6) if s.passed]
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await worker.work(30)
            seen = await state(here)
            assert seen is not None and (seen["seen_at"], seen["last_event_at"]) == (stored[-1].at, stored[-1].at)
            assert (seen["online"], seen["offset_s"], seen["events"]) == (None, None, 6)
            # Nothing goes back for what is told afterwards.
            await parties.touch_devices(
                here.core, {"G1": {"happened": stored[0].at, "seen": stored[0].at, "events": 1}}
            )
            again = await state(here)
            assert again is not None and (again["seen_at"], again["last_event_at"]) == (stored[-1].at, stored[-1].at)

    asyncio.run(go())


def test_what_a_cloud_tells_under_a_trace_or_by_no_time_puts_no_camera_online(ledger: Any) -> None:
    async def go() -> None:
        stored = [s for s in memory(6) if s.passed]
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await gates.trace(here.core, "an", "G1", "không thấy lượt nào", timedelta(minutes=10))
            unheard = {"seen": None, "happened": None}
            await parties.touch_devices(here.core, {"G1": {**unheard, "events": 2, "quarantined": 2}})
            assert await state(here) is None, "never heard of: nothing to count in"
            for _ in range(2):
                await worker.work(30)
                seen = await state(here)
                assert seen is not None and (seen["seen_at"], seen["last_event_at"]) == (stored[-1].at, stored[-1].at)
                await due(here)
            trace = await gates.latest_trace(here.core, "G1")
            assert trace is not None and sum(1 for x in trace[1] if x["line"]["outcome"] == "advisory") == 2
            # Passages whose times cannot be right are counted, and neither it nor its silence is put back for them.
            await parties.touch_devices(here.core, {"G1": {**unheard, "events": 2, "quarantined": 2, "images": 1}})
            counted = await state(here)
            assert counted is not None and seen is not None and (counted["events"], counted["quarantined"]) == (8, 2)
            assert counted["images_removed"] == seen["images_removed"] + 1
            assert (counted["seen_at"], counted["last_event_at"]) == (stored[-1].at, stored[-1].at)
            await parties.touch_devices(here.core, {"G1": {"happened": None, "events": 2, "state": "online"}})
            itself = await state(here)
            assert itself is not None and itself["last_event_at"] == stored[-1].at and itself["seen_at"] > stored[-1].at
            assert (itself["events"], itself["online"]) == (10, True)

    asyncio.run(go())


def test_a_camera_that_spoke_right_after_its_clouds_list_is_silent_from_its_own_word_on(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here, HanetPlace([], camera="G1") as cloud:
            worker = await asked(here, "G1", "hanet", cloud, place="12345", password=None, every_s=3600)
            await worker.work(30)
            await parties.touch_devices(here.core, {"G1": {"state": "online", "events": 1, "live": 1}})
            assert await presence(here) == ("online", 1)
            ago = "clock_timestamp() - interval '30 minutes'"
            await here.owner.execute(f"UPDATE gate_lists SET finished_at = {ago} - interval '20 seconds'")
            await here.owner.execute(f"UPDATE device_state SET seen_at = {ago}")
            assert await presence(here) == ("offline", 0)

    asyncio.run(go())


def test_what_cannot_be_noted_holds_up_no_list(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        stored = memory(20)
        async with ledger() as here, HikvisionStore(stored, size=7, password=PASSWORD) as address:
            worker = await asked(here, "G1", "hikvision", address)

            async def away(*_: Any) -> None:
                raise ConnectionResetError

            monkeypatch.setattr(parties, "touch_devices", away)
            await worker.work(30)
            assert await people(here) == [s.person for s in stored]
            assert (await standing(here))["fault"] is None

    asyncio.run(go())


def test_of_a_gate_that_is_only_asked_nothing_is_missed_before_it_was_asked(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here:
            await asked(here, "G1", "dahua", "http://127.0.0.1:9")
            await asked(here, "G2", "hikvision", "http://127.0.0.1:9")
            monday = datetime(2026, 11, 23, 7, 30, tzinfo=ZONE)
            slots = [0.0] * 14 + [200.0] + [0.0] * 33
            for gate in ("G1", "G2"):
                await here.owner.execute(
                    "INSERT INTO gate_habits (device, weekday, slots, days) VALUES ($1, 1, $2, 5)", gate, slots
                )
                await here.owner.execute(
                    "INSERT INTO device_state (device, seen_at, last_event_at) VALUES ($1, $2, $2)",
                    gate, monday - timedelta(minutes=29),
                )  # fmt: skip

            async def watch(asked_to: datetime) -> tuple[int, int]:
                await here.owner.execute("UPDATE gate_lists SET done_to = $1", asked_to)
                return await silence.watch(here.core, monday, lambda day: False, 8.0, 1200.0, ONLY_ASKED)

            assert await watch(monday - timedelta(minutes=28)) == (1, 0), "only the one that should have pushed"
            assert await watch(monday) == (1, 0), "asked, and nobody had passed"
            standing = await here.rows("SELECT subject FROM alarms WHERE ended_at IS NULL ORDER BY subject")
            assert [r["subject"] for r in standing] == ["G1", "G2"]

    asyncio.run(go())
