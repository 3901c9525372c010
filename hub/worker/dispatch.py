"""The dispatcher of one connector: claim, map, render, intend, send, read, conclude, without end.

Deliveries flow through three stages with queues between: the claimer keeps a few batches in hand, as many lanes as the
connector allows calls at a time work them off, one concluder writes outcomes in batches. It must never send without a
live lease, nor hold a transaction open while it waits for a counterparty.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from connectors.policy.breaker import Permit
from hub.kernel.ledger import dispatch as ledger
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.shapes import Batch, Claimed, Conclusion, Exchange
from hub.kernel.lifecycle import State
from hub.kernel.ports import NeedsPerson, Reading, Text, Unknown
from hub.worker import judge, leases
from hub.worker.asker import Asker
from hub.worker.concluder import Concluder
from hub.worker.guard import Guard
from hub.worker.halves import allowance, refused_whole
from hub.worker.leave import Leave
from hub.worker.lookups import Desk
from hub.worker.parts import parts_of
from hub.worker.policy import Pace
from hub.worker.render import Rendered, Renderer
from hub.worker.target import Done, InHand, Job, Target
from hub.worker.wire import Wire

log = logging.getLogger("hub.dispatch")

_LAST_STEP_S, _CANCEL_S, _FINISH_S = 1.5, 0.3, 4.5
"""How long an end waits for a claim or an inquiry under way, and for calls on the wire: within the ten seconds a process is given."""
_CONVERSATION_MAX = 5


class Dispatcher:
    """Runs one connector until stopped."""

    def __init__(
        self,
        core: Core,
        target: Target,
        *,
        poll_s: float,
        on_fault: Callable[[str, str], Awaitable[None]],
        on_pause: Callable[[str, str, Text], Awaitable[None]],
    ) -> None:
        self.core = core
        self.target = target
        self.poll_s = poll_s
        self._on_pause = on_pause
        """Told (connector, cause, message) when the connector itself needs a person."""
        self.bell = asyncio.Event()
        self.paused = False
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        """None: the end."""
        self._hand: dict[int, InHand] = {}
        self._out = 0
        """Conversations under way."""
        self._stopping = False
        self._stop_asked = asyncio.Event()
        self._leave = Leave(target.breaker)
        self._pace = Pace(target.policy)
        self._renderer = Renderer(core, target)
        self._wire = Wire(core, target)
        self._desk = Desk(target, self._wire, self._hand, lambda done: self._concluder.put(done))
        self._asker = Asker(
            core, target, self._wire, self._leave, lambda done: self._concluder.put(done), self._pause, poll_s
        )
        self._guard = Guard(core, target.number, target.name, target.guard, self._pause)
        self._concluder = Concluder(
            core, target, self._hand, self._pace, more_coming=lambda: self._out > 0, after=self.bell.set, on_fault=on_fault
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Work until `stop` is called, then finish what is on the wire and give back the rest."""
        keeper = asyncio.create_task(leases.keep(self.core, self._hand, self.target.policy.lease_s))
        lanes = [asyncio.create_task(self._lane()) for _ in range(self.target.policy.concurrency)]
        concluder = asyncio.create_task(self._concluder.run())
        loops = [
            asyncio.create_task(self._claimer()),
            asyncio.create_task(self._asker.run(lambda: self._stopping, lambda: self.paused)),
        ]
        asked = asyncio.create_task(self._stop_asked.wait())
        parts = [*loops, *lanes, concluder, keeper]
        try:
            # Whichever part ends by a fault, the whole ends with it, and is begun anew.
            await asyncio.wait([*parts, asked], return_when=asyncio.FIRST_COMPLETED)
            # A claim or an inquiry under way is soon over; one that hangs is cut off, and found again by its lease.
            await asyncio.wait(loops, timeout=_LAST_STEP_S)
        finally:
            self._stopping = True
            # Who waits for a database that stands still does not hear that it is to end, so the rest does not wait for that.
            await _ended(*loops, asked, patience_s=_CANCEL_S)
            # Once begun, a call is not abandoned half-way: its outcome is worth more than a quick exit. What is queued
            # is given back at once, also where every lane hangs; what is still out when patience ends is found by its lease.
            while not self._jobs.empty():
                if (job := self._jobs.get_nowait()) is not None:
                    self._release(job)
            for _ in lanes:
                self._jobs.put_nowait(None)
            ends = time.monotonic() + _FINISH_S
            await asyncio.wait(lanes, timeout=_FINISH_S)
            await _ended(*lanes, patience_s=_CANCEL_S)
            await self._concluder.finish(max(0.5, ends - time.monotonic()))
            await _ended(*loops, *lanes, keeper, concluder)
            await self._wire.leave_quota()
            await self.target.connector.close()
        for part in parts:
            if part.done() and not part.cancelled() and (error := part.exception()) is not None:
                raise error

    async def stop(self) -> None:
        """Ask the dispatcher to end, within `_LAST_STEP_S` and `_FINISH_S` seconds: a call on the wire is waited for so long."""
        self._stopping = True
        self._stop_asked.set()
        self.bell.set()

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.bell.wait(), seconds)
        self.bell.clear()

    async def _pause(self, cause: str, message: Text) -> None:
        self.paused = True
        await self._on_pause(self.target.name, cause, message)

    # ------------------------------------------------------------------------------------------ claiming

    async def _claimer(self) -> None:
        policy, quota = self.target.policy, self._wire.quota
        while not self._stopping:
            high = self._pace.most
            room = high - len(self._hand)
            try:
                await self._wire.keep_quota(busy=bool(self._hand))
                # Large bites: a claim costs the same for one delivery as for many.
                if self.paused or room < max(1, high // 2) or not self.target.open_now():
                    await self._rest(self.poll_s)
                    continue
                permit = await self._leave.take(lambda: ledger.anything_ready(self.core, self.target.number))
                if permit is None:
                    await self._rest(self.poll_s)
                    continue
                asked_at = time.monotonic()
                batch = await ledger.claim(
                    self.core, self.target.number, 1 if permit.probe else room, policy.lease_s, batch_max=policy.batch_max,
                    ask=quota.ask() if quota is not None else None,
                )  # fmt: skip
            except TRANSIENT as error:
                log.warning("%s: claim failed: %s", self.target.name, error)
                await asyncio.sleep(0.5)
                continue
            if quota is not None and batch.grant is not None:
                quota.granted(batch.grant, asked_at)
            if not batch.deliveries:
                self._leave.keep(permit)
                await self._rest(self.poll_s)
                continue
            self._hold(batch.deliveries, asked_at)
            # In parts, between which what is rendered goes out and what came back is written: a large claim stops neither.
            for part in parts_of(batch, policy.batch_max):
                try:
                    await self._prepare(part, permit)
                except TRANSIENT as error:
                    # Leases of this part run out and the ticker puts it back: nothing of it has been sent.
                    log.warning("%s: intent failed: %s", self.target.name, error)
                    self._let_go(part)
                    await asyncio.sleep(0.5)
                except Exception:
                    log.exception("%s: a batch of %d could not be prepared", self.target.name, len(part.deliveries))
                    self._let_go(part)
                    await asyncio.sleep(0.5)

    def _let_go(self, batch: Batch) -> None:
        for d in batch.deliveries:
            self._hand.pop(d.id, None)

    def _hold(self, deliveries: list[Claimed], asked_at: float) -> None:
        # From before the claim was asked for: a process stopped meanwhile must not believe in a lease that has ended.
        until = asked_at + self.target.policy.lease_s - 1.0
        for d in deliveries:
            self._hand[d.id] = InHand(d, until)
        self._guard.claimed(deliveries)

    async def _prepare(self, batch: Batch, permit: Permit) -> None:
        """Render a batch, store the intents it needs, and queue its calls."""
        calls, ended = await self._renderer.render(batch)
        if ended:
            self._concluder.put(Done(ended, []))
        jobs = [Job(e, batch, permit) for e in await self._wire.number(calls)]
        intents = [j.exchange for j in jobs if self._needs_intent(j.exchange)]
        jobs, intents = await self._desk.screen(jobs, intents)
        if intents:
            ours = await ledger.intend(self.core, intents, batch.claim)
            lost = {d for e in intents for d in e.call.deliveries} - ours
            if lost:
                jobs = [j for j in jobs if not lost & set(j.exchange.call.deliveries)]
                for number in lost:
                    self._hand.pop(number, None)
        jobs = self._desk.served(jobs)
        if not jobs:
            self._leave.keep(permit)
        for job in jobs:
            self._jobs.put_nowait(job)

    def _needs_intent(self, exchange: Exchange) -> bool:
        return not exchange.call.idempotent or exchange.call.operation in self.target.intents

    # ------------------------------------------------------------------------------------------ sending

    async def _lane(self) -> None:
        quota = self._wire.quota
        while (job := await self._jobs.get()) is not None:
            try:
                permitted = not self._barred(job) and (quota is None or await quota.take())
            except TRANSIENT as error:
                log.warning("%s: a permit waits for the database: %s", self.target.name, error)
                await asyncio.sleep(0.5)
                permitted = False
            if not permitted:
                self._release(job)
                continue
            held = [h for d in job.exchange.call.deliveries if (h := self._hand.get(d)) is not None]
            now = time.monotonic()
            live = len(held) == len(job.exchange.call.deliveries) and all(h.until >= now for h in held)
            if not live or self._barred(job):
                if quota is not None:
                    quota.unused()
                if live:
                    self._release(job)
                else:
                    # The lease may be another's by now; whoever holds it decides.
                    self._forget(job.exchange)
                continue
            self._out += 1
            try:
                await self._converse(job, [h.delivery for h in held])
            except Exception:
                log.exception("%s: a conversation broke off", self.target.name)
            finally:
                self._out -= 1

    def _barred(self, job: Job) -> bool:
        """Whether a call must not begin any more. While the breaker is not closed only a probe may: what was claimed before it opened
        is given back."""
        if self.paused or self._stopping or not self._leave.holds(job.permit):
            return True
        return self._guard.bars(job.exchange, self._hand)

    def _forget(self, exchange: Exchange) -> None:
        for d in exchange.call.deliveries:
            self._hand.pop(d, None)

    async def _converse(self, job: Job, deliveries: list[Claimed]) -> None:
        """Send a call, and the calls its answers lead to, until every delivery has an outcome."""
        by_id, done = {d.id: d for d in deliveries}, Done([], [])
        try:
            await self._talk(job, by_id, done)
        finally:
            # What was answered is known, whatever came after it. The rest (what a fault broke off, what a lost lease kept
            # from going on) is left to its lease, and whoever finds it decides.
            for number in by_id.keys() - {c.delivery.id for c in done.conclusions}:
                self._hand.pop(number, None)
            if done.exchanges:
                self._concluder.put(done)
        await self._guard.note(done.conclusions)

    async def _talk(self, job: Job, by_id: dict[int, Claimed], done: Done) -> None:
        waiting = [job.exchange]
        rounds, halvings = 0, allowance(len(by_id))
        while waiting:
            exchange = waiting.pop()
            if exchange is not job.exchange and not await self._may_go_on(job, exchange):
                continue
            reading, fault = await self._wire.send(exchange)
            done.exchanges.append(exchange)
            done.fault = fault or done.fault
            going_on: list[Rendered] = []
            if halvings > 0 and refused_whole(exchange, reading):
                going_on = self._renderer.halved([by_id[d] for d in exchange.call.deliveries])
                halvings -= len(going_on)
            if not going_on:
                following = reading.next if rounds < _CONVERSATION_MAX else None
                await self._conclude(exchange, reading, by_id, done, set(following.deliveries) if following else set())
                if following is not None:
                    rounds += 1
                    going_on = [(following, exchange.mapping, by_id[following.deliveries[0]])]
            # Only now that what was said is noted: this may fail.
            await self._leave.told(job.permit, fault is None)
            if going_on:
                waiting.extend(reversed(await self._wire.number(going_on)))

    async def _conclude(
        self, exchange: Exchange, reading: Reading, by_id: dict[int, Claimed], done: Done, open_ids: set[int]
    ) -> None:
        """The moves an answer makes; those in `open_ids` have none yet, the conversation goes on for them."""
        call, policy, number = exchange.call, self.target.policy, self.target.number
        stop: NeedsPerson | None = None
        for d in call.deliveries:
            outcome = reading.outcomes.get(d)
            if outcome is None:
                if d in open_ids:
                    continue
                outcome = Unknown(reason="missing from the answer")
            if type(outcome) is NeedsPerson and outcome.scope == "connector":
                stop = outcome
            done.conclusions.append(
                judge.conclude_outcome(
                    by_id[d], outcome, policy, number, idempotent=call.idempotent, call=exchange.id, elapsed_ms=exchange.elapsed_ms
                )
            )  # fmt: skip
        if reading.records:
            done.arrivals.extend(self._wire.arrivals(exchange, reading.records))
        if stop is not None:
            await self._pause(stop.cause, stop.message)

    async def _may_go_on(self, job: Job, exchange: Exchange) -> bool:
        """Intent and permit of a further call of a conversation. False: its deliveries are left to their lease."""
        if self._needs_intent(exchange):
            ours = await ledger.intend(self.core, [exchange], job.batch.claim)
            if not set(exchange.call.deliveries) <= ours:
                return False
        return self._wire.quota is None or await self._wire.quota.take()

    # ------------------------------------------------------------------------------------------ concluding

    def _finish(self, done: Done) -> None:
        self._concluder.put(done)

    def _release(self, job: Job) -> None:
        """Give back a call that was not begun: its deliveries are ready again, its attempt does not count, and its leave for a probe
        is another's."""
        self._leave.keep(job.permit)
        held = [self._hand[d].delivery for d in job.exchange.call.deliveries if d in self._hand]
        if held:
            moves = [Conclusion(delivery=d, target=State.READY, cause="released", outcome="released") for d in held]
            self._finish(Done(moves, []))


async def _ended(*tasks: asyncio.Task[Any], patience_s: float | None = None) -> None:
    """Cancel, and wait for the end, for so long at most."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=patience_s)
