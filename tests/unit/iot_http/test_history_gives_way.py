"""Stored events that come one a request do not share a commit with what happens now, and go after it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from hub.api import device_store
from hub.api.device_store import DeviceStore
from hub.kernel.grouping import Gap, GroupCommit
from hub.kernel.intake import Accepted, Arrival, Source, intake_key

GATE = Source("device", "G1")


def arrival(name: str, historical: bool) -> Arrival:
    return Arrival(
        source=GATE, type="checkin", body=name.encode(), content_type="application/json", digest=b"d" * 32,
        key=intake_key(GATE, name), historical=historical,
    )  # fmt: skip


class Books:
    """A ledger whose commits take a while."""

    def __init__(self) -> None:
        self.batches: list[list[Arrival]] = []
        self.most = 0
        """Commits at the same time."""
        self._now = 0

    async def accept(self, arrivals: list[Arrival]) -> list[Accepted]:
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0.01)
        self._now -= 1
        self.batches.append(list(arrivals))
        return [Accepted(message=n, duplicate=False) for n, _ in enumerate(arrivals)]


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    made = Books()

    async def accept(_core: Any, arrivals: list[Arrival]) -> list[Accepted]:
        return await made.accept(arrivals)

    monkeypatch.setattr(device_store, "ledger", SimpleNamespace(accept=accept))
    return made


def test_a_flood_of_stored_events_does_not_stand_before_live_ones(books: Books) -> None:
    async def go() -> None:
        live = GroupCommit(books.accept, batch=200, committers=1)
        store = DeviceStore(object(), live)  # type: ignore[arg-type]
        old = [asyncio.create_task(store.put([arrival(f"old-{n}", True)])) for n in range(600)]
        await asyncio.sleep(0)
        await asyncio.gather(*(store.put([arrival(f"now-{n}", False)]) for n in range(5)))
        done = sum(task.done() for task in old)
        assert done < 200, "the live ones did not wait for what was stored"
        assert len(await asyncio.gather(*old)) == 600

    asyncio.run(go())
    assert all(len({a.historical for a in batch}) == 1 for batch in books.batches), "never in one commit"
    assert max(len(b) for b in books.batches if b[0].historical) <= 64


def test_posts_of_several_stored_events_take_turns_and_let_live_ones_by(books: Books) -> None:
    async def go() -> None:
        live = GroupCommit(books.accept, batch=200, committers=1)
        store = DeviceStore(object(), live)  # type: ignore[arg-type]
        posts = [
            asyncio.create_task(store.put([arrival(f"old-{post}-{n}", True) for n in range(300)])) for post in range(6)
        ]
        await asyncio.sleep(0)
        await asyncio.gather(*(store.put([arrival(f"now-{n}", False)]) for n in range(5)))
        assert sum(task.done() for task in posts) < 2, "the live ones did not wait for what was stored"
        assert [len(answers) for answers in await asyncio.gather(*posts)] == [300] * 6

    asyncio.run(go())
    assert all(len({a.historical for a in batch}) == 1 for batch in books.batches), "never in one commit"
    assert max(len(b) for b in books.batches if b[0].historical) <= 200
    assert books.most == 2, "one of what was stored at a time, beside one of what happens now"


def test_many_long_posts_end_one_after_the_other_and_are_not_begun_again_for_ever(books: Books) -> None:
    """Each device gives up after a while and sends its post again: with every round fewer are left."""

    async def go() -> list[int]:
        live = GroupCommit(books.accept, batch=200, committers=1)
        store = DeviceStore(object(), live)  # type: ignore[arg-type]
        began = asyncio.get_running_loop().time()
        await store.put([arrival(f"alone-{n}", True) for n in range(1000)])
        # Enough for some fifteen of the posts; batch by batch all forty would need almost three times as long.
        patience = 15 * (asyncio.get_running_loop().time() - began)
        left, rounds = list(range(40)), []
        while left and len(rounds) < 20:
            posts = [store.put([arrival(f"{post}-{n}", True) for n in range(1000)]) for post in left]
            ended = await asyncio.gather(*(asyncio.wait_for(post, patience) for post in posts), return_exceptions=True)
            assert all(isinstance(e, TimeoutError) or (isinstance(e, list) and len(e) == 1000) for e in ended), ended
            left = [post for post, e in zip(left, ended, strict=True) if isinstance(e, TimeoutError)]
            rounds.append(len(left))
        return rounds

    rounds = asyncio.run(go())
    assert rounds[0] < 40 and rounds[-1] == 0, rounds
    assert all(after < before for before, after in pairwise(rounds)), rounds


@pytest.mark.parametrize(
    ("waiting", "strained", "least", "most"),
    [(1, False, 0.05, 0.24), (0, True, 0.25, 1.0), (1, True, 0.25, 1.0), (0, False, 0.0, 0.05)],
)
def test_history_waits_a_moment_for_live_ones_and_no_longer(
    books: Books, waiting: int, strained: bool, least: float, most: float
) -> None:
    async def go() -> float:
        live = SimpleNamespace(waiting=waiting, strained=strained)
        store = DeviceStore(object(), live)  # type: ignore[arg-type]
        began = asyncio.get_running_loop().time()
        await store.put([arrival("old", True)])
        return asyncio.get_running_loop().time() - began

    assert least <= asyncio.run(go()) < most, "it gives way, and does not starve"
    assert len(books.batches) == 1


def test_commits_of_long_ago_hold_up_no_history() -> None:
    async def slow(arrivals: list[Arrival]) -> list[Accepted]:
        await asyncio.sleep(0.2)
        return [Accepted(message=n) for n, _ in enumerate(arrivals)]

    async def go() -> tuple[bool, bool]:
        group = GroupCommit(slow, gap=Gap(0.001, 0.002))
        await group.put(arrival("now", False))
        during = group.strained
        await asyncio.sleep(1.1)
        return during, group.strained

    assert asyncio.run(go()) == (True, False)
