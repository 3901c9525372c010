"""A visit to every failpoint: a process that kills itself there, for every kind of source and destination.

One concern: reaching each point once, with the right work at hand. It must never judge what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable

from msgspec import Struct

from hub.embedded.supervisor import ChildFailed
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import intake, operations
from hub.kernel.ports import Text
from hub.kernel.store.db import sql
from tests.chaos import load
from tests.chaos.doors import Doors
from tests.chaos.listed import Listed
from tests.chaos.world import SYSTEMS, World

_CLAIM = ("tx3.before", "tx3.inside", "tx3.after")
_INTENT = ("intent.inside", "intent.after")
_SEND = ("send.before", "send.after", "tx4.before", "tx4.inside", "tx4.after")
_SETTLE = ("settle.before", "settle.after")
_TEXT = Text("Thử điểm dừng.", "A failpoint is visited.")


class Visit(Struct, frozen=True):
    """One point to be visited: `kind` is the source (`rest`, `gate` at the broker, `door` for gates over HTTP, `lists` they
    are asked for, `inbox`), the destination, or what is judged again (`passages`)."""

    process: str
    kind: str
    point: str


ALL: tuple[Visit, ...] = (
    *(Visit("gateway", "rest", p) for p in ("tx1.before", "tx1.inside", "tx1.after", "ack.before")),
    *(Visit("gateway", "door", p) for p in ("tx1.before", "tx1.inside", "tx1.after", "ack.before")),
    *(Visit("bridge", "gate", p) for p in ("tx1.before", "tx1.inside", "tx1.after", "ack.before", "ack.after")),
    *(Visit("worker-1", "inbox", p) for p in ("tx2.before", "tx2.inside", "tx2.after")),
    Visit("worker-1", "passages", "rejudge.inside"),
    *(Visit("worker-1", "lists", p) for p in ("pull.inside", "pull.after")),
    *(Visit("worker-1", "ministry", p) for p in (*_CLAIM, *_SEND)),
    *(Visit("worker-1", "population", p) for p in (*_CLAIM, *_INTENT, *_SEND)),
    *(Visit("worker-1", "public_service", p) for p in (*_CLAIM, *_INTENT, *_SEND, *_SETTLE)),
)

FEW: tuple[Visit, ...] = (
    Visit("gateway", "rest", "tx1.after"),
    Visit("gateway", "door", "ack.before"),
    Visit("bridge", "gate", "ack.before"),
    Visit("worker-1", "ministry", "tx4.inside"),
    Visit("worker-1", "public_service", "send.after"),
    Visit("worker-1", "public_service", "settle.after"),
)


class Sweep:
    """Visits points one after the other; `missed` names those where nobody died."""

    def __init__(self, world: World, source: load.Source) -> None:
        self.world = world
        self.source = source
        self.visited: list[Visit] = []
        self.missed: list[Visit] = []
        self._gates: list[load.Gates | Doors] = []
        self._listed: list[Listed] = []
        self._inbox = 0

    async def run(self, visits: Iterable[Visit]) -> None:
        """Visit them all; afterwards every process runs as it should."""
        for visit in visits:
            await self._one(visit)
        for gates in self._gates:
            self.source.books.passages += await gates.finish()
        await self._pause(())
        if self._listed:
            await self.world.supervisor.stop("worker-1")
            await self.world.boot("worker-1")  # somebody must ask on where the other died
            for told in await asyncio.gather(*(listed.finish() for listed in self._listed)):
                self.source.books.passages += told

    async def _one(self, visit: Visit) -> None:
        world, name = self.world, visit.process
        if name == "worker-1":
            await self._pause({visit.kind} if visit.kind in SYSTEMS else set(SYSTEMS))
            await asyncio.gather(*(world.supervisor.stop(w) for w in ("worker-1", "worker-2")))
            await self._work(visit)
            await world.boot(name, failpoints=f"{visit.point}=kill", restart=False)
            await self._died(visit)
            return
        await world.supervisor.stop(name)
        with contextlib.suppress(ChildFailed):  # gates of an earlier visit, still sending, may meet the point first
            await world.boot(name, failpoints=f"{visit.point}=kill", restart=False)
        working = asyncio.create_task(self._work(visit))
        await self._died(visit)
        await world.boot(name)
        await working

    async def _died(self, visit: Visit) -> None:
        # By the point's own kill: one that could not start, or broke off otherwise, met nothing.
        died = await self.world.ended(visit.process, 20) == -signal.SIGKILL
        (self.visited if died else self.missed).append(visit)
        self.world.kills += died
        if not died:
            await self.world.supervisor.stop(visit.process)

    async def _work(self, visit: Visit) -> None:
        source = self.source
        if visit.kind == "rest":
            await asyncio.gather(source.push("learner", source.learner()), source.push("filing", source.filing()))
        elif visit.kind == "gate":
            gates = load.Gates(self.world, 1, prefix=f"dq-{len(self._gates)}-{visit.point.replace('.', '-')}", count=2)
            self._gates.append(gates)
            await gates.start(1.0, 2.0, 30.0)
        elif visit.kind == "door":
            doors = Doors(self.world, 1, prefix=f"dw-{len(self._gates)}-{visit.point.replace('.', '-')}")
            self._gates.append(doors)
            await doors.start(1.0, 2.0, 30.0)
        elif visit.kind == "lists":
            listed = Listed(self.world, prefix=f"dl-{len(self._listed)}-{visit.point.replace('.', '-')}")
            self._listed.append(listed)
            await listed.start()
        elif visit.kind == "inbox":
            await self._later()
        elif visit.kind == "passages":
            await self._judged_again()
        elif visit.kind == "public_service":
            if visit.point.startswith("settle"):
                await self.world.fault(
                    "public_service", "commit_then_timeout", count=2, delay_s=0.05, match="DongBoHoSoMC"
                )
            await asyncio.gather(*(source.push("filing", source.filing()) for _ in range(3)))
        else:
            verified = visit.kind == "population"
            await asyncio.gather(*(source.push("learner", source.learner(verified=verified)) for _ in range(3)))

    async def _later(self) -> None:
        """A message stored without records, as a source that is decoded later leaves it."""
        self._inbox += 1
        core = self.world.house.core
        body = b'{"data": {}}'
        arrival = Arrival(
            source=Source("client", load.CLIENTS[0]), type="learner", body=body, content_type="application/json",
            digest=bytes.fromhex(core.hasher(body)), key=b"inbox-%010d" % self._inbox,
        )  # fmt: skip
        await intake.accept(core, [arrival])

    async def _judged_again(self) -> None:
        """The latest passages are to be judged again, though nothing new is known of them."""
        async with self.world.house.core.pool.acquire() as connection:
            rows = await connection.fetch("SELECT id FROM records WHERE type = 'checkin' ORDER BY id DESC LIMIT 20")
            await connection.execute(sql.rejudge_ask, [r["id"] for r in rows])

    async def _pause(self, open_to: Iterable[str]) -> None:
        """Only `open_to` are served, so that a worker dies at the point it is meant to die at; all, when it is empty."""
        wanted = set(open_to)
        core = self.world.house.core
        for system in SYSTEMS:
            if not wanted or system in wanted:
                await operations.resume(core, "chaos", system)
            else:
                await operations.pause(core, "chaos", system, _TEXT)
