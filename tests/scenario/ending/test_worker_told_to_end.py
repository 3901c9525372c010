"""A worker told to end while its counterparty holds every answer back: it ends, and the next one asks before it sends again."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.twin import Fault
from tests.scenario.ending.children import Processes, until

_SLOW = {"timeouts": {"connect_s": 1.0, "read_s": 40.0}, "concurrency": 4}
_TAKEN, _UNHEARD, _NOTICE = "000.00.12.H24-261122-0001", "000.00.12.H24-261122-0002", "CapNhatTienDo"
_STEP = {
    "file_number": "000.00.12.H24-261122-0009", "handler": "Cán bộ Thử", "handled_at": "2026-11-20T10:00:00+07:00", "content": "Bước 1", "status": "2",
}  # fmt: skip


def test_what_hangs_at_a_counterparty_is_asked_about_by_the_next_worker(
    stage: Any, items: Any, processes: Processes
) -> None:
    """Two calls were carried out and their answers held back for half a minute, one was never heard at all."""

    async def go() -> None:
        async with stage() as s:
            portal = await s.portal(_SLOW)
            start = {"DISPATCH__LEASE_S": 5, "DISPATCH__POLL_INTERVAL_S": 0.1}
            first = processes.start("worker", **start)
            await s.push("filing", items.filing(_STEP["file_number"]))
            await s.settled(delivered=1)
            # Held for sixty times `delay_s`.
            portal.set_fault(Fault(kind="commit_then_timeout", delay_s=0.5, match=_TAKEN))
            portal.set_fault(Fault(kind="half_open", delay_s=0.5, match=_UNHEARD))
            portal.set_fault(Fault(kind="commit_then_timeout", delay_s=0.5, match=_NOTICE))
            await s.push("filing", items.filing(_TAKEN))
            await s.push("filing", items.filing(_UNHEARD))
            await s.push("filing_progress", {"data": _STEP})
            await until(lambda: len(portal.books.effects) == 3, "both carried out, unanswered")
            await until(lambda: s.led.value(_ON_THE_WIRE), "all three on the wire")
            requests = portal.requests
            assert await first.told_to_end() < 10.0
            assert await s.states() == {"sending": 3, "delivered": 1}, "unknown, with the stored request, under a lease"
            assert await s.led.value(_ON_THE_WIRE)
            assert portal.requests == requests, "nothing is sent by one that ends"

            portal.faults.clear()
            asked: list[str] = []
            answer = portal.answer
            portal.answer = lambda ask: (asked.append(ask.body.decode()), answer(ask))[1]  # type: ignore[method-assign]
            # A lease is longer than its longest call may take: here it has just ended.
            await s.led.owner.execute(_LEASES_END)
            processes.start("worker", **start)
            await s.settled(30, delivered=4)
            for number in (_TAKEN, _UNHEARD):
                about = [body for body in asked if number in body]
                assert "TraCuuHoSo" in about[0], "asked about before anything else"
                assert ["DongBoHoSoMC" in body for body in about].count(True) == (number == _UNHEARD)
            assert not any(_NOTICE in body for body in asked), "a notice that stands there is not given again"
            effects = [(e.type, e.key) for e in portal.books.effects]
            assert len(effects) == len(set(effects)) == 4, "one effect each, by the portal's own book"
            assert portal.books.repeats == 0

    asyncio.run(go())


def test_a_database_that_stands_still_keeps_no_worker_from_ending(stage: Any, items: Any, processes: Processes) -> None:
    """One call hangs at the portal, others wait for their turn, and PostgreSQL answers nobody."""

    async def go() -> None:
        async with stage() as s:
            portal = await s.portal(_SLOW | {"concurrency": 1})
            start = {"DISPATCH__LEASE_S": 5, "DISPATCH__POLL_INTERVAL_S": 0.1}
            first = processes.start("worker", **start)
            portal.set_fault(Fault(kind="commit_then_timeout", delay_s=0.5, match=_TAKEN))
            await s.push("filing", items.filing(_TAKEN), items.filing(_UNHEARD))
            await until(lambda: len(portal.books.effects) == 1, "carried out, unanswered")
            with processes.database_frozen():
                await asyncio.sleep(0.5)
                await first.told_to_end()
            portal.faults.clear()
            await s.led.owner.execute(_LEASES_END)
            processes.start("worker", **start)
            await s.settled(30, delivered=2)
            assert sorted(e.key for e in portal.books.effects) == [_TAKEN, _UNHEARD]
            assert portal.books.repeats == 0

    asyncio.run(go())


_ON_THE_WIRE = "SELECT count(*) = 3 FROM deliveries WHERE state = 3 AND intent IS NOT NULL"
_LEASES_END = "UPDATE deliveries SET lease_until = clock_timestamp() - interval '1 second' WHERE state = 3"
