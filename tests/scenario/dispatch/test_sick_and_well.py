"""One destination that hangs beside one that is well, one key that hangs beside others, and a worker that must end meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from adapters.ministry.simulator import TOKEN, Simulator
from adapters.twin import Fault
from hub.kernel.ledger import alarms, operations

_SLOW = {"timeouts": {"connect_s": 1.0, "read_s": 30.0}}
_LANES = 4
_ONE_BY_ONE = {"batch_max": 1, "concurrency": _LANES}


class _Abreast:
    """Calls that go on only once so many are there at once: whoever has a lane less never gets one of them done."""

    def __init__(self, many: int) -> None:
        self.on = False
        self.rounds = 0
        self._many, self._inside, self._go = many, 0, asyncio.Event()

    async def join(self) -> None:
        if not self.on:
            return
        go = self._go
        self._inside += 1
        if self._inside == self._many:
            self.rounds, self._inside, self._go = self.rounds + 1, 0, asyncio.Event()
            go.set()
        await go.wait()


async def _told(s: Any, items: Any, first: int, count: int) -> None:
    """The ministry is told of so many learners more, one by one."""
    await s.push("learner", *(items.learner(f"31{first + n:08d}") for n in range(count)))
    await s.until(lambda: len(s.twins["ministry"].books.effects) == first + count, 25)


def _filings(items: Any, count: int, first: int = 0) -> list[Any]:
    return [items.filing(f"000.00.12.H24-261122-{first + n:04d}") for n in range(count)]


def test_one_sick_destination_never_slows_another_and_a_stop_waits_for_none(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While every lane of the sick one hangs, the well one has all of its own for every call, however slow the machine."""
    handle = Simulator._handle

    async def go() -> None:
        abreast = _Abreast(_LANES)

        async def held(twin: Any, request: Any) -> Any:
            await abreast.join()
            return await handle(twin, request)

        monkeypatch.setattr(Simulator, "_handle", held)
        async with stage(lease_s=40.0) as s:
            await s.ministry(_ONE_BY_ONE | _SLOW)
            portal = await s.portal(_SLOW)
            await s.work()
            await _told(s, items, 0, 20)
            portal.set_fault(Fault(kind="slow", delay_s=30.0, match="DongBoHoSoMC"))
            await s.push("filing", *_filings(items, 12))
            await s.until(
                lambda: s.led.value("SELECT count(*) >= 4 FROM deliveries WHERE state = 3 AND intent IS NOT NULL")
            )
            abreast.on = True
            await _told(s, items, 20, 38 * _LANES)
            abreast.on = False
            assert not portal.books.effects, "the slow calls were held open all the while"
            assert abreast.rounds == 38, "each beside as many others as it has lanes"
            begun = time.monotonic()
            await s.rest()
            assert time.monotonic() - begun < 10.0
            # What was on the wire is unknown until its lease ends and it is asked about; the rest is as it was.
            states = await s.states()
            assert states.pop("delivered") == 172 and sum(states.values()) == 12, states
            assert states == {"sending": 4, "ready": 8}, "what had not begun is given back, though every lane hung"
            await s.led.owner.execute(
                "UPDATE deliveries SET lease_until = clock_timestamp() - interval '1 second' WHERE state = 3"
            )
            portal.faults.clear()
            await s.work()
            await s.settled(25, delivered=184)
            keys = [e.key for e in portal.books.effects]
            assert len(keys) == len(set(keys)) == 12, "each filing once, also those whose answer nobody waited for"

    asyncio.run(go())


def test_keys_go_beside_one_that_hangs_and_its_own_wait_behind_it(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            portal = await s.portal(_SLOW)
            slow, *others = _filings(items, 21)
            portal.set_fault(Fault(kind="slow", delay_s=30.0, match="261122-0000"))
            await s.push("filing", slow)
            await s.push("filing", items.filing("000.00.12.H24-261122-0000", content="Lần hai"))
            await s.push("filing", *others)
            await s.work()
            await s.settled(15, sending=1, held=1, delivered=20)
            assert len(portal.books.effects) == 20

    asyncio.run(go())


def test_a_fault_of_the_connectors_own_stops_it_at_the_first_with_one_alarm_and_one_word_at_its_end(
    stage: Any, items: Any
) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry(_ONE_BY_ONE, token="another", latency_ms=20)
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(200)))
            await s.work()
            await s.until(lambda: s.led.value("SELECT state = 'paused' FROM connectors"))
            await s.settled(ready=200)
            asked = twin.requests
            assert 1 <= asked <= 4, "no more than were on the wire when the first was refused"
            for _ in range(3):
                await alarms.watch(s.core, 3600)
            await asyncio.sleep(0.5)
            assert twin.requests == asked
            assert await _words(s) == ["alarm_started"]
            twin._token = TOKEN
            await operations.resume(s.core, "lan", "ministry")
            await s.settled(25, delivered=200)
            for _ in range(3):
                await alarms.watch(s.core, 3600)
            assert await _words(s) == ["alarm_started", "alarm_ended"]
            assert len({e.key for e in twin.books.effects}) == len(twin.books.effects) == 200

    asyncio.run(go())


async def _words(s: Any) -> list[str]:
    return [r["kind"] for r in await s.led.rows("SELECT kind FROM journal WHERE kind LIKE 'alarm_%' ORDER BY id")]
