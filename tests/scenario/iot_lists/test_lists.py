"""Gates asked for what they hold, by the worker's own code on a real database: nothing missed, nothing twice, whatever the
device does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from hub.kernel.intake import Source
from hub.kernel.ledger import gate_lists, gates, parties, persons, rejudge
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.worker.catchup import CatchUp
from hub.worker.gate_arrivals import arrival_of
from iot.dahua.simulator import DahuaStore
from iot.hanet.decode import PROFILES, seen
from iot.hanet.simulator import HanetPlace
from iot.hikvision.simulator import HikvisionStore
from iot.simulator import ListGate, Stored
from tests.scenario.iot_lists.asking import (
    NOW,
    OTHER,
    PASSWORD,
    SCHOOL,
    STORES,
    asked,
    due,
    linked,
    live_passages,
    memory,
    people,
    standing,
)  # fmt: skip


@pytest.mark.parametrize("family", sorted(STORES))
def test_everything_a_gate_holds_is_stored_once(ledger: Any, family: str) -> None:
    async def go() -> None:
        stored = memory(40)
        store: ListGate = STORES[family](stored)
        store.broken = 1
        async with ledger() as here, store as address:
            extra = {"place": "12345", "password": None} if family == "hanet" else {}
            worker = await asked(here, "G1", family, address, **extra)
            for _ in range(4):
                await worker.work(30)
                await due(here)
            expected = [s.person for s in stored if s.passed or family != "hanet"]
            assert await people(here) == expected
            row = await standing(here)
            assert (row["missed"], row["fault"], row["page"]) == (len(expected), None, 0) and row["done_to"] >= NOW
            assert (store.refused > 0) == (family != "hanet")
            bodies = await here.rows("SELECT body FROM records WHERE type = 'checkin'")
            assert all(r["body"]["historical"] for r in bodies)
            raw = b"".join([r["body"] for r in await here.rows("SELECT body FROM messages")])
            assert b"mat-khau" not in raw and b"http" not in raw and b"picture" not in raw
            assert (await account(here.core)).balanced

    asyncio.run(go())


@pytest.mark.parametrize("point", ["pull.inside", "pull.after"])
def test_a_run_broken_off_at_a_page_goes_on_there(ledger: Any, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    class Killed(BaseException):
        pass

    async def go() -> None:
        stored = memory(40)
        store = HikvisionStore(stored, size=7, password=PASSWORD)
        async with ledger("first") as one, ledger("second") as two, store as address:
            worker = await asked(one, "G1", "hikvision", address)
            left = [3]

            def reach(name: str) -> None:
                left[0] -= name == point
                if name == point and left[0] == 0:
                    raise Killed

            monkeypatch.setattr(gate_lists, "reach", reach)
            with pytest.raises(Killed):
                await worker.work(30)
            done = 14 if point == "pull.inside" else 21
            assert len(await people(one)) == done and (await standing(one))["place"]["position"] == done
            second = CatchUp(two.core, two.keys, ["127.0.0.0/8"])
            assert await second.work(30) == 0, "its lease stands"
            await due(two)
            assert await second.work(30) == 1
            assert await people(two) == [s.person for s in stored]
            positions = [body["searchResultPosition"] for body in store.bodies]
            assert positions == sorted(positions) and len({body["searchID"] for body in store.bodies}) == 1
            assert (await account(two.core)).balanced

    asyncio.run(go())


def test_what_was_pushed_is_not_stored_again(ledger: Any) -> None:
    async def go() -> None:
        stored = memory(12)
        async with ledger() as here, HikvisionStore(stored) as address:
            worker = await asked(here, "G1", "hikvision", address, password=None)
            await worker.work(30)
            assert (await standing(here))["missed"] == 12
            assert await gate_lists.back_to(here.core, "G1", NOW - timedelta(days=1))
            await worker.work(30)
            row = await standing(here)
            assert (row["listed"], row["missed"]) == (24, 12) and len(await people(here)) == 12

    asyncio.run(go())


def test_a_list_that_goes_in_circles_is_stopped_with_an_alarm_that_ends(ledger: Any) -> None:
    async def go() -> None:
        stored = memory(20)
        store = HikvisionStore(stored, size=5, password=PASSWORD)
        store.circling = True
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "hikvision", address)
            await worker.work(30)
            assert (await standing(here))["fault"]["kind"] == "circle" and len(store.bodies) == 2
            (alarm,) = await here.rows("SELECT kind, subject FROM alarms WHERE ended_at IS NULL")
            assert (alarm["kind"], alarm["subject"]) == ("gate_list", "G1")
            store.circling = False
            await due(here)
            await worker.work(30)
            assert await people(here) == [s.person for s in stored]
            assert await here.value("SELECT count(*) FROM alarms WHERE ended_at IS NULL") == 0

    asyncio.run(go())


def test_firmware_that_ignores_the_dates_gives_only_what_was_asked_for(ledger: Any) -> None:
    async def go() -> None:
        old = [Stored(number=900 + i, person=f"CU{i}", at=NOW - timedelta(days=30, seconds=i)) for i in range(5)]
        stored = memory(9)
        async with ledger() as here, DahuaStore([*old, *stored], dates=False, password=PASSWORD) as address:
            worker = await asked(here, "G1", "dahua", address)
            await worker.work(30)
            assert await people(here) == [s.person for s in stored]

    asyncio.run(go())


def test_only_what_the_webhook_missed_is_taken_from_the_list(ledger: Any) -> None:
    """The list and the webhook have no name in common: device, person and second tell."""

    async def go() -> None:
        stored = [s for s in memory(10) if s.passed]
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            entry = {"id": "G1", "school": SCHOOL, "direction": "in"}
            for s in stored[:4]:
                told = {"aliasid": s.person, "time": int(s.at.timestamp() * 1000)}
                item = seen(f"webhook-{s.number}", told, s.at, entry, PROFILES.get(None).settings)
                made = arrival_of("hanet", "", item, b"{}", is_json=True, digest=bytes(16), source=Source("device", "G1"), opener="G1")  # fmt: skip
                await accept(here.core, [made])
            await worker.work(30)
            assert await people(here) == sorted(s.person for s in stored)
            assert (await standing(here))["missed"] == len(stored) - 4

    asyncio.run(go())


def test_a_linked_passage_is_known_in_the_list_too(ledger: Any) -> None:
    """Once somebody is linked, the ledger has the learner's code, and the vendor's beside it: the list tells the vendor's."""

    async def go() -> None:
        stored = [s for s in memory(8) if s.passed]
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await linked(here, stored[0].person)
            entry = {"id": "G1", "school": SCHOOL, "direction": "in"}
            for s in stored[:4]:
                told = {"aliasid": s.person, "time": int(s.at.timestamp() * 1000)}
                item = seen(f"webhook-{s.number}", told, s.at, entry, PROFILES.get(None).settings)
                made = arrival_of("hanet", "", item, b"{}", is_json=True, digest=bytes(16), source=Source("device", "G1"), opener="G1")  # fmt: skip
                await accept(here.core, [made])
            # Linked only once it is stored: the list finds that one by what the vendor called it as well.
            await persons.link(here.core, "test", "tai-khoan", stored[1].person, "HP02", "đúng em")
            while await rejudge.advance(here.core):
                pass
            for _ in range(2):
                await due(here)
                await worker.work(30)
            rows = await here.rows(
                "SELECT DISTINCT key, coalesce(body->>'local_id', body->>'person_code') AS local FROM records WHERE type = 'checkin'"
            )
            assert sorted(r["local"] for r in rows) == sorted(s.person for s in stored), "each once"
            assert (await standing(here))["missed"] == len(stored) - 4
            assert {"HP01", "HP02"} <= set(await people(here))

    asyncio.run(go())


def test_a_fault_in_asking_one_gate_is_no_other_gates(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        stored = memory(5)
        store = HikvisionStore(stored, size=7, password=PASSWORD)
        async with ledger() as here, store as address:
            await asked(here, "G1", "hikvision", address)
            worker = await asked(here, "G2", "hikvision", address)
            page = CatchUp._page

            async def stumble(self: Any, run: Any) -> bool:
                if run.asking.device == "G1":
                    raise RuntimeError("a bug")
                return await page(self, run)

            monkeypatch.setattr(CatchUp, "_page", stumble)
            assert await worker.work(30) == 2
            assert await people(here) == [s.person for s in stored]
            rows = await here.rows("SELECT device, fault->>'kind' AS kind, faults FROM gate_lists ORDER BY device")
            assert [tuple(r) for r in rows] == [("G1", "later", 1), ("G2", None, 0)]

    asyncio.run(go())


@pytest.mark.parametrize("family", sorted(STORES))
@pytest.mark.parametrize("off_s", [7200.0, -7200.0])
def test_a_wrong_clock_hides_nothing_and_is_put_right(ledger: Any, family: str, off_s: float) -> None:
    """The list goes by the device's own clock: the span is asked for by it, and what it tells is corrected by it. A device
    tells its clock with its answers, the first of which is asked for again; of a camera behind a cloud its webhook tells it."""

    async def go() -> None:
        happened = [s for s in memory(20) if s.passed]
        stored = [msgspec.structs.replace(s, at=s.at + timedelta(seconds=off_s)) for s in happened]
        store: ListGate = STORES[family](stored)
        store.ahead_s = off_s
        async with ledger() as here, store as address:
            extra = {"place": "12345", "password": None} if family == "hanet" else {}
            worker = await asked(here, "G1", family, address, **extra)
            if family == "hanet":
                await live_passages(here, happened[0].at, off_s)
            start = happened[0].at - timedelta(seconds=1)
            await here.owner.execute("UPDATE gate_lists SET done_to = $1", start)
            await worker.work(30)
            rows = await here.rows("SELECT body, updated_at FROM records WHERE type = 'checkin' ORDER BY updated_at")
            assert len(rows) == len(happened)
            assert all(abs(r["updated_at"] - s.at) <= timedelta(seconds=1) for r, s in zip(rows, happened, strict=True))
            known = await here.value("SELECT offset_s FROM device_state WHERE device = 'G1'")
            assert abs(known - off_s) <= 1.0
            assert all(r["body"]["estimated_offset_s"] == known and not r["body"]["quarantine"] for r in rows)
            assert (await standing(here))["done_to"] <= datetime.now(UTC), "the hub's own time, whatever the gate's is"

    asyncio.run(go())


def test_what_a_webhook_brought_by_a_wrong_clock_is_known_in_the_list(ledger: Any) -> None:
    async def go() -> None:
        off = timedelta(minutes=30)
        stored = [msgspec.structs.replace(s, at=s.at + off) for s in memory(10) if s.passed]
        async with ledger() as here, HanetPlace(stored, camera="G1") as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            entry = {"id": "G1", "school": SCHOOL, "direction": "in"}
            for s in stored[:4]:
                told = {"aliasid": s.person, "time": int(s.at.timestamp() * 1000)}
                item = seen(f"webhook-{s.number}", told, s.at - off, entry, PROFILES.get(None).settings)
                made = arrival_of("hanet", "", item, b"{}", is_json=True, digest=bytes(16), source=Source("device", "G1"), opener="G1")  # fmt: skip
                await accept(here.core, [made])
            await here.owner.execute(
                "INSERT INTO device_state (device, seen_at, offset_s) VALUES ('G1', clock_timestamp(), $1)",
                off.total_seconds(),
            )
            await worker.work(30)
            assert await people(here) == sorted(s.person for s in stored)
            assert (await standing(here))["missed"] == len(stored) - 4

    asyncio.run(go())


@pytest.mark.parametrize("family", sorted(STORES))
def test_listed_passages_belong_to_where_the_gate_stood_then(ledger: Any, family: str) -> None:
    async def go() -> None:
        stored = [s for s in memory(20) if s.passed]
        async with ledger() as here, STORES[family](stored) as address:
            extra = {"place": "12345", "password": None} if family == "hanet" else {}
            worker = await asked(here, "G1", family, address, **extra)
            await here.school(OTHER)
            middle = stored[9].at
            await gates.move(here.core, "test", "G1", OTHER, "Cổng sau", "out", middle, "chuyển")
            await worker.work(30)
            rows = await here.rows("SELECT body, school, updated_at FROM records WHERE type = 'checkin'")
            assert len(rows) == len(stored)
            for r in rows:
                before = r["updated_at"] < middle
                expected = (SCHOOL, "Cổng chính", "in") if before else (OTHER, "Cổng sau", "out")
                if family == "dahua":  # it says itself which way somebody went
                    expected = (*expected[:2], "in")
                assert (r["school"], r["body"]["entrance"], r["body"]["direction"]) == expected
                assert r["body"]["school_code"] == r["school"]
            messages = await here.rows("SELECT school, count(*) AS n FROM messages GROUP BY school ORDER BY school")
            assert {m["school"] for m in messages} == {SCHOOL, OTHER}

    asyncio.run(go())


@pytest.mark.parametrize(
    ("camera", "family", "secret", "taken"),
    [
        ("G2", "hanet", b"ours", True),
        ("G2", "hanet", b"another account's", False),
        ("G2", "hanet", None, False),
        ("G2", "face_mqtt", b"ours", False),
    ],
)
def test_an_accounts_list_speaks_for_its_own_cameras_only(
    ledger: Any, camera: str, family: str, secret: bytes | None, taken: bool
) -> None:
    async def go() -> None:
        stored = [s for s in memory(5) if s.passed]
        async with ledger() as here, HanetPlace(stored, camera=camera) as address:
            worker = await asked(here, "G1", "hanet", address, place="12345", password=None)
            await here.school(OTHER)
            await parties.add_device(
                here.core, "test", camera, family=family, profile="", title=camera, school=OTHER, entrance="Cổng",
                direction="in",
                person_ids="department", zone="Asia/Ho_Chi_Minh", secret=here.keys.encrypt(b"x", camera.encode()),
                signing=here.keys.encrypt(secret, gates.SIGNING) if secret else None,
            )  # fmt: skip
            await gates.sign(here.core, "test", ["G1"], here.keys.encrypt(b"ours", gates.SIGNING))
            await worker.work(30)
            assert len(await people(here)) == (len(stored) if taken else 0)
            assert (await standing(here))["fault"] is None

    asyncio.run(go())


def test_a_wrong_password_and_a_foreign_network_need_a_person(ledger: Any) -> None:
    async def go() -> None:
        store = HikvisionStore(memory(3), password="another")
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "hikvision", address)
            await worker.work(10)
            assert (await standing(here))["fault"]["kind"] == "person"
            refused = store.refused
            outside = CatchUp(here.core, here.keys, ["10.0.0.0/8"])
            await due(here)
            await outside.work(10)
            assert (await standing(here))["fault"]["kind"] == "person" and store.refused == refused
            assert await people(here) == [] and store.asked == []

    asyncio.run(go())


def test_a_terminal_is_told_again_where_to_push(ledger: Any) -> None:
    async def go() -> None:
        store = HikvisionStore(memory(2), password=PASSWORD)
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "hikvision", address, push_base="https://hub.example.vn", tell_every_s=60)
            await worker.work(10)
            await due(here)
            await worker.work(10)
            (told,) = store.hosts
            assert b"/gates/duong-dan-mat/hikvision" in told and b"<hostName>hub.example.vn" in told
            await here.owner.execute("UPDATE gate_lists SET told_at = told_at - interval '2 minutes', due_at = now()")
            await worker.work(10)
            assert len(store.hosts) == 2

    asyncio.run(go())
