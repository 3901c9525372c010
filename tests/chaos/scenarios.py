"""Small plays that a single missing safety would spoil: one for each, played with the safety and without.

One concern: leading the hub to the very point where the safety matters, and naming what the oracle must then say. They must
never judge: the oracle does, by the same books as ever.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.chaos.load import Gates, Source
from tests.chaos.world import HUB, LEASE_S, World

_NOTICE = "CapNhatTienDo"
_ASLEEP_S = LEASE_S + 10.0
"""Long enough for another worker to start, to find the lease lost, to ask twice and to send."""


class Play(NamedTuple):
    """One play."""

    lead: Callable[[World, Source, str], Awaitable[None]]
    """Given the world, a source of its own, and the safety that is off (or nothing)."""
    spoilt: str
    """How an objection begins that must be among the oracle's when the safety is off; another is no sign that it was missed."""


async def _filed(world: World, source: Source, count: int) -> list[str]:
    """Filings the portal has taken, so that notices about them can follow."""
    numbers = [source.filing() for _ in range(count)]
    await asyncio.gather(*(source.push("filing", n) for n in numbers))
    end = time.monotonic() + 15
    while not set(numbers) <= {e.key for e in world.effects("public_service")}:
        assert time.monotonic() < end, "the portal did not get the filings"
        await asyncio.sleep(0.05)
    return numbers


async def _only(world: World, name: str, sabotage: str, *, failpoints: str = "", restart: bool = True) -> None:
    """One worker alone, with a safety off or a failpoint armed."""
    await asyncio.gather(*(world.supervisor.stop(w) for w in ("worker-1", "worker-2")))
    await world.boot(name, sabotage=sabotage, failpoints=failpoints, restart=restart)


async def _notices(source: Source, numbers: list[str]) -> None:
    await asyncio.gather(*(source.push("filing_progress", n) for n in numbers))


async def _worked_off(world: World) -> None:
    """Wait until nothing is open, however long this machine takes to start a worker; a play's end, never its verdict."""
    end = time.monotonic() + 30
    while await world.house.core.pool.fetchval("SELECT EXISTS (SELECT 1 FROM deliveries)") and time.monotonic() < end:
        await asyncio.sleep(0.1)


async def _claimed(world: World, more: str = "", *, for_s: float = 6.0) -> None:
    """Wait until a worker has something in hand, of which `more` is true."""
    end = time.monotonic() + for_s
    claimed = f"SELECT count(*) FROM deliveries WHERE state = 3 {more}"
    while not await world.house.core.pool.fetchval(claimed) and time.monotonic() < end:
        await asyncio.sleep(0.05)


async def ack_before_commit(world: World, source: Source, sabotage: str) -> None:
    """The bridge is killed where it would begin its transaction."""
    await world.supervisor.stop("bridge")
    gates = Gates(world, 1, prefix=f"som-{bool(sabotage):d}", count=2)
    await world.boot("bridge", sabotage=sabotage, failpoints="tx1.before=kill", restart=False)
    await gates.start(1.0, 3.0, 15.0)
    assert await world.ended("bridge", 15) == -signal.SIGKILL
    await world.boot("bridge")
    source.books.passages = await gates.finish()


async def no_claim_token(world: World, source: Source, sabotage: str) -> None:
    """A worker stands still past its lease between its claim and its intent, and wakes while another has the same on the wire."""
    numbers = await _filed(world, source, 3)
    await _only(world, "worker-1", sabotage, failpoints="tx3.after=stop:2")
    await world.supervisor.wait_ready("worker-1")
    await asyncio.sleep(2.0)
    await _notices(source, numbers)
    await _claimed(world)
    world.freeze("worker-1")  # however long the other takes to start on a busy machine
    await world.fault("public_service", "slow", for_s=60, delay_s=1.0, match=_NOTICE)
    await world.boot("worker-2")
    await _claimed(world, "AND intent IS NOT NULL", for_s=30.0)
    world.thaw("worker-1")
    await asyncio.sleep(4.0)
    world.kill("worker-1")


async def no_lease_look(world: World, source: Source, sabotage: str) -> None:
    """A worker sleeps past its lease between its intent and the first byte, while another asks twice, and sends."""
    numbers = await _filed(world, source, 1)
    await _only(world, "worker-1", sabotage, failpoints=f"intent.after=stop:{_ASLEEP_S}")
    await world.supervisor.wait_ready("worker-1")
    await asyncio.sleep(2.0)
    await _notices(source, numbers)
    await _claimed(world)
    wakes = time.monotonic() + _ASLEEP_S
    await world.boot("worker-2")
    await asyncio.sleep(wakes - time.monotonic() + 3.0)


async def no_intent(world: World, source: Source, sabotage: str) -> None:
    """The worker is killed between the portal's answer and writing it down."""
    numbers = await _filed(world, source, 1)
    await _only(world, "worker-1", sabotage, failpoints="send.after=kill", restart=False)
    await _notices(source, numbers)
    assert await world.ended("worker-1", 15) == -signal.SIGKILL


async def no_intake_key(world: World, source: Source, sabotage: str) -> None:
    """The gateway is killed between the commit and the answer; the careful client sends again."""
    numbers = await _filed(world, source, 1)
    await world.supervisor.stop("gateway")
    await world.boot("gateway", sabotage=sabotage, failpoints="ack.before=kill", restart=False)
    pushing = asyncio.create_task(_notices(source, numbers))
    assert await world.ended("gateway", 15) == -signal.SIGKILL
    await world.boot("gateway", sabotage=sabotage)
    await pushing


async def no_inquiry(world: World, source: Source, sabotage: str) -> None:
    """The portal does it and falls silent."""
    numbers = await _filed(world, source, 1)
    await _only(world, "worker-1", sabotage)
    await world.fault("public_service", "commit_then_timeout", count=1, delay_s=0.05, match=_NOTICE)
    await _notices(source, numbers)
    await _worked_off(world)


async def no_settle_after(world: World, source: Source, sabotage: str) -> None:
    """The portal does it, but only after the caller has given up."""
    numbers = await _filed(world, source, 1)
    # It gives up after 1.2 s, and the portal is done after 5: who waits as told asks at 7.2, who does not has asked twice long before.
    await world.settings_of("public_service", settle_after_s=6.0)
    await _only(world, "worker-1", sabotage)
    await world.fault("public_service", "slow", count=1, delay_s=5.0, match=_NOTICE)
    await _notices(source, numbers)
    await _worked_off(world)
    await asyncio.sleep(5.0)  # by now the portal has done what it was asked first, whatever the hub believed
    await world.settings_of("public_service")


async def no_absent_gap(world: World, source: Source, sabotage: str) -> None:
    """The portal does it after it was first asked about it, and before it is asked again."""
    numbers = await _filed(world, source, 1)
    # The caller gives up after 1.2 s and asks at 2; the portal is done at 5; who waits as told asks again at 8.
    await world.settings_of("public_service", absent_gap_s=6.0)
    await _only(world, "worker-1", sabotage)
    await world.fault("public_service", "slow", count=1, delay_s=5.0, match=_NOTICE)
    await _notices(source, numbers)
    await _worked_off(world)
    await asyncio.sleep(5.0)
    await world.settings_of("public_service")


_TWICE = "doubled: portal notice "
PLAYS: dict[str, Play] = {
    "ack_before_commit": Play(ack_before_commit, "lost: passage "),
    **{
        f.__name__: Play(f, _TWICE)
        for f in (no_claim_token, no_lease_look, no_intent, no_intake_key, no_inquiry, no_settle_after, no_absent_gap)
    },
}


async def restored(world: World) -> None:
    """Every process as it should be, whatever a play or a sweep has made of it."""
    changed = [n for n in HUB if n in world.altered or world.supervisor.state(n) == "stopped"]
    await asyncio.gather(*(world.supervisor.stop(n) for n in changed if world.supervisor.state(n) != "stopped"))
    for name in changed:
        await world.boot(name, wait=False)
    await world.heal()
