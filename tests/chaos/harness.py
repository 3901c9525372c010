"""The parts of a run put together: a world, load, injuries, a sweep, the plays, the oracle, a report.

One concern: the order of things. It must never judge, and never hurt on its own account.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from hub.kernel.failpoints import POINTS
from tests.chaos import load
from tests.chaos.deck import Deck
from tests.chaos.disk import NoSmallDisk
from tests.chaos.doors import Doors
from tests.chaos.herd import Herd
from tests.chaos.injuries import Injuries
from tests.chaos.listed import Listed
from tests.chaos.oracle import judge
from tests.chaos.report import Report
from tests.chaos.scenarios import PLAYS, restored
from tests.chaos.sweep import Sweep, Visit
from tests.chaos.unheard import Unheard
from tests.chaos.world import World, now, world


class Run:
    """One world and what is done in it, part by part; every part has sources and books of its own."""

    def __init__(self, world: World, report: Report, people: list[dict[str, str]]) -> None:
        self.world = world
        self.report = report
        self._people = people
        self._parts = 0
        self._sweeps = 0
        self._deck: Deck | None = None

    def _source(self) -> load.Source:
        self._parts += 1
        return load.Source(self.world, self.report.seed + self._parts, self._people, prefix=f"HS{self._parts:03d}X")

    async def open(self) -> None:
        """Make the school known to which everything belongs."""
        await self._source().school()

    async def under_fire(
        self, part: str, seconds: float, *, injuries: list[str] | None = None, streams: int = 4, pause_s: float = 0.15,
        gates: int = 4, crowd: int = 0, doors: bool = True, still_s: float = 5.0,
    ) -> None:  # fmt: skip
        """Load for `seconds` at least, injured until `still_s` before that or until all `injuries` are done; then healed, and judged."""
        source = self._source()
        playing = load.Gates(self.world, self.report.seed, prefix=f"cg{self._parts}", count=gates, crowd=crowd)
        await playing.start(seconds, 2.0, 60.0)
        told_until = now() + timedelta(seconds=seconds)
        over_http = Doors(self.world, self.report.seed, prefix=f"cw{self._parts}")
        listed = Listed(self.world, prefix=f"cl{self._parts}")
        unheard = Unheard(self.world, self.report.seed, prefix=f"cu{self._parts}")
        if doors:
            await over_http.start(seconds, 1.0, 60.0)
            await listed.start()
            await unheard.start(4.0)
        hurting = Injuries(self.world, self.report.seed + self._parts, self._deck)
        pain = asyncio.create_task(hurting.run(max(0.0, seconds - still_s), injuries))
        working = asyncio.create_task(source.streams(streams, seconds, pause_s, pain.done))
        await pain
        await self.world.heal()
        await working
        # Its list is read while others still have something to say.
        finishing = asyncio.gather(playing.still(), over_http.finish(), listed.finish())
        source.books.sightings = await unheard.finish() if doors else []
        source.books.passages = [p for part in await finishing for p in part]
        source.books.gates_until = told_until
        self.report.injuries += hurting.log
        if injuries is None:  # the next part goes on where this one has ended
            self._deck, self.report.undealt = hurting.deck, sorted(hurting.deck.undealt)
        numbers = playing.numbers()
        self.report.verdicts[part] = await judge(self.world, source.books, windows=hurting.windows, numbers=numbers)
        await playing.finish()
        self.report.kills = self.world.kills

    async def herd(self, count: int, *, within_s: float) -> None:
        """Many gates cut off at once by a broker that is killed, while each has something to say; then by a bridge that is."""
        source = self._source()
        gates = Herd(self.world, self.report.seed, count, prefix=f"hd{self._parts}")
        took: dict[str, float] = {"gates": count}
        try:
            await gates.start()
            took["connected_s"] = await gates.until("up", 30.0 + count / 20)
            gates.everybody_passes()
            took["first_acked_s"] = await gates.until("acked", within_s)
            self.world.kill("mqtt")
            gates.everybody_passes(2)
            cut = time.monotonic()
            await gates.until("down", 10.0)
            await gates.until("up", within_s)
            took["reconnected_s"] = time.monotonic() - cut
            await gates.until("acked", within_s)
            took["acked_after_broker_s"] = time.monotonic() - cut
            gates.everybody_passes()
            self.world.kill("bridge")
            took["acked_after_bridge_s"] = await gates.until("acked", within_s)
        except TimeoutError as late:
            self.report.late.append(str(late))
        try:
            source.books.passages = gates.passages()
            await self.world.heal()
            self.report.herd = {name: round(value, 2) for name, value in took.items()}
            numbers = gates.numbers()
            self.report.verdicts["herd"] = await judge(self.world, source.books, numbers=numbers, timeout_s=60.0)
        finally:
            await gates.end()
        self.report.kills = self.world.kills

    async def sweep(self, visits: Iterable[Visit]) -> None:
        """Visit failpoints, then see that all is where it should be."""
        source = self._source()
        self._sweeps += 1
        sweep = Sweep(self.world, source, self._sweeps)
        try:
            await sweep.run(visits)
            await restored(self.world)
            self.report.visited += sweep.visited
            self.report.missed += sweep.missed
            elsewhere = sorted(set(POINTS) - {v.point for v in (*sweep.visited, *sweep.missed)})
            self.report.skipped.append(
                f"failpoints not visited by sweep {self._sweeps}: {', '.join(elsewhere) or 'none'}"
            )
            verdict = await judge(self.world, source.books, known=sweep.terminals.known, timeout_s=60.0)
            self.report.verdicts[f"sweep {self._sweeps}"] = verdict
            await sweep.leave()
        finally:
            await sweep.terminals.close()
        self.report.kills = self.world.kills

    async def plays(self, *names: str, sabotaged: bool) -> None:
        """Plays that do not touch the same processes, at once, each with its safety off or on."""
        sources = {name: self._source() for name in names}
        await asyncio.gather(
            *(PLAYS[name].lead(self.world, source, name if sabotaged else "") for name, source in sources.items())
        )
        await restored(self.world)
        for name, source in sources.items():
            said = (await judge(self.world, source.books, timeout_s=15.0)).objections
            if not sabotaged:
                self.report.controls[name] = said
                continue
            spoilt = PLAYS[name].spoilt
            self.report.caught[name] = [what for what in said if what.startswith(spoilt)]
            self.report.beside[name] = [what for what in said if not what.startswith(spoilt)]


@asynccontextmanager
async def run(
    folder: Path, name: str, seed: int, minutes: float = 0.0, *, people: int = 2_000, disk_mb: int | None = None
) -> AsyncIterator[Run]:
    """A run in a world of its own; its report is told at the end, whatever happened.

    With an odd seed the portal takes a filing's second creation, so that its books would show one; else it refuses it, which is
    a path of its own."""
    found = load.crowd(seed, people)
    report = Report(name=name, seed=seed, minutes=minutes)
    try:
        portal = bool(seed % 2)
        async with world(folder / "data", list(found), load.CLIENTS, disk_mb=disk_mb, takes_twice=portal) as made:
            opened = Run(made, report, found)
            await opened.open()
            yield opened
    except NoSmallDisk as reason:
        report.skipped.append(f"{name}: {reason}")
        raise
    finally:
        report.tell()
