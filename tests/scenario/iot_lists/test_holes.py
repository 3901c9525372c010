"""Numbers a terminal skipped in what it pushed are asked for by number when the span of time does not bring them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from hub.api import gate_numbers
from hub.api.devices import FAMILIES, Door
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger import gate_lists, gate_memory
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Numbers
from iot.hikvision.simulator import HikvisionStore
from iot.simulator import Stored
from iot.web import Ask
from tests.scenario.iot_lists.asking import PASSWORD, asked, due, memory, people, standing
from tests.scenario.iot_lists.test_hurry import event

LOST = datetime(2000, 1, 1, 0, 5, tzinfo=UTC)
"""When a terminal's clock says it is after a power cut."""


def with_a_lost_clock() -> list[Stored]:
    """Ten passages, of which the fourth to the seventh stand in the terminal's list at a time nobody would ask for."""
    return [
        msgspec.structs.replace(s, at=LOST + timedelta(seconds=s.number)) if 4 <= s.number <= 7 else s
        for s in memory(9)
    ]


async def holes(here: Any) -> list[tuple[int, int, int]]:
    return [(h.first, h.last, h.tries) for h in await gate_lists.holes(here.core, "G1")]


def door_of(here: Any) -> Door:
    class Hub:
        core, keys, redis = here.core, here.keys, None

    class Group:
        async def put(self, arrival: Arrival) -> Accepted:
            return (await accept(here.core, [arrival]))[0]

    return Door(Hub(), Group())  # type: ignore[arg-type]


async def push(door: Door, number: int) -> None:
    await door.gates.fresh()
    entry = door.gates.entry("G1", "hikvision")
    assert entry is not None
    ask = Ask(method="POST", path="hikvision", content_type="application/json")
    assert (await door._take(FAMILIES["hikvision"], ask, event(number), entry)).status == 200


def test_a_hole_the_times_do_not_bring_is_asked_for_by_number(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_numbers, "GRACE_S", 0.0)

    async def go() -> None:
        stored = with_a_lost_clock()
        store = HikvisionStore(stored, size=3, password=PASSWORD)
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "hikvision", address)
            door = door_of(here)
            await push(door, 3)
            await push(door, 8)  # 4 to 7 never came
            await push(door, 8)  # nor does saying it twice make two holes of it
            await door.gates.tell()
            assert [await gate_numbers.tell_missing(here.core) for _ in range(2)] == [4, 0]
            assert await holes(here) == [(4, 7, 0)]
            await worker.work(30)
            numbered = [b for b in store.bodies if "beginSerialNo" in b]
            assert {(b["beginSerialNo"], b["endSerialNo"]) for b in numbered} == {(4, 7)} and len(numbered) == 2
            assert set(await people(here)) >= {s.person for s in stored} and await holes(here) == []
            row = await standing(here)
            assert row["fault"] is None and row["listed"] == 9 and row["missed"] == 9
            asked_before = len(store.bodies)
            await due(here)
            await worker.work(30)
            assert not any("beginSerialNo" in b for b in store.bodies[asked_before:]), "asked for once"

            # A hole the span brings needs no second question; one of numbers that are no passages is asked for, and closed.
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(2, 3))
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(50, 1049))
            await gate_lists.back_to(here.core, "G1", memory(9)[0].at - timedelta(minutes=1))
            asked_before = len(store.bodies)
            await worker.work(30)
            numbered = [b for b in store.bodies[asked_before:] if "beginSerialNo" in b]
            parts = [(b["beginSerialNo"], b["endSerialNo"]) for b in numbered]
            assert parts == [(50, 349), (350, 649), (650, 949), (950, 1049)] and await holes(here) == []

    asyncio.run(go())


def test_a_terminal_that_does_not_know_numbers_is_asked_so_often_and_its_list_goes_on(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    async def go() -> None:
        stored = memory(9)
        store = HikvisionStore(stored, size=5, numbers=False, password=PASSWORD)
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "hikvision", address, overlap_s=0)
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(40, 44))
            real = gate_lists.hole_left

            async def killed(*_: Any) -> None:
                raise Killed

            monkeypatch.setattr(gate_lists, "hole_left", killed)
            with pytest.raises(Killed):
                await worker.work(30)
            assert await holes(here) == [(40, 44, 0)] and len(await people(here)) == 9, "what a kill leaves"
            monkeypatch.setattr(gate_lists, "hole_left", real)
            for tries in (1, 2, None):
                await due(here)
                await worker.work(30)
                assert await holes(here) == ([(40, 44, tries)] if tries else [])
                row = await standing(here)
                assert row["fault"] is None and row["span_end"] is None, "its list by time is well"
            assert await here.value("SELECT count(*) FROM alarms WHERE ended_at IS NULL") == 0

    asyncio.run(go())


def test_holes_are_bounded_and_gone_with_the_list(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here:
            await gate_lists.hurry(here.core, "nobody", 60.0, Numbers(1, 2))
            await asked(here, "G1", "hikvision", "http://127.0.0.1:9")
            for n in range(130):
                await gate_lists.hurry(here.core, "G1", 60.0, Numbers(10 * n + 1, 10 * n + 3))
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(10_000, 10_000_000))
            found = await holes(here)
            assert len(found) == 100 and found[0] == (1, 3, 0) and found[-1] == (991, 1293, 0), "the last one grows"
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(900_000_000, 900_000_003))
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(100_985, 100_991))
            assert await holes(here) == found, "no further than one hole may be long"
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(100_985, 100_990))
            assert (await holes(here))[-1] == (991, 100_990, 0)
            numbers, away = await gate_memory.load(here.core)
            assert (numbers, away) == ([], {}), "none of the bridge's business"
            assert await gate_lists.drop(here.core, "test", "G1") and await holes(here) == []

    asyncio.run(go())


def test_what_a_gate_skips_beyond_all_it_may_have_open_is_said_once(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as here:
            worker = await asked(here, "G1", "hikvision", "http://127.0.0.1:9")
            for n in range(50):
                await gate_lists.hurry(here.core, "G1", 60.0, Numbers(100_001 * n, 100_001 * n + 99_999))
                await gate_lists.hurry(here.core, "G1", 60.0, Numbers(100_001 * n, 100_001 * n + 99_999))
            assert await holes(here) == [(0, 99_999, 0), (100_001, 200_000, 0)], "as many as fit"
            assert await gate_memory.beyond(here.core) == {"G1": 2 * 48 * 100_000}
            for _ in range(2):
                await worker._alarms()
            found = await here.rows("SELECT subject, text FROM alarms WHERE kind = 'gate_numbers'")
            assert [r["subject"] for r in found] == ["G1"] and "9600000" in found[0]["text"]["en"]
            # Once there is room it is taken again, and what is long past is no alarm.
            (first, last) = await gate_lists.holes(here.core, "G1")
            await gate_lists.hole_left(here.core, "G1", first, [])
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(9_000_000, 9_000_009))
            assert await holes(here) == [(last.first, last.last, 0), (9_000_000, 9_000_009, 0)]
            await here.owner.execute("UPDATE gate_memory SET beyond_at = beyond_at - interval '25 hours'")
            await worker._alarms()
            assert await here.value("SELECT count(*) FROM alarms WHERE kind = 'gate_numbers' AND ended_at IS NULL") == 0

    asyncio.run(go())


@pytest.mark.parametrize("rising", [True, False])
def test_a_slow_terminal_is_asked_on_where_the_time_ended(
    ledger: Any, monkeypatch: pytest.MonkeyPatch, rising: bool
) -> None:
    """Each run has time for one page of three numbers. What is not listed in order leaves no place to go on at."""

    async def go() -> None:
        stored = [msgspec.structs.replace(s, at=LOST + timedelta(seconds=s.number)) for s in memory(10)]
        del stored[4]
        store = HikvisionStore(stored if rising else stored[::-1], size=3, password=PASSWORD)
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "hikvision", address)
            await gate_lists.hurry(here.core, "G1", 60.0, Numbers(1, 10))

            async def in_no_time(run: Any, lister: Any, until: float) -> None:
                for hole in await gate_lists.holes(here.core, "G1"):
                    await worker._part(run, lister, hole, 0.0)

            monkeypatch.setattr(worker, "_holes", in_no_time)
            left = [[(4, 10, 0)], [(8, 10, 0)], []] if rising else [[(1, 10, 1)], [(1, 10, 2)], []]
            for standing_then in left:
                await due(here)
                await worker.work(30)
                assert await holes(here) == standing_then
            there = {s.person for s in (stored if rising else stored[-3:])}
            assert set(await people(here)) == there

    asyncio.run(go())
