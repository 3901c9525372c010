"""The ticker's part in recovery: everyday releases, telling Airflow, and leading where nobody else does.

Steps of a leader: release one (the canary), see that the counterparty takes it, then more and more until nothing waits.
It must never send anything itself, and never lead while another's lease runs: the ledger sees to that, under lock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from msgspec import Struct

from hub.kernel.ledger import recovery
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.recovery import TICKER, Progress, Recovery, RecoveryConflict
from hub.settings import Settings

log = logging.getLogger("hub.recovery")

DAG = "redeliver"
_ANSWERED = frozenset({"delivered", "parked", "dead"})
"""A canary in one of these was answered: the counterparty is there, whatever it thought of this one."""
_FAILED = frozenset({"waiting", "uncertain"})
_OVER: tuple[type[BaseException], ...] = (RecoveryConflict, *TRANSIENT)


class Trigger(Protocol):
    """What is needed of Airflow's client. Any exception means: not now."""

    async def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> Any:
        """Start a run of this id, or find that it has been started."""
        ...


class Pace(Struct, frozen=True, kw_only=True):
    """How the ticker works. Times in seconds."""

    tick_s: float = 1.0
    lease_s: float = 5.0
    """Short: what a killed worker holds up."""
    grace_s: float = 15.0
    """With Airflow: how long nobody must have led before the ticker does."""
    trigger_again_s: float = 30.0
    canary_first_s: float = 2.0
    canary_longest_s: float = 30.0
    """Pause between two canaries, doubling from the first to the longest."""
    ramp_first: int = 10


class Ramp:
    """How much to release next: more while all goes well, less when some fails. Pure."""

    def __init__(self, first: int, most: int) -> None:
        self.most = most
        """The largest step: some seconds of the quota, as the ledger says at every renewal of the lease."""
        self.size = first
        self.released = 0

    def judge(self, progress: Progress) -> Literal["wait", "go", "stop"]:
        """`wait` while much of the last step is queued, `stop` when all of it failed, else `go`; adapts `size`.

        Here and there one fails by itself in any large step: only where more than a tenth does is the counterparty at fault."""
        if self.released and progress.failed >= self.released:
            return "stop"
        if progress.queued > self.released // 2:
            return "wait"
        if self.released:
            bad = progress.failed * 10 > self.released
            self.size = max(1, self.size // 2) if bad else min(self.most, self.size * 2)
        return "go"


class _Led(Struct):
    """A recovery this ticker leads: kept in memory only, because a new leader had better begin with a canary."""

    epoch: int
    step: int
    ramp: Ramp
    pause_s: float
    canary: int | None = None
    before: datetime | None = None
    """Release of the canary that was answered: what began to wait earlier waits for nothing else."""
    at: datetime | None = None
    not_before: float = 0.0


class RecoveryLoop:
    """Run one in every worker process; whichever takes a recovery's lease leads it."""

    def __init__(
        self,
        core: Core,
        airflow: Trigger | None,
        settings: Settings,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core = core
        self._airflow = airflow
        self._pace = pace or Pace(tick_s=settings.dispatch.poll_interval_s)
        self._clock = clock
        self._owner = f"{TICKER}{core.worker}"
        self._led: dict[str, _Led] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until `stop` is set, then give up what is led."""
        told = asyncio.create_task(self._tell(stop)) if self._airflow is not None else None
        try:
            while not stop.is_set():
                try:
                    await self.tick()
                except TRANSIENT as error:
                    log.warning("recovery waits for the database: %s", error)
                except Exception:  # an everyday release must not end for one connector's fault
                    log.exception("a tick of recovery failed")
                await _pause(stop, self._pace.tick_s)
            await self._give_up()
        finally:
            if told is not None:
                told.cancel()
                await asyncio.gather(told, return_exceptions=True)

    async def tick(self) -> None:
        """Release what is due where nothing is wrong, and go one step on with each open recovery that may be led."""
        await recovery.release_due(self._core)
        rows = await recovery.overview(self._core, open_only=True)
        current = {r.connector: r for r in rows}
        for name in [n for n, led in self._led.items() if n not in current or current[n].epoch != led.epoch]:
            del self._led[name]
        for row in rows:
            if row.connector_state != "active" or (row.owner is not None and row.owner != self._owner):
                self._led.pop(row.connector, None)
                continue
            try:
                await self._advance(row)
            except RecoveryConflict as conflict:
                log.info("%s: not led here: %s", row.connector, conflict)
                self._led.pop(row.connector, None)

    # ------------------------------------------------------------------------------------------ leading

    async def _advance(self, row: Recovery) -> None:
        name, pace = row.connector, self._pace
        alone = pace.grace_s if self._airflow is not None else 0.0
        held = await recovery.lead(self._core, name, self._owner, row.epoch, pace.lease_s, after_alone_s=alone)
        led = self._led.get(name)
        if led is None:
            led = self._led[name] = _Led(row.epoch, held.step, Ramp(pace.ramp_first, held.most), pace.canary_first_s)
            log.info("%s: leading its recovery (epoch %d)", name, row.epoch)
        led.step, led.ramp.most = held.step, held.most
        if self._clock() < led.not_before:
            return
        if led.before is None:
            await self._canary(name, led)
        else:
            await self._ramp(name, led)

    async def _canary(self, name: str, led: _Led) -> None:
        if led.canary is None:
            await self._release_canary(name, led)
            return
        seen = await recovery.progress(self._core, name, led.epoch, since=led.at, canary=led.canary, brief=True)
        if seen.canary in _ANSWERED:
            led.before, led.canary, led.pause_s = led.at, None, self._pace.canary_first_s
            led.ramp = Ramp(self._pace.ramp_first, led.ramp.most)
            await self._ramp(name, led)
        elif seen.canary in _FAILED:
            led.canary = None
            self._hold_back(led)
        elif seen.canary not in ("ready", "sending"):
            led.canary = None  # withdrawn: the next one tells

    async def _release_canary(self, name: str, led: _Led) -> None:
        now = (await recovery.lead(self._core, name, self._owner, led.epoch, self._pace.lease_s)).now
        done = await recovery.release(
            self._core, name, self._owner, led.epoch, led.step + 1, 1, waiting_since_before=now
        )
        if done.deliveries:
            led.canary, led.at = done.deliveries[0], done.at
        elif (await recovery.progress(self._core, name, led.epoch)).waiting == 0:
            await self._finish(name, led)

    async def _ramp(self, name: str, led: _Led) -> None:
        seen = await recovery.progress(self._core, name, led.epoch, since=led.at, brief=True)
        advice = led.ramp.judge(seen)
        if advice == "wait":
            return
        if advice == "stop":
            log.info("%s: a whole step failed; back to a canary", name)
            led.before = None
            self._hold_back(led)
            return
        done = await recovery.release(
            self._core, name, self._owner, led.epoch, led.step + 1, led.ramp.size, waiting_since_before=led.before
        )
        led.ramp.released = done.count
        led.at = done.at
        if not done.count:
            await self._finish(name, led)

    async def _finish(self, name: str, led: _Led) -> None:
        if (await recovery.finish(self._core, name, self._owner, led.epoch)).done:
            del self._led[name]
            log.info("%s: recovered (epoch %d)", name, led.epoch)

    def _hold_back(self, led: _Led) -> None:
        led.not_before = self._clock() + led.pause_s
        led.pause_s = min(led.pause_s * 2, self._pace.canary_longest_s)

    async def _give_up(self) -> None:
        for name, led in self._led.items():
            try:
                await recovery.hand_over(self._core, name, self._owner, led.epoch)
            except _OVER as error:
                log.info("%s: nothing to hand over: %s", name, error)
        self._led.clear()

    # ------------------------------------------------------------------------------------------ telling Airflow

    async def _tell(self, stop: asyncio.Event) -> None:
        """Start a run for each new epoch. The run's id makes a repeat harmless, also by another worker."""
        again: dict[tuple[str, int], float] = {}
        while not stop.is_set():
            try:
                rows = await recovery.overview(self._core, open_only=True)
                for row in rows:
                    key = (row.connector, row.epoch)
                    due = self._clock() >= again.get(key, 0.0)
                    if due and not row.triggered and row.connector_state == "active":
                        again[key] = self._clock() + self._pace.trigger_again_s
                        await self._trigger(row)
                again = {k: v for k, v in again.items() if k in {(r.connector, r.epoch) for r in rows}}
            except TRANSIENT as error:
                log.warning("Airflow is told later, the database is away: %s", error)
            await _pause(stop, self._pace.tick_s)

    async def _trigger(self, row: Recovery) -> None:
        assert self._airflow is not None
        run = f"{DAG}__{row.connector}__{row.epoch}"
        try:
            await self._airflow.trigger(DAG, run, {"connector": row.connector, "epoch": row.epoch})
        except Exception as error:  # whatever is wrong over there, the ticker leads meanwhile
            log.warning("Airflow could not be told of %s: %s", run, error)
            return
        await recovery.mark_triggered(self._core, row.connector, row.epoch)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
