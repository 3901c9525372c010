"""Chunks of one upload, one behind the other: the order of their locks and commits, and what becomes of the next when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hub.kernel.intake import Accepted
from hub.kernel.ledger.turns import Forsaken, OutOfTurn, Turn


class Book:
    """What transactions did, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def once(
        self, name: str, turn: Turn, *, faults: int = 0, conflict: bool = False, wait: float = 0.0
    ) -> Callable[[], Awaitable[list[Accepted]]]:
        """A transaction that fails `faults` times after it has locked."""
        left = [faults]

        async def run() -> list[Accepted]:
            self.said.append(f"{name} locks")
            turn.hold()
            await asyncio.sleep(wait)
            if left[0]:
                left[0] -= 1
                raise ConnectionError
            await turn.follow()
            self.said.append(f"{name} commits")
            return [Accepted(message=1, conflict=conflict)]

        return run


async def stored(turn: Turn, once: Callable[[], Awaitable[list[Accepted]]], tries: int = 3) -> bool:
    """As `accept` does: again while faults pass."""
    good = False
    try:
        for _ in range(tries):
            try:
                answers = await turn.take(once)
            except ConnectionError:
                continue
            good = not any(a.conflict for a in answers)
            return good
        raise ConnectionError
    finally:
        turn.end(good)


def test_the_next_locks_while_the_one_before_is_written_and_commits_after_it() -> None:
    async def main() -> None:
        book, first = Book(), Turn()
        second = Turn(first)
        third = Turn(second)
        await asyncio.gather(
            stored(third, book.once("third", third)),
            stored(second, book.once("second", second)),
            stored(first, book.once("first", first, wait=0.02)),
        )
        assert book.said == [
            "first locks", "second locks", "third locks", "first commits", "second commits", "third commits",
        ]  # fmt: skip

    asyncio.run(main())


def test_when_the_one_before_has_to_try_again_the_next_lets_go_of_its_locks_and_comes_after_it() -> None:
    async def main() -> None:
        book, first = Book(), Turn()
        second = Turn(first)
        await asyncio.gather(
            stored(first, book.once("first", first, faults=1, wait=0.01)), stored(second, book.once("second", second))
        )
        assert book.said == [
            "first locks", "second locks", "first locks", "first commits", "second locks", "second commits",
        ]  # fmt: skip

    asyncio.run(main())


def test_a_fault_of_the_next_is_its_own() -> None:
    async def main() -> None:
        book, first = Book(), Turn()
        second = Turn(first)
        await asyncio.gather(
            stored(second, book.once("second", second, faults=2)), stored(first, book.once("first", first, wait=0.01))
        )
        assert book.said[-2:] == ["second locks", "second commits"] and book.said.count("first commits") == 1

    asyncio.run(main())


@pytest.mark.parametrize("conflict", [True, False])
def test_nothing_is_stored_behind_one_that_was_not_taken(conflict: bool) -> None:
    async def main() -> None:
        book, first = Book(), Turn()
        second = Turn(first)
        third = Turn(second)
        done = await asyncio.gather(
            stored(first, book.once("first", first, faults=0 if conflict else 9, conflict=conflict, wait=0.005)),
            stored(second, book.once("second", second)),
            stored(third, book.once("third", third)),
            return_exceptions=True,
        )
        assert done[0] is False if conflict else isinstance(done[0], ConnectionError)
        assert isinstance(done[1], Forsaken) and isinstance(done[2], Forsaken)
        assert not {"second commits", "third commits"} & set(book.said)

    asyncio.run(main())


def test_stepping_back_is_a_fault_that_passes() -> None:
    from hub.kernel.ledger.core import TRANSIENT

    assert issubclass(OutOfTurn, TRANSIENT) and not issubclass(Forsaken, TRANSIENT)
