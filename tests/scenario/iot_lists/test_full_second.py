"""A gate that holds more of a second than it can tell: what can be read is read, run after run, under one alarm without a break."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from hub.worker.catchup import CatchUp
from iot.dahua.listing import PROFILES
from iot.dahua.simulator import DahuaStore
from iot.simulator import Stored
from tests.scenario.iot_lists.asking import NOW, PASSWORD, asked, due, memory, people, standing


def test_the_alarm_of_a_second_too_full_stands_until_a_run_has_come_to_its_end(ledger: Any) -> None:
    """Every run reads what it can before it meets that second again: those pages are no recovery, nor is a gate that is away meanwhile."""

    async def go() -> None:
        crowd = [Stored(number=500 + i, person=f"DONG{i}", at=NOW - timedelta(hours=3)) for i in range(9)]
        store = DahuaStore([*memory(12), *crowd], password=PASSWORD)
        own: Any = PROFILES.get("standard").settings
        said: list[Any] = []

        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "dahua", address)
            page = CatchUp._page

            async def watched(self: Any, run: Any) -> bool:
                going = await page(self, run)
                await self._alarms()
                rows = await here.rows("SELECT started_at, ended_at FROM alarms WHERE kind = 'gate_list'")
                said.append(tuple((r["started_at"], r["ended_at"]) for r in rows))
                return going

            with patch.dict(own, list_page=5), patch.object(CatchUp, "_page", watched):
                await worker.work(30)
                assert (await standing(here))["fault"]["kind"] == "circle"
                (first,) = await here.rows("SELECT started_at FROM alarms WHERE ended_at IS NULL")
                del said[:]
                for away in (False, True, False):
                    await due(here)
                    with patch.object(store, "answer", lambda *_: (503, "text/plain", b"")) if away else nullcontext():
                        await worker.work(30)
                    assert (await standing(here))["fault"]["kind"] == "circle"
                assert len(said) > 6 and set(said) == {((first["started_at"], None),)}, "one alarm, without a break"
                store.stored = [s for s in store.stored if s not in crowd[4:]]
                await due(here)
                await worker.work(30)
            assert (await standing(here))["fault"] is None
            assert await here.value("SELECT count(*) FROM alarms WHERE ended_at IS NULL") == 0
            assert set(await people(here)) >= {s.person for s in store.stored}

    asyncio.run(go())
