"""The dispatcher of one connector: claim, map, render, intend, send, read, conclude, without end.

Deliveries flow through three stages with queues between: the claimer keeps a few batches in hand, `concurrency` senders
work them off, one concluder writes outcomes in batches. It must never send without a live lease, nor hold a transaction
open while it waits for a counterparty.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from connectors.policy.breaker import Permit
from hub.kernel.ledger import dispatch as ledger
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.shapes import Batch, Claimed, Conclusion, Exchange
from hub.kernel.lifecycle import State
from hub.kernel.ports import Call, NeedsPerson, Text, Unknown
from hub.worker import judge
from hub.worker.policy import Pace
from hub.worker.render import Renderer, root_of
from hub.worker.target import Done, InHand, Job, Target
from hub.worker.wire import Wire

log = logging.getLogger("hub.dispatch")

_LAST_STEP_S, _FINISH_S = 2.0, 5.5
"""How long an end waits for a claim or an inquiry under way, and for calls on the wire: within the ten seconds a process is given."""
_CONVERSATION_MAX = 5
_CONCLUDE_MAX = 500


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
        self._on_fault = on_fault
        """Told (connector, reason) when deliveries begin to wait for a fault of the connector's own."""
        self._on_pause = on_pause
        """Told (connector, cause, message) when the connector itself needs a person."""
        self.bell = asyncio.Event()
        self.paused = False
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._done: asyncio.Queue[Done] = asyncio.Queue()
        self._hand: dict[int, InHand] = {}
        self._talks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._stop_asked = asyncio.Event()
        self._spare: Permit | None = None
        """Leave for a probe that led to no call: it is kept for the next batch, for there are few."""
        self._pace = Pace(target.policy)
        self._renderer = Renderer(core, target)
        self._wire = Wire(core, target)

    # ------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Work until `stop` is called, then finish what is on the wire and give back the rest."""
        keeper = asyncio.create_task(self._keeper())
        senders = [asyncio.create_task(self._sender()) for _ in range(self.target.policy.concurrency)]
        concluder = asyncio.create_task(self._concluder())
        loops = [asyncio.create_task(self._claimer()), asyncio.create_task(self._asker())]
        asked = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait([*loops, asked], return_when=asyncio.FIRST_COMPLETED)
            # A claim or an inquiry under way is soon over; one that hangs is cut off, and found again by its lease.
            await asyncio.wait(loops, timeout=_LAST_STEP_S)
        finally:
            for task in (*loops, *senders, asked):
                task.cancel()
            await asyncio.gather(*loops, *senders, asked, return_exceptions=True)
            self._give_back()
            ends = time.monotonic() + _FINISH_S
            if self._talks:
                # What is still out after this is found by its lease: ready again, or asked about.
                await asyncio.wait(self._talks, timeout=_FINISH_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.join(), max(0.5, ends - time.monotonic()))
            for task in (keeper, concluder):
                task.cancel()
            await asyncio.gather(keeper, concluder, return_exceptions=True)
            await self.target.connector.close()
        for loop in loops:
            if not loop.cancelled() and (error := loop.exception()) is not None:
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

    # ------------------------------------------------------------------------------------------ claiming

    async def _claimer(self) -> None:
        policy = self.target.policy
        while not self._stopping:
            high = self._pace.most
            room = high - len(self._hand)
            # Large bites: a claim costs the same for one delivery as for many.
            if self.paused or room < max(1, high // 2) or not self.target.open_now():
                await self._rest(self.poll_s)
                continue
            try:
                permit = await self._permit()
                if permit is None:
                    await self._rest(self.poll_s)
                    continue
                asked_at = time.monotonic()
                batch = await ledger.claim(
                    self.core, self.target.number, 1 if permit.probe else room, policy.lease_s, batch_max=policy.batch_max,
                    interval_s=policy.interval_s, per_day=policy.per_day,
                )  # fmt: skip
            except TRANSIENT as error:
                log.warning("%s: claim failed: %s", self.target.name, error)
                await asyncio.sleep(0.5)
                continue
            if not batch.deliveries:
                self._keep(permit)
                await self._rest(self.poll_s)
                continue
            self._hold(batch.deliveries, asked_at)
            try:
                await self._prepare(batch, permit)
            except TRANSIENT as error:
                # Leases of this batch run out and the ticker puts it back: nothing has been sent.
                log.warning("%s: intent failed: %s", self.target.name, error)
                self._let_go(batch)
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("%s: a batch of %d could not be prepared", self.target.name, len(batch.deliveries))
                self._let_go(batch)
                await asyncio.sleep(0.5)

    def _let_go(self, batch: Batch) -> None:
        for d in batch.deliveries:
            self._hand.pop(d.id, None)

    def _keep(self, permit: Permit) -> None:
        if permit.probe:
            self._spare = permit

    async def _permit(self) -> Permit | None:
        """The breaker's leave. While it is not closed, a probe is asked for only when there is something to send."""
        spare, self._spare = self._spare, None
        if spare is not None and self.target.breaker.state == "half_open":
            return spare
        if self.target.breaker.state != "closed" and not await ledger.anything_ready(self.core, self.target.number):
            return None
        permit = await self.target.breaker.allow()
        return permit if permit.ok else None

    def _hold(self, deliveries: list[Claimed], asked_at: float) -> None:
        # From before the claim was asked for: a process stopped meanwhile must not believe in a lease that has ended.
        until = asked_at + self.target.policy.lease_s - 1.0
        for d in deliveries:
            self._hand[d.id] = InHand(d, until)

    async def _prepare(self, batch: Batch, permit: Permit) -> None:
        """Render a batch, store the intents it needs, and queue its calls in order of their slots."""
        calls, ended = await self._renderer.render(batch)
        if ended:
            self._finish(Done(ended, []))
        jobs = [Job(e, batch, permit) for e in await self._wire.number(calls)]
        intents = [
            j for j in jobs if not j.exchange.call.idempotent or j.exchange.call.operation in self.target.intents
        ]
        if intents:
            ours = await ledger.intend(self.core, [j.exchange for j in intents], batch.claim)
            lost = {d for j in intents for d in j.exchange.call.deliveries} - ours
            if lost:
                jobs = [j for j in jobs if not lost & set(j.exchange.call.deliveries)]
                for number in lost:
                    self._hand.pop(number, None)
        if not jobs:
            self._keep(permit)
        start = time.monotonic() + batch.start_s
        for place, job in enumerate(jobs):
            job.not_before = start + place * batch.interval_s
            self._jobs.put_nowait(job)

    # ------------------------------------------------------------------------------------------ sending

    async def _sender(self) -> None:
        while True:
            job = await self._jobs.get()
            await self._wire.slot(job.not_before)
            if self.paused or self._stopping:
                self._release(job)
                continue
            exchange = job.exchange
            held = [self._hand[d] for d in exchange.call.deliveries if d in self._hand]
            if len(held) != len(exchange.call.deliveries) or any(h.until < time.monotonic() for h in held):
                # The lease may be another's by now; whoever holds it decides.
                for d in exchange.call.deliveries:
                    self._hand.pop(d, None)
                continue
            # Once begun, a call is never abandoned half-way by a shutdown: its outcome is worth more than a quick exit.
            talk = asyncio.create_task(self._converse(job, [h.delivery for h in held]))
            self._talks.add(talk)
            talk.add_done_callback(self._talks.discard)
            try:
                await asyncio.shield(talk)
            except Exception:
                # The outcome is not known here; the lease is left to end, and whoever finds it decides.
                log.exception("%s: a conversation broke off", self.target.name)
                for d in exchange.call.deliveries:
                    self._hand.pop(d, None)

    async def _converse(self, job: Job, deliveries: list[Claimed]) -> None:
        """Send a call, and the calls its answers lead to, until every delivery has an outcome."""
        by_id = {d.id: d for d in deliveries}
        done = Done([], [])
        exchange: Exchange | None = job.exchange
        rounds = 0
        while exchange is not None:
            done.exchanges.append(exchange)
            rounds += 1
            reading, fault = await self._wire.send(exchange)
            call = exchange.call
            following = reading.next if rounds < _CONVERSATION_MAX else None
            open_ids = set(following.deliveries) if following else set()
            for d in call.deliveries:
                outcome = reading.outcomes.get(d)
                if outcome is None:
                    if d in open_ids:
                        continue
                    outcome = Unknown(reason="missing from the answer")
                if isinstance(outcome, NeedsPerson) and outcome.scope == "connector":
                    await self._on_pause(self.target.name, outcome.cause, outcome.message)
                    self.paused = True
                done.conclusions.append(
                    judge.conclude_outcome(
                        by_id[d], outcome, self.target.policy, self.target.number, idempotent=call.idempotent, call=exchange.id,
                        elapsed_ms=exchange.elapsed_ms,
                    )
                )  # fmt: skip
            done.arrivals.extend(self._wire.arrivals(exchange, reading.records))
            await self.target.breaker.record(job.permit, fault is None)
            done.fault = fault or done.fault
            exchange = await self._follow(job, following, exchange, deliveries[0]) if following else None
        # What a lost lease kept from going on is no longer ours.
        for number in by_id.keys() - {c.delivery.id for c in done.conclusions}:
            self._hand.pop(number, None)
        self._finish(done)

    async def _follow(self, job: Job, call: Call, before: Exchange, first: Claimed) -> Exchange | None:
        (exchange,) = await self._wire.number([(call, before.mapping, first)])
        if not call.idempotent:
            ours = await ledger.intend(self.core, [exchange], job.batch.claim)
            if not set(call.deliveries) <= ours:
                return None
        await self._wire.slot(0.0)
        return exchange

    # ------------------------------------------------------------------------------------------ inquiring

    async def _asker(self) -> None:
        """Settle uncertain deliveries whose time has come, as many at a time as calls may be."""
        while not self._stopping:
            if self.paused or not self.target.open_now():
                await asyncio.sleep(self.poll_s)
                continue
            try:
                policy = self.target.policy
                found = await ledger.claim_uncertain(self.core, self.target.number, policy.concurrency, policy.lease_s)
                await asyncio.gather(*(self._settle(d) for d in found))
            except TRANSIENT as error:
                log.warning("%s: settling failed: %s", self.target.name, error)
                found = []
            if not found:
                await asyncio.sleep(self.poll_s)

    async def _settle(self, d: Claimed) -> None:
        if not self.target.inquires or d.intent is None:
            self._finish(Done([judge.conclude_unaskable(d, self.target.number)], []))
            return
        stored = await ledger.stored_calls(self.core, {d.intent: d.klass})
        call, mapping = stored[d.intent]
        try:
            inquiry = self.target.adapter.inquire(root_of(call, d.id), call)  # type: ignore[attr-defined]
        except Exception:
            log.exception("%s: no inquiry could be made for %s", self.target.name, d.id)
            self._finish(Done([judge.conclude_unaskable(d, self.target.number)], []))
            return
        (exchange,) = await self._wire.number([(inquiry, mapping, d)])
        settlement, reason = await self._wire.ask(exchange)
        self._finish(
            Done(
                [
                    judge.conclude_settlement(
                        d, settlement, reason, self.target.policy, self.target.number, call=exchange.id, elapsed_ms=exchange.elapsed_ms
                    )
                ],
                [exchange],
            )
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ concluding

    def _finish(self, done: Done) -> None:
        self._done.put_nowait(done)

    async def _concluder(self) -> None:
        """Write outcomes in batches. An outcome in hand is kept until the database takes it, however long that is."""
        while True:
            taken = [await self._done.get()]
            count = len(taken[0].conclusions)
            while not self._done.empty() and count < _CONCLUDE_MAX:
                taken.append(self._done.get_nowait())
                count += len(taken[-1].conclusions)
            conclusions = [c for t in taken for c in t.conclusions]
            exchanges = [e for t in taken for e in t.exchanges]
            arrivals = [a for t in taken for a in t.arrivals]
            while True:
                try:
                    await ledger.conclude(self.core, self.target.number, conclusions, exchanges, arrivals)
                    break
                except TRANSIENT as error:
                    log.warning("%s: conclusion waits for the database: %s", self.target.name, error)
                    await asyncio.sleep(0.5)
                except Exception:
                    log.exception("%s: conclusion of %d failed; leases will end", self.target.name, len(conclusions))
                    break
            for c in conclusions:
                self._hand.pop(c.delivery.id, None)
            self._pace.note(len(conclusions), time.monotonic())
            # Only now: a leader that looks finds what it is to bring back.
            fault = next((t.fault for t in taken if t.fault), None)
            if fault is not None and any(c.target is State.WAITING for c in conclusions):
                await self._on_fault(self.target.name, fault)
            for _ in taken:
                self._done.task_done()
            self.bell.set()

    async def _keeper(self) -> None:
        """Renew the leases of what is in hand, well before they end."""
        lease = self.target.policy.lease_s
        while True:
            await asyncio.sleep(lease / 3)
            by_claim: dict[int, list[int]] = {}
            for number, held in self._hand.items():
                by_claim.setdefault(held.delivery.claim, []).append(number)
            for token, ids in by_claim.items():
                asked_at = time.monotonic()
                try:
                    kept = await ledger.extend(self.core, ids, token, lease)
                except TRANSIENT:
                    continue
                until = asked_at + lease - 1.0
                for number in kept:
                    if number in self._hand:
                        self._hand[number].until = until

    def _release(self, job: Job) -> None:
        """Give back a call that was not begun: its deliveries are ready again, its attempt does not count."""
        held = [self._hand[d].delivery for d in job.exchange.call.deliveries if d in self._hand]
        if held:
            self._finish(
                Done(
                    [Conclusion(delivery=d, target=State.READY, cause="released", outcome="released") for d in held], []
                )
            )

    def _give_back(self) -> None:
        while not self._jobs.empty():
            self._release(self._jobs.get_nowait())
