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
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import intake, operations
from hub.kernel.ports import Text
from hub.kernel.receipts import receipt_code
from hub.kernel.store.db import sql
from tests.chaos import callers, guests, load
from tests.chaos.books import Passage
from tests.chaos.doors import Doors
from tests.chaos.listed import Listed
from tests.chaos.world import World, now

CLAIM = ("tx3.before", "tx3.inside", "tx3.after")
INTENT = ("intent.inside", "intent.after")
SEND = ("send.before", "send.after", "tx4.before", "tx4.inside", "tx4.after")
SETTLE = ("settle.before", "settle.after")
TX1 = ("tx1.before", "tx1.inside", "tx1.after", "ack.before")
_TEXT = Text("Thử điểm dừng.", "A failpoint is visited.")
_ARRIVES_S = 20.0
"""Within which a process must have met its point: a worker that serves terminals first waits for its forerunner's lease."""

_THROUGH_S = 60.0
_OPEN = "SELECT 1 FROM deliveries d JOIN connectors c ON c.id = d.connector WHERE c.name = $1 LIMIT 1"

CONNECTORS = {
    "ministry": "ministry", "population": "population", "answered_later": "population", "public_service": "public_service",
    "families": guests.FAMILIES, "terminals": guests.GATES,
}  # fmt: skip
"""Kinds of destination, and the connector that leads to each."""


class Visit(Struct, frozen=True):
    """One point to be visited. `kind` is the source (`rest` one by one, `bulk`, `workbook`, `archive`, `callback`; `gate` at the
    broker, `door` for gates over HTTP, `lists` they are asked for, `inbox`), the destination (see `CONNECTORS`), or what is judged
    again (`passages`)."""

    process: str
    kind: str
    point: str


ALL: tuple[Visit, ...] = (
    *(Visit("gateway", kind, p) for kind in ("rest", "bulk", "workbook", "archive", "callback", "door") for p in TX1),
    *(Visit("bridge", "gate", p) for p in (*TX1, "ack.after")),
    *(Visit("worker-1", "inbox", p) for p in ("tx2.before", "tx2.inside", "tx2.after")),
    Visit("worker-1", "passages", "rejudge.inside"),
    *(Visit("worker-1", "lists", p) for p in ("pull.inside", "pull.after")),
    *(Visit("worker-1", "terminals", p) for p in (*CLAIM, *SEND)),
    *(Visit("worker-1", "families", p) for p in (*CLAIM, *SEND)),
    *(Visit("worker-1", "ministry", p) for p in (*CLAIM, *SEND)),
    *(Visit("worker-1", "population", p) for p in (*CLAIM, *INTENT, *SEND)),
    *(Visit("worker-1", "public_service", p) for p in (*CLAIM, *INTENT, *SEND, *SETTLE)),
    *(Visit("worker-1", "answered_later", p) for p in (*INTENT, *SEND, *SETTLE)),
)
"""What a long run visits. `tests/chaos/covered.py` says which test visits what is not here."""

FEW: tuple[Visit, ...] = (
    Visit("gateway", "rest", "tx1.after"),
    Visit("gateway", "door", "ack.before"),
    Visit("bridge", "gate", "ack.before"),
    Visit("gateway", "bulk", "tx1.after"),
    Visit("worker-1", "inbox", "tx2.inside"),
    Visit("worker-1", "families", "tx4.inside"),
    Visit("worker-1", "public_service", "send.after"),
    Visit("worker-1", "public_service", "settle.after"),
)
"""What a short run visits."""

AGAIN: tuple[Visit, ...] = (Visit("bridge", "gate", "ack.before"), Visit("worker-1", "inbox", "tx2.inside"))
"""Of these what it visits once more, in the same world: what would be told for a repeat if the sweeps were not told apart."""


class Sweep:
    """Visits points one after the other; `missed` names those where nobody died. `number` tells the sweeps of one world apart: what
    comes under a name known from an earlier one would be a repeat."""

    def __init__(self, world: World, source: load.Source, number: int) -> None:
        self.world = world
        self.source = source
        self.number = number
        self.visited: list[Visit] = []
        self.missed: list[Visit] = []
        self.terminals = guests.Terminals(world, prefix=f"dt{number}")
        self._gates: list[load.Gates | Doors] = []
        self._listening: list[Doors] = []
        self._listed: list[Listed] = []
        self._named = 0
        self._filing = ""
        self._later = False

    async def run(self, visits: Iterable[Visit]) -> None:
        """Visit them all; afterwards every process runs as it should, and every destination is served. What was added stays:
        the terminals, and look-ups that are answered later."""
        for visit in visits:
            await self._one(visit)
        books = self.source.books
        for gates in self._gates:
            books.passages += await gates.finish()
        for doors in self._listening:
            passages: list[Passage] = await doors.finish()
            books.passages += passages
            books.told += [p.person for p in passages if p.acked]
        await self._pause(())
        if self._listed:
            await self.world.supervisor.stop("worker-1")
            await self.world.boot("worker-1")  # somebody must ask on where the other died
            for told in await asyncio.gather(*(listed.finish() for listed in self._listed)):
                books.passages += told

    async def leave(self) -> None:
        """Leave the world as it was before, once all that is under way has come to its end."""
        if self._later:
            await guests.answered_later(self.world, False)

    async def _one(self, visit: Visit) -> None:
        world, name = self.world, visit.process
        if name == "worker-1":
            await self._pause({CONNECTORS[visit.kind]} if visit.kind in CONNECTORS else ())
            await asyncio.gather(*(world.supervisor.stop(w) for w in ("worker-1", "worker-2")))
            await self._work(visit)
            await world.boot(name, failpoints=f"{visit.point}=kill", restart=False)
            await self._died(visit)
            return
        if visit.kind == "callback":
            self._filing = self.source.filing()
            await self.source.push("filing", self._filing)  # while nobody dies of it
        await world.supervisor.stop(name)
        with contextlib.suppress(ChildFailed):  # gates of an earlier visit, still sending, may meet the point first
            await world.boot(name, failpoints=f"{visit.point}=kill", restart=False)
        working = asyncio.create_task(self._work(visit))
        await self._died(visit)
        await world.boot(name)
        await working

    async def _died(self, visit: Visit) -> None:
        # By the point's own kill: one that could not start, or broke off otherwise, met nothing.
        died = await self.world.ended(visit.process, _ARRIVES_S) == -signal.SIGKILL
        (self.visited if died else self.missed).append(visit)
        self.world.kills += died
        if not died:
            await self.world.supervisor.stop(visit.process)

    def _name(self, kind: str, point: str = "") -> str:
        """A name nothing else in this world has."""
        self._named += 1
        return "-".join(filter(None, (f"{kind}{self.number}", str(self._named), point.replace(".", "-"))))

    async def _work(self, visit: Visit) -> None:
        source = self.source
        match visit.kind:
            case "rest":
                await asyncio.gather(source.push("learner", source.learner()), source.push("filing", source.filing()))
            case "bulk":  # more than one chunk
                await source.push("learner", *(source.learner() for _ in range(25)), bulk=True)
            case "workbook" | "archive":
                await callers.file(source, self._name("df"), archived=visit.kind == "archive")
            case "callback":
                await callers.event(source, self._name("dv"), self._filing)
            case "gate":
                gates = load.Gates(self.world, 1, prefix=self._name("dq", visit.point), count=2)
                self._gates.append(gates)
                await gates.start(1.0, 2.0, 30.0)
            case "door" | "families":
                if visit.kind == "families":
                    await guests.families(self.world)
                doors = Doors(self.world, 1, prefix=self._name("dw", visit.point))
                (self._gates if visit.kind == "door" else self._listening).append(doors)
                await doors.start(1.0, 2.0, 30.0)
            case "lists":
                listed = Listed(self.world, prefix=self._name("dl", visit.point))
                self._listed.append(listed)
                await listed.start()
            case "inbox":
                await self._stored_first()
            case "passages":
                await self._judged_again()
            case "terminals":
                await self._told_to_a_terminal(visit.point)
            case "public_service":
                if visit.point.startswith("settle"):
                    await self._unheard("public_service", "DongBoHoSoMC")
                await asyncio.gather(*(source.push("filing", source.filing()) for _ in range(3)))
            case _:
                if visit.kind == "answered_later":
                    if not self._later:
                        self._later = True
                        await self._through("population")
                        await guests.answered_later(self.world, True)
                    if visit.point.startswith("settle"):
                        await self._unheard("population", "GetRequests>")
                verified = CONNECTORS[visit.kind] == "population"
                await asyncio.gather(*(source.push("learner", source.learner(verified=verified)) for _ in range(3)))

    async def _through(self, connector: str) -> None:
        """Wait until nothing is open at a connector: a question of one kind that is asked once more as the other is known there
        under its number, and begins anew only minutes later."""
        await self.world.boot("worker-1")
        end = asyncio.get_running_loop().time() + _THROUGH_S
        pool = self.world.house.core.pool
        while await pool.fetchval(_OPEN, connector) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.1)
        await self.world.supervisor.stop("worker-1")

    async def _unheard(self, system: str, match: str) -> None:
        """Some of what is asked of a system it does, and does not answer: what became of it must be asked."""
        await self.world.fault(system, "commit_then_timeout", count=2, delay_s=0.05, match=match)

    async def _told_to_a_terminal(self, point: str) -> None:
        """Somebody for a terminal; and, where a conversation's steps are concluded, somebody it was told before is taken away."""
        gate = await self.terminals.one()
        if point == "tx4.inside":
            await self.world.boot("worker-1")
            await callers.person(self.source, gate, "HS-di")
            end = asyncio.get_running_loop().time() + _ARRIVES_S
            while f"{gate}/HS-di" not in self.terminals.known() and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.1)
            await self.world.supervisor.stop("worker-1")
            await callers.person(self.source, gate, "HS-di", away=True)
        else:
            await callers.person(self.source, gate, "HS-o-lai")

    async def _stored_first(self) -> None:
        """A learner's message stored without records, as a source that is decoded later leaves it: the Ministry's books show what
        became of it."""
        core, keys = self.world.house.core, self.world.house.keys
        push, body = self.source.entered("learner", self.source.learner())
        arrival = Arrival(
            source=Source("client", push.client), type="learner", body=body, content_type="application/json",
            digest=bytes.fromhex(core.hasher(body)), key=intake_key(Source("client", push.client), push.idempotency),
        )  # fmt: skip
        (stored,) = await intake.accept(core, [arrival])
        push.receipt = receipt_code(keys.hmac("receipt"), stored.message)
        push.acked_at = now()

    async def _judged_again(self) -> None:
        """The latest passages are to be judged again, though nothing new is known of them."""
        async with self.world.house.core.pool.acquire() as connection:
            rows = await connection.fetch("SELECT id FROM records WHERE type = 'checkin' ORDER BY id DESC LIMIT 20")
            await connection.execute(sql.rejudge_ask, [r["id"] for r in rows])

    async def _pause(self, open_to: Iterable[str]) -> None:
        """Only `open_to` are served, so that a worker dies at the point it is meant to die at; all, when it is empty."""
        wanted = set(open_to)
        core = self.world.house.core
        for name in dict.fromkeys(CONNECTORS.values()):  # of one that is not there yet nothing is changed
            if not wanted or name in wanted:
                await operations.resume(core, "chaos", name)
            else:
                await operations.pause(core, "chaos", name, _TEXT)
