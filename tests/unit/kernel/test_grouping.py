"""Group commit: everybody gets their own answer, nobody gets one before the commit, nobody is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.kernel import grouping
from hub.kernel.grouping import Gap, GroupCommit
from hub.kernel.intake import Accepted, Overloaded


def test_many_share_a_commit_and_each_gets_its_own_answer() -> None:
    batches: list[int] = []

    async def accept(arrivals: list[Any]) -> list[Accepted]:
        batches.append(len(arrivals))
        await asyncio.sleep(0.01)
        return [Accepted(message=a) for a in arrivals]

    async def go() -> None:
        group = GroupCommit(accept, batch=50)
        answers = await asyncio.gather(*(group.put(n) for n in range(300)))  # type: ignore[arg-type]
        assert [a.message for a in answers] == list(range(300))
        assert sum(batches) == 300 and len(batches) < 30

    asyncio.run(go())


def test_a_second_commit_goes_beside_the_first_for_many_and_ends_when_few_come() -> None:
    """Each commit lasts until it is let go."""
    under_way: list[tuple[list[int], asyncio.Event]] = []

    async def accept(arrivals: list[Any]) -> list[Accepted]:
        under_way.append((arrivals, asyncio.Event()))
        await under_way[-1][1].wait()
        return [Accepted(message=a) for a in arrivals]

    async def go() -> None:
        group = GroupCommit(accept, batch=10, second=3)
        answers: list[asyncio.Task[Accepted]] = []

        async def came(*numbers: int) -> list[list[int]]:
            for n in numbers:
                answers.append(asyncio.create_task(group.put(n)))  # type: ignore[arg-type]
            for _ in range(5):
                await asyncio.sleep(0)
            return [taken for taken, gone in under_way if not gone.is_set()]

        assert await came(0) == [[0]], "whoever comes alone goes at once"
        assert await came(1, 2) == [[0]], "a few wait for it"
        assert await came(3) == [[0], [1, 2, 3]], "many do not"
        assert await came(4, 5, 6) == [[0], [1, 2, 3]], "a third is for a full batch"
        under_way[1][1].set()
        assert await came() == [[0], [4, 5, 6]]
        await came(7)
        under_way[2][1].set()
        assert await came() == [[0]], "one is not worth a commit beside the other"
        under_way[0][1].set()
        assert await came() == [[7]], "which takes it up"
        assert await came(*range(8, 18), *range(18, 28)) == [[7], [*range(8, 18)], [*range(18, 28)]]
        for _, gone in under_way:
            gone.set()
        assert sorted(a.message for a in await asyncio.gather(*answers)) == list(range(28)) and not group.waiting

    asyncio.run(go())


def test_a_failed_commit_fails_its_own_and_the_next_go_on() -> None:
    async def accept(arrivals: list[Any]) -> list[Accepted]:
        await asyncio.sleep(0)
        if 3 in arrivals:
            raise ConnectionError("gone")
        return [Accepted(message=a) for a in arrivals]

    async def go() -> None:
        group = GroupCommit(accept, batch=2, committers=1)
        answers = await asyncio.gather(*(group.put(n) for n in range(8)), return_exceptions=True)  # type: ignore[arg-type]
        failed = [n for n, a in enumerate(answers) if isinstance(a, ConnectionError)]
        assert 3 in failed and len(failed) <= 2
        assert all(a.message == n for n, a in enumerate(answers) if isinstance(a, Accepted))

    asyncio.run(go())


def test_a_sender_that_went_away_does_not_disturb_the_others() -> None:
    async def accept(arrivals: list[Any]) -> list[Accepted]:
        await asyncio.sleep(0.02)
        return [Accepted(message=a) for a in arrivals]

    async def go() -> None:
        group = GroupCommit(accept, batch=10, committers=1)
        tasks = [asyncio.create_task(group.put(n)) for n in range(20)]  # type: ignore[arg-type]
        await asyncio.sleep(0.005)
        tasks[5].cancel()
        tasks[15].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(a, Accepted) for a in answers) == 18

    asyncio.run(go())


def test_beyond_the_limit_it_refuses() -> None:
    async def accept(arrivals: list[Any]) -> list[Accepted]:
        await asyncio.sleep(0.05)
        return [Accepted(message=0) for _ in arrivals]

    async def go() -> None:
        group = GroupCommit(accept, batch=1, committers=1, most_waiting=3)
        tasks = [asyncio.create_task(group.put(n)) for n in range(8)]  # type: ignore[arg-type]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(a, Overloaded) for a in answers) and any(isinstance(a, Accepted) for a in answers)

    asyncio.run(go())


def test_cancellation_of_the_hub_is_not_swallowed() -> None:
    async def accept(arrivals: list[Any]) -> list[Accepted]:
        raise asyncio.CancelledError

    async def go() -> None:
        with pytest.raises(asyncio.CancelledError):
            await GroupCommit(accept).put(1)  # type: ignore[arg-type]

    asyncio.run(go())


def test_one_that_cannot_be_stored_fails_alone() -> None:
    tried: list[list[int]] = []

    async def accept(arrivals: list[Any]) -> list[Accepted]:
        tried.append(arrivals)
        await asyncio.sleep(0)
        if 13 in arrivals:
            raise ValueError("no such character")
        return [Accepted(message=a) for a in arrivals]

    async def go() -> None:
        group = GroupCommit(accept, batch=50, committers=1)
        answers = await asyncio.gather(*(group.put(n) for n in range(40)), return_exceptions=True)  # type: ignore[arg-type]
        assert [n for n, a in enumerate(answers) if isinstance(a, ValueError)] == [13]
        assert all(a.message == n for n, a in enumerate(answers) if isinstance(a, Accepted))
        assert len(tried) <= 14, "halves, not one by one"

    asyncio.run(go())


def test_a_commit_that_takes_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own batch waits, and only it: a few that came behind it go on although nobody comes any more."""
    monkeypatch.setattr(grouping, "_LATE_S", 0.05)
    held = asyncio.Event()
    batches: list[list[int]] = []

    async def accept(arrivals: list[Any]) -> list[Accepted]:
        batches.append(arrivals)
        if 0 in arrivals:
            await held.wait()
        return [Accepted(message=a) for a in arrivals]

    async def go() -> None:
        group = GroupCommit(accept, batch=10, second=5)
        stuck = asyncio.create_task(group.put(0))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            few = await asyncio.gather(*(group.put(n) for n in (1, 2, 3)))  # type: ignore[arg-type]
            assert [a.message for a in few] == [1, 2, 3] and batches == [[0], [1, 2, 3]]
            await group.put(4)  # type: ignore[arg-type]
        assert not stuck.done()
        held.set()
        assert (await stuck).message == 0
        await asyncio.gather(*(group.put(n) for n in (5, 6)))  # type: ignore[arg-type]
        assert batches[2:] == [[4], [5, 6]], "with nothing late they share again"

    asyncio.run(go())


def test_with_a_gap_few_share_a_commit_and_whoever_comes_alone_does_not_wait() -> None:
    async def accept(arrivals: list[Any]) -> list[Accepted]:
        batches.append(len(arrivals))
        return [Accepted(message=a) for a in arrivals]

    batches: list[int] = []

    async def go() -> None:
        group = GroupCommit(accept, batch=50, gap=Gap(5, 5))
        async with asyncio.timeout(2):
            await group.put(0)  # type: ignore[arg-type]
        few = [asyncio.create_task(group.put(n)) for n in range(1, 11)]  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        assert batches == [1], "they wait for each other"
        async with asyncio.timeout(2):
            await asyncio.gather(*(group.put(n) for n in range(11, 51)))  # type: ignore[arg-type]
            assert [a.message for a in await asyncio.gather(*few)] == list(range(1, 11))
        assert batches == [1, 50], "a full batch waits for nothing"

    asyncio.run(go())


def test_the_gap_grows_with_what_commits_take_and_shrinks_again() -> None:
    gap = Gap(0.01, 0.04)
    assert gap.seconds == 0.01
    for _ in range(40):
        gap.took(0.004)
    assert gap.seconds == 0.01, "a machine with cores to spare"
    for _ in range(40):
        gap.took(0.015)
    assert 0.029 < gap.seconds <= 0.03
    assert not gap.strained
    gap.took(5.0)
    assert gap.seconds == 0.04, "a stall is no reason to wait for long"
    assert gap.strained, "what can wait waits"
    for _ in range(80):
        gap.took(0.004)
    assert gap.seconds == 0.01 and not gap.strained
