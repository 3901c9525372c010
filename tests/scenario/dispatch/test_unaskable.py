"""A counterparty that neither knows a repeat nor can be asked: one try, then a person. Judged by its own books."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.twin import Fault
from hub.worker import main

FILE = "000.00.12.H24-261122-0001"


@pytest.mark.parametrize(("kind", "done"), [("commit_then_timeout", 1), ("reset_after_read", 0)])
def test_one_try_then_a_person(stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch, kind: str, done: int) -> None:
    whole = main.target_of

    def unaskable(row: Any, manifest: Any, *args: Any) -> Any:
        return whole(row, replace(manifest, inquire=False), *args)

    monkeypatch.setattr(main, "target_of", unaskable)

    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            tried: list[bytes] = []
            faulty = twin._faulty

            async def counted(request: Any, ask: Any, fault: Fault) -> Any:
                tried.append(ask.body)
                return await faulty(request, ask, fault)

            twin._faulty = counted
            twin.set_fault(Fault(kind=kind, match=FILE))
            await s.push("filing", items.filing(FILE))
            await s.push("filing", items.filing(FILE, content="Xin chuyển trường, lần hai"))
            await s.push("filing", items.filing("000.00.12.H24-261122-0002"))
            await s.work()
            await s.settled(parked=1, held=1, delivered=1)
            await asyncio.sleep(1.5)  # several times `settle_after_s`, `absent_gap_s` and the longest retry
            assert await s.states() == {"parked": 1, "held": 1, "delivered": 1}
            assert len(tried) == 1, "neither sent again nor asked about"
            assert [e.key for e in twin.books.effects if e.key == FILE] == [FILE] * done
            (task,) = await s.led.rows("SELECT cause, subject, state FROM tasks")
            assert dict(task) == {"cause": "unsettled", "subject": FILE, "state": "open"}
            outcomes = await s.led.rows(
                "SELECT kind, outcome FROM attempts a JOIN deliveries d ON d.id = a.delivery ORDER BY a.id"
            )
            assert [tuple(r) for r in outcomes] == [("send", "Unknown"), ("inquire", "unaskable")]

    asyncio.run(go())
