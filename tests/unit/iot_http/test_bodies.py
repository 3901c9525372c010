"""Bodies of gates in memory: counted while they are read, bounded for all and for one, given back whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from hub.api.gate_bodies import Bodies, Crowded


class Slow:
    """A request whose body comes when it is told to."""

    def __init__(self, declared: str | None = None) -> None:
        self.headers = {"content-length": declared} if declared is not None else {}
        self.parts: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()

    async def stream(self) -> AsyncIterator[bytes]:
        while (part := await self.parts.get()) is not None:
            if isinstance(part, BaseException):
                raise part
            yield part


def reader(
    bodies: Bodies, request: Slow, gate: str, largest: int = 1000, reading: int = 3
) -> asyncio.Task[bytes | None]:
    async def read() -> bytes | None:
        given: Any = request
        async with bodies.taken(given, gate, largest, reading) as body:
            await asyncio.sleep(0)
            assert body is None or bodies.of[gate] >= len(body), "held while it is worked on"
            return body

    return asyncio.create_task(read())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def nothing_left(bodies: Bodies) -> bool:
    return (bodies.held, dict(bodies.of), dict(bodies.on_their_way)) == (0, {}, {})


def test_parts_count_as_they_are_read_and_beyond_the_bound_all_of_them_are_given_back() -> None:
    async def scenario() -> None:
        bodies = Bodies(most=1000, share=600)
        slow = [Slow() for _ in range(3)]
        tasks = [reader(bodies, s, f"G{n}") for n, s in enumerate(slow)]
        for s in slow:
            s.parts.put_nowait(bytes(300))
        await settle()
        assert bodies.held == 900 and dict(bodies.of) == {"G0": 300, "G1": 300, "G2": 300}
        slow[0].parts.put_nowait(bytes(101))
        with pytest.raises(Crowded, match="send it again"):
            await tasks[0]
        assert bodies.held == 600, "what it had is given back with the no"
        slow[1].parts.put_nowait(bytes(100))
        slow[1].parts.put_nowait(None)
        assert await tasks[1] == bytes(400)
        tasks[2].cancel()
        await asyncio.gather(tasks[2], return_exceptions=True)
        assert nothing_left(bodies)

    asyncio.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize("end", [ClientDisconnect(), OSError("reset")])
def test_a_client_that_goes_leaves_nothing_behind(end: BaseException) -> None:
    async def scenario() -> None:
        bodies, slow = Bodies(), Slow()
        task = reader(bodies, slow, "G")
        slow.parts.put_nowait(bytes(10))
        await settle()
        assert bodies.held == 10 and bodies.on_their_way["G"] == 1
        slow.parts.put_nowait(end)
        with pytest.raises(type(end)):
            await task
        assert nothing_left(bodies)

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_one_gate_has_its_share_and_so_many_on_their_way() -> None:
    async def scenario() -> None:
        bodies = Bodies(most=10_000, share=500)
        slow = [Slow() for _ in range(3)]
        tasks = [reader(bodies, s, "greedy") for s in slow]
        await settle()
        with pytest.raises(Crowded):
            await reader(bodies, Slow(), "greedy")
        other = Slow("5")
        other.parts.put_nowait(b"12345")
        other.parts.put_nowait(None)
        assert await reader(bodies, other, "modest") == b"12345"
        for s in slow:
            s.parts.put_nowait(bytes(200))
        ended, going = await asyncio.wait(tasks, timeout=0.05)
        assert len(ended) == 1 and isinstance(ended.pop().exception(), Crowded), (
            "beyond its share, though there is room"
        )
        assert bodies.held == 400
        with pytest.raises(Crowded):
            await reader(bodies, Slow("101"), "greedy")
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        assert nothing_left(bodies)

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_body_that_is_too_large_or_does_not_end_is_nobodys() -> None:
    async def scenario() -> None:
        bodies = Bodies(upload_s=0.05)
        assert await reader(bodies, Slow("1001"), "G") is None
        grows = Slow("7")
        grows.parts.put_nowait(bytes(600))
        grows.parts.put_nowait(bytes(401))
        assert await reader(bodies, grows, "G") is None
        silent = Slow("²")
        silent.parts.put_nowait(bytes(600))
        with pytest.raises(TimeoutError):
            await reader(bodies, silent, "G")
        assert nothing_left(bodies)

    asyncio.run(asyncio.wait_for(scenario(), 10))
