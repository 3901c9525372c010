"""Faults of the hub's own in the middle of sending: no lane is lost for them, and no answer that is in hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest

from adapters.ministry.simulator import TOKEN
from adapters.ministry.simulator import Simulator as Ministry
from adapters.twin import Say
from connectors.policy.breaker import Breaker
from hub.kernel.ledger.accounting import account
from hub.worker.concluder import Concluder
from hub.worker.dispatch import Dispatcher
from hub.worker.quota import Quota


class Strict(Ministry):
    """Refuses a batch whole for one bad name in it, and counts what it was given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.given: Counter[str] = Counter()

    def _push(self, table: str, body: bytes) -> Say:
        rows = orjson.loads(body)["banghi"]
        if len(rows) > 1 and any("Nguyễn Văn Sai" in map(str, r.values()) for r in rows):
            return Say.of({"ma": "49", "thongbao": "Gói tin có bản ghi sai"}, 422)
        self.given.update(str(r["mahocsinh"]) for r in rows)
        return super()._push(table, body)


async def connected(s: Any, policy: dict[str, Any]) -> Strict:
    twin = Strict()
    url = await twin.start()
    s.twins["ministry"] = twin
    transport = {"kind": "rest", "base_url": url}
    await s.connect("ministry", transport, {"scheme": "bearer"}, {"token": TOKEN}, {"source": "000.00.12.H24"}, policy)
    return twin


def failing(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: int, error: Exception) -> list[int]:
    """Let a coroutine function of `owner` fail so often before it works; how often it did."""
    whole = getattr(owner, name)
    failed = [0]

    async def stumble(self: Any, *args: Any, **more: Any) -> Any:
        if failed[0] < times:
            failed[0] += 1
            raise error
        return await whole(self, *args, **more)

    monkeypatch.setattr(owner, name, stumble)
    return failed


def test_a_database_away_while_permits_are_taken_stops_no_lane(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        failed = failing(monkeypatch, Quota, "take", 3, ConnectionError("the database is away"))
        async with stage() as s:
            await connected(s, {"concurrency": 2, "batch_max": 1, "quota": {"per_second": 50}})
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(6)))
            await s.work()
            await s.settled(delivered=6)
            assert failed == [3]

    asyncio.run(go())


@pytest.mark.parametrize("fault", [ConnectionError("away"), RuntimeError("a bug")])
def test_an_answer_in_hand_is_written_down_whatever_comes_after_it(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def go() -> None:
        failed = failing(monkeypatch, Breaker, "record", 1, fault)
        async with stage() as s:
            twin = await connected(s, {"concurrency": 1})
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(5)))
            await s.work()
            await s.settled(delivered=5)
            assert failed == [1] and max(twin.given.values()) == 1, "what was taken over there is not sent again"

    asyncio.run(go())


def test_a_conversation_broken_off_keeps_the_half_that_was_answered(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        whole, asked = Dispatcher._may_go_on, [0]

        async def stumble(self: Any, job: Any, exchange: Any) -> bool:
            asked[0] += 1
            if asked[0] == 2:
                raise ConnectionError("away")
            return await whole(self, job, exchange)

        monkeypatch.setattr(Dispatcher, "_may_go_on", stumble)
        async with stage() as s:
            twin = await connected(s, {"concurrency": 1})
            await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(3)))
            await s.push("learner", items.learner("3100000003", full_name="Nguyễn Văn Sai"))
            await s.work()
            # The half answered at once, the other when its lease has ended.
            await s.until(lambda: s.led.value("SELECT count(*) = 2 FROM deliveries_closed WHERE state = 7"), 4)
            await s.until(lambda: s.led.value("SELECT count(*) = 4 FROM deliveries_closed WHERE state = 7"))
            assert max(twin.given.values()) == 1
            assert (await account(s.core)).balanced

    asyncio.run(go())


def test_a_part_that_ends_by_a_fault_is_begun_anew(stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        failed = failing(monkeypatch, Concluder, "_write", 1, RuntimeError("a bug"))
        monkeypatch.setattr("hub.worker.dispatch._FINISH_S", 0.5)
        async with stage() as s:
            await connected(s, {"concurrency": 1})
            await s.push("learner", items.learner("3100000001"))
            await s.work()
            await s.settled(delivered=1)
            assert failed == [1]

    asyncio.run(go())
