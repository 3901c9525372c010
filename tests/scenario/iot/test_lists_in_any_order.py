"""Lists by the worker's own code on a real database: firmware that gives its newest records first, and clocks that were lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from hub.kernel.ledger import gate_lists
from hub.kernel.ledger.accounting import account
from hub.worker.catchup import CatchUp
from iot.dahua.listing import PROFILES
from iot.dahua.simulator import DahuaStore, Order
from iot.simulator import Stored
from tests.scenario.iot_lists.asking import NOW, PASSWORD, asked, due, memory, people, standing


@pytest.mark.parametrize("order", ["newest", "any"])
def test_a_run_broken_off_between_pages_has_read_no_further_than_it_says(
    ledger: Any, monkeypatch: pytest.MonkeyPatch, order: Order
) -> None:
    class Killed(BaseException):
        pass

    own: Any = PROFILES.get("standard").settings
    monkeypatch.setitem(own, "list_page", 40)

    async def go() -> None:
        stored = memory(140)
        store = DahuaStore(stored, order=order, password=PASSWORD)
        async with ledger("first") as one, ledger("second") as two, store as address:
            worker = await asked(one, "G1", "dahua", address)
            before = (await standing(one))["done_to"]
            left = [2]

            def reach(name: str) -> None:
                left[0] -= name == "pull.after"
                if name == "pull.after" and left[0] == 0:
                    raise Killed

            monkeypatch.setattr(gate_lists, "reach", reach)
            with pytest.raises(Killed):
                await worker.work(30)
            row, found = await standing(one), await people(one)
            assert 40 <= len(found) < 140 and row["done_to"] == before and row["place"]["stretches"]
            await due(two)
            assert await CatchUp(two.core, two.keys, ["127.0.0.0/8"]).work(30) == 1
            row = await standing(two)
            assert await people(two) == [s.person for s in stored] and row["missed"] == 140
            assert row["done_to"] >= NOW and row["fault"] is None and (await account(two.core)).balanced

    asyncio.run(go())


def test_a_second_too_full_alarms_and_keeps_nothing_else_back(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own: Any = PROFILES.get("standard").settings
    monkeypatch.setitem(own, "list_page", 10)

    async def go() -> None:
        stored = memory(30)
        stored += [
            Stored(number=100 + n, person=f"DN{n:02d}", at=NOW - timedelta(minutes=4), passed=True) for n in range(25)
        ]
        store = DahuaStore(stored, order="newest", password=PASSWORD)
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "dahua", address)
            before = (await standing(here))["done_to"]
            await worker.work(30)
            row = await standing(here)
            assert row["fault"]["kind"] == "circle" and row["done_to"] == before and row["place"] is None
            assert {s.person for s in stored[:30]} <= set(await people(here)) and len(await people(here)) == 40
            assert await here.value("SELECT count(*) FROM alarms WHERE kind = 'gate_list' AND ended_at IS NULL") == 1
            monkeypatch.setitem(own, "list_page", 50)  # a person gives the gate a profile with larger pages
            await due(here)
            await worker.work(30)
            assert len(await people(here)) == 55 and (await standing(here))["fault"] is None
            assert await here.value("SELECT count(*) FROM alarms WHERE ended_at IS NULL") == 0

    asyncio.run(go())


def test_what_passed_before_and_after_a_clock_was_lost_is_stored(ledger: Any) -> None:
    """A terminal that lost its time this morning, began at 2000 again, and was set right before it was asked once more."""

    async def go() -> None:
        happened = memory(30, every_s=30.0)
        off = datetime(2000, 1, 1, tzinfo=UTC) - (happened[10].at - timedelta(seconds=5))
        stored = [msgspec.structs.replace(s, at=s.at + off) if 10 <= n < 25 else s for n, s in enumerate(happened)]
        store = DahuaStore(stored[:20], password=PASSWORD)
        store.ahead_s = off.total_seconds()
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "dahua", address)
            await worker.work(30)
            assert await people(here) == [s.person for s in happened[:20]] and (await standing(here))["fault"] is None
            store.stored, store.ahead_s = stored, 0.0
            await here.owner.execute("UPDATE gate_lists SET done_to = $1, due_at = now()", happened[18].at)
            await worker.work(30)
            assert await people(here) == [s.person for s in happened]
            row = await standing(here)
            assert row["place"] is None and row["fault"] is None and row["done_to"] >= NOW
            rows = await here.rows("SELECT body, updated_at FROM records WHERE type = 'checkin' ORDER BY updated_at")
            assert all(abs(r["updated_at"] - s.at) <= timedelta(seconds=2) for r, s in zip(rows, happened, strict=True))
            lost = [r["body"]["quarantine"] == "clock" for r in rows]
            assert lost == [10 <= n < 25 for n in range(30)], "what a lost clock told is kept apart"

    asyncio.run(go())
