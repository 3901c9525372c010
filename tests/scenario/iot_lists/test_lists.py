"""Gates asked for what they hold, by the worker's own code on a real database: nothing missed, nothing twice, whatever the
device does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from hub.kernel.intake import Source
from hub.kernel.ledger import gate_lists, parties
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.worker.catchup import CatchUp
from hub.worker.gate_arrivals import arrival_of
from iot.dahua.simulator import DahuaStore
from iot.hanet.decode import PROFILES, seen
from iot.hanet.simulator import HanetPlace
from iot.hikvision.simulator import HikvisionStore
from iot.simulator import ListGate, Stored

SCHOOL = "31HP0000001"
NOW = datetime.now(UTC).replace(microsecond=0)
PASSWORD = "mat-khau-cua-cong"


def memory(count: int, every_s: float = 60.0) -> list[Stored]:
    """Passages of the last hours, the newest a few minutes ago; every tenth was refused."""
    first = NOW - timedelta(seconds=300 + every_s * count)
    return [
        Stored(number=i + 1, person=f"HS{i:05d}", at=first + timedelta(seconds=every_s * i), passed=i % 10 != 9)
        for i in range(count)
    ]


async def asked(here: Any, device: str, family: str, address: str, **more: Any) -> CatchUp:
    """A registered gate with a list to read, and the worker that reads it."""
    await here.school(SCHOOL)
    if "ministry" not in here.core.connectors:
        await here.connector("ministry", "ministry")
    await parties.add_device(
        here.core, "test", device, family=family, profile=more.pop("profile", ""), title=device, school=SCHOOL, entrance="Cổng chính",
        direction="in", zone="Asia/Ho_Chi_Minh", secret=here.keys.encrypt(b"duong-dan-mat", device.encode()),
    )  # fmt: skip
    password = more.pop("password", PASSWORD)
    settings: dict[str, Any] = {
        "transport": {"kind": "rest", "base_url": address}, "network": "127.0.0.0/8", "every_s": 10, "overlap_s": 0, **more,
    }  # fmt: skip
    sealed = None
    if password:
        settings["auth"] = {"scheme": "digest", "username": "admin"}
        sealed = here.keys.encrypt(msgspec.json.encode({"password": password}), f"gate-list {device}".encode())
    await gate_lists.put(here.core, "test", device, settings, sealed, NOW - timedelta(days=1))
    return CatchUp(here.core, here.keys, ["127.0.0.0/8"])


async def due(here: Any) -> None:
    await here.owner.execute("UPDATE gate_lists SET due_at = clock_timestamp(), until = NULL")


async def people(here: Any) -> list[str]:
    rows = await here.rows("SELECT body->>'person_code' AS p FROM records WHERE type = 'checkin' ORDER BY 1")
    return [row["p"] for row in rows]


async def standing(here: Any) -> Any:
    (row,) = await here.rows("SELECT * FROM gate_lists")
    return row


STORES: dict[str, Any] = {
    "hikvision": lambda stored: HikvisionStore(stored, size=7, password=PASSWORD),
    "dahua": lambda stored: DahuaStore(stored, password=PASSWORD),
    "hanet": lambda stored: HanetPlace(stored, camera="G1"),
}


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
