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
from dataclasses import dataclass, field

from msgspec.structs import replace

from connectors.connector import LiveConnector
from connectors.errors import AddressRefused, CredentialsRefused
from connectors.policy.breaker import Breaker, Permit
from hub.kernel.failpoints import reach
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import dispatch as ledger
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.dispatch import Batch, Claimed, Conclusion, Exchange
from hub.kernel.lifecycle import State
from hub.kernel.ports import Adapter, Call, Draft, MaybeSent, NeedsPerson, NotSent, Reading, Reply, Text, Unknown
from hub.worker import judge
from hub.worker.policy import Policy
from mappings.engine import FieldMap, Unmapped

log = logging.getLogger("hub.dispatch")

_REFUSED = {
    "credentials_refused": Text(
        "Đối tác từ chối tài khoản của kết nối; hãy cập nhật tài khoản rồi mở lại kết nối.",
        "The counterparty refused the connector's credentials; renew them, then resume the connector.",
    ),
    "address_refused": Text(
        "Địa chỉ của kết nối nằm trong mạng nội bộ không được phép; hãy sửa địa chỉ hoặc cấu hình outward.allow_private.",
        "The connector's address lies in a private network that is not allowed; change it, or outward.allow_private.",
    ),
}
_COUNTS_AS = "counts_as"
_CONVERSATION_MAX = 5
_CONCLUDE_MAX = 500


@dataclass
class Target:
    """One connector as its dispatcher needs it: rebuilt whenever its settings change."""

    number: int
    name: str
    adapter: Adapter
    connector: LiveConnector
    policy: Policy
    maps: dict[str, FieldMap]
    """Field map by flow name."""
    unmapped: dict[str, str]
    """`park` or `reject`, by flow name."""
    inquires: bool
    intents: frozenset[str]
    """Operations that store an intent before the first byte, whether idempotent or not."""
    breaker: Breaker
    open_now: Callable[[], bool]
    """Whether the connector's calendar lets it work now."""


@dataclass
class _InHand:
    delivery: Claimed
    until: float
    """Monotonic time up to which the lease certainly holds."""


@dataclass
class _Job:
    exchange: Exchange
    batch: Batch
    permit: Permit
    not_before: float = 0.0


@dataclass
class _Done:
    conclusions: list[Conclusion]
    exchanges: list[Exchange]
    arrivals: list[Arrival] = field(default_factory=list)
    fault: str | None = None


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
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._done: asyncio.Queue[_Done] = asyncio.Queue()
        self._hand: dict[int, _InHand] = {}
        self._stopping = False
        self._last_send = 0.0
        self._pace = asyncio.Lock()

    # ------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Work until `stop` is called, then finish what is on the wire and give back the rest."""
        workers = [
            asyncio.create_task(self._claimer()),
            asyncio.create_task(self._asker()),
            asyncio.create_task(self._keeper()),
        ]
        senders = [asyncio.create_task(self._sender()) for _ in range(self.target.policy.concurrency)]
        concluder = asyncio.create_task(self._concluder())
        try:
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()
            for task in senders:
                task.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
            await self._give_back()
            await self._done.join()
            concluder.cancel()
            await asyncio.gather(concluder, *workers, return_exceptions=True)
            await self.target.connector.close()

    async def stop(self) -> None:
        """Ask the dispatcher to end. What is being sent right now is waited for, up to the call's own timeout."""
        self._stopping = True
        self.bell.set()

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.bell.wait(), seconds)
        self.bell.clear()

    # ------------------------------------------------------------------------------------------ claiming

    async def _claimer(self) -> None:
        policy = self.target.policy
        high = policy.concurrency * policy.batch_max * 2
        if policy.per_second:
            high = min(high, max(policy.batch_max, int(policy.per_second * policy.batch_max)))
        while not self._stopping:
            room = high - len(self._hand)
            if self.paused or room < max(1, min(policy.batch_max, high) // 2) or not self.target.open_now():
                await self._rest(self.poll_s)
                continue
            try:
                permit = await self._permit()
                if permit is None:
                    await self._rest(self.poll_s)
                    continue
                batch = await ledger.claim(
                    self.core, self.target.number, 1 if permit.probe else room, policy.lease_s, batch_max=policy.batch_max,
                    interval_s=policy.interval_s, per_day=policy.per_day,
                )  # fmt: skip
            except TRANSIENT as error:
                log.warning("%s: claim failed: %s", self.target.name, error)
                await asyncio.sleep(0.5)
                continue
            if not batch.deliveries:
                await self._rest(self.poll_s)
                continue
            self._hold(batch.deliveries)
            try:
                await self._prepare(batch, permit)
            except TRANSIENT as error:
                # Leases of this batch run out and the ticker puts it back: nothing has been sent.
                log.warning("%s: intent failed: %s", self.target.name, error)
                for d in batch.deliveries:
                    self._hand.pop(d.id, None)
                await asyncio.sleep(0.5)

    async def _permit(self) -> Permit | None:
        """The breaker's leave. While it is not closed, a probe is asked for only when there is something to send."""
        if self.target.breaker.state != "closed" and not await ledger.anything_ready(self.core, self.target.number):
            return None
        permit = await self.target.breaker.allow()
        return permit if permit.ok else None

    def _hold(self, deliveries: list[Claimed]) -> None:
        until = time.monotonic() + self.target.policy.lease_s - 1.0
        for d in deliveries:
            self._hand[d.id] = _InHand(d, until)

    async def _prepare(self, batch: Batch, permit: Permit) -> None:
        """Map and render a batch, store the intents it needs, and queue its calls in order of their slots."""
        calls: list[tuple[Call, str, Claimed]] = []
        ended: list[Conclusion] = []
        fresh: list[Claimed] = []
        resend = {d.resend: d for d in batch.deliveries if d.resend is not None}
        for d in batch.deliveries:
            if d.resend is not None:
                continue
            conclusion = self._map(d)
            if conclusion is None:
                fresh.append(d)
            else:
                ended.append(conclusion)
        if any(c.outcome == "Unmapped" for c in ended):
            ended = await self._map_again(ended, fresh)
        if resend:
            stored = await ledger.stored_calls(self.core, {call: d.klass for call, d in resend.items()})
            for number, d in resend.items():
                old, mapping = stored[number]
                calls.append((_readdressed(old, d), mapping, d))
        by_id = {d.id: d for d in fresh}
        rendered, failed = self._render(fresh)
        ended.extend(failed)
        for call in rendered:
            first = by_id[call.deliveries[0]]
            calls.append((call, self._mapping_version(first.flow), first))
        jobs = [_Job(e, batch, permit) for e in await self._exchanges(calls)]
        if ended:
            self._finish(_Done(ended, []))
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
        start = time.monotonic() + batch.start_s
        for place, job in enumerate(jobs):
            job.not_before = start + place * batch.interval_s
            self._jobs.put_nowait(job)

    async def _exchanges(self, calls: list[tuple[Call, str, Claimed]]) -> list[Exchange]:
        """Number calls for the ledger. A call is kept in the retention class of its first delivery."""
        async with self.core.pool.acquire() as connection:
            ids = await self.core.ids.take(connection, len(calls))
        return [
            Exchange(id=i, klass=first.klass, connector=self.target.number, call=call, mapping=mapping)
            for i, (call, mapping, first) in zip(ids, calls, strict=True)
        ]

    def _mapping_version(self, flow: str) -> str:
        field_map = self.target.maps.get(flow)
        return f"{field_map.name}@{field_map.version}+{self.core.catalogue.version}" if field_map else "-"

    def _map(self, d: Claimed) -> Conclusion | None:
        """Fill in `mapped`; a conclusion when the record cannot go out as it is."""
        out = d.outgoing
        assert out is not None
        field_map = self.target.maps.get(d.flow)
        if field_map is None:
            return judge.conclude_unrenderable(d, self.target.number, LookupError(f"flow {d.flow!r} has no field map"))
        try:
            meta = {"event": out.event, "version": out.version, "updated_at": out.updated_at, "key": out.key}
            mapped = field_map.apply(out.body, meta, self.core.catalogue)
        except Unmapped as unmapped:
            return judge.conclude_unmapped(d, self.target.number, unmapped, self.target.unmapped.get(d.flow, "park"))
        except Exception as error:
            log.exception("%s: mapping %s failed", self.target.name, d.id)
            return judge.conclude_unrenderable(d, self.target.number, error)
        d.outgoing = replace(out, mapped=mapped)
        return None

    async def _map_again(self, ended: list[Conclusion], fresh: list[Claimed]) -> list[Conclusion]:
        """Before parking for a code, look whether somebody approved it meanwhile."""
        before = self.core.catalogue.version
        await self.core.refresh(max_age_s=1.0)
        if self.core.catalogue.version == before:
            return ended
        still: list[Conclusion] = []
        for c in ended:
            again = self._map(c.delivery) if c.outcome == "Unmapped" else c
            if again is None:
                fresh.append(c.delivery)
            else:
                still.append(again)
        return still

    def _render(self, fresh: list[Claimed]) -> tuple[list[Call], list[Conclusion]]:
        """Render a batch; when that fails, one by one, so that a single record cannot hold up the others."""
        outgoing = [d.outgoing for d in fresh if d.outgoing is not None]
        if not outgoing:
            return [], []
        try:
            return self.target.adapter.render(outgoing), []
        except Exception:
            log.exception("%s: rendering a batch of %d failed; trying one by one", self.target.name, len(outgoing))
        calls: list[Call] = []
        failed: list[Conclusion] = []
        for d, out in zip(fresh, outgoing, strict=True):
            try:
                calls.extend(self.target.adapter.render([out]))
            except Exception as error:
                failed.append(judge.conclude_unrenderable(d, self.target.number, error))
        return calls, failed

    # ------------------------------------------------------------------------------------------ sending

    async def _sender(self) -> None:
        while True:
            job = await self._jobs.get()
            await self._slot(job.not_before)
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
            await asyncio.shield(asyncio.create_task(self._converse(job, [h.delivery for h in held])))

    async def _slot(self, not_before: float) -> None:
        """Wait for the call's slot, and never send two closer together than the quota's interval, whatever came late."""
        interval = self.target.policy.interval_s
        if not interval:
            return
        async with self._pace:
            at = max(not_before, self._last_send + interval)
            now = time.monotonic()
            if at > now:
                await asyncio.sleep(at - now)
            self._last_send = time.monotonic()

    async def _converse(self, job: _Job, deliveries: list[Claimed]) -> None:
        """Send a call, and the calls its answers lead to, until every delivery has an outcome."""
        by_id = {d.id: d for d in deliveries}
        done = _Done([], [])
        exchange: Exchange | None = job.exchange
        rounds = 0
        while exchange is not None:
            done.exchanges.append(exchange)
            rounds += 1
            reading, fault = await self._send(exchange)
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
            done.arrivals.extend(self._arrivals(exchange, reading.records))
            await self.target.breaker.record(job.permit, fault is None)
            done.fault = fault or done.fault
            exchange = await self._follow(job, following, exchange, deliveries[0]) if following else None
        self._finish(done)

    async def _follow(self, job: _Job, call: Call, before: Exchange, first: Claimed) -> Exchange | None:
        (exchange,) = await self._exchanges([(call, before.mapping, first)])
        if not call.idempotent:
            ours = await ledger.intend(self.core, [exchange], job.batch.claim)
            if not set(call.deliveries) <= ours:
                return None
        await self._slot(0.0)
        return exchange

    async def _send(self, exchange: Exchange) -> tuple[Reading, str | None]:
        """One call on the wire. The second value names a fault of the connector's own, None when there was none."""
        call = exchange.call
        started = time.monotonic()
        reach("send.before")
        try:
            reply = await self._exchange(exchange)
        except (CredentialsRefused, AddressRefused) as error:
            exchange.error = f"{type(error).__name__}: {error}"
            cause = "credentials_refused" if isinstance(error, CredentialsRefused) else "address_refused"
            refusal = NeedsPerson(cause=cause, subject=self.target.name, message=_REFUSED[cause], scope="connector")
            return Reading(outcomes=dict.fromkeys(call.deliveries, refusal)), None
        except (NotSent, MaybeSent) as error:
            exchange.elapsed_ms = (time.monotonic() - started) * 1000
            exchange.error = f"{type(error).__name__}: {error}"[:500]
            return Reading(outcomes=dict.fromkeys(call.deliveries, judge.of_error(error, call))), exchange.error
        reach("send.after")
        exchange.reply = reply
        exchange.elapsed_ms = (time.monotonic() - started) * 1000
        try:
            reading = _restored(call, self.target.adapter.read(call, reply))
        except Exception as error:
            log.exception("%s: reading a reply failed", self.target.name)
            return Reading(
                outcomes=dict.fromkeys(call.deliveries, Unknown(reason=f"unreadable: {error}"[:300]))
            ), "unreadable"
        return reading, _fault_of(reply, reading)

    async def _exchange(self, exchange: Exchange) -> Reply:
        """With quick tries, each of which becomes an attempt. Under a quota every try needs a slot, so there is but one."""
        timeout = self.target.policy.timeout_s
        if self.target.policy.interval_s:
            return await self.target.connector.send(exchange.call, timeout)
        try:
            reply, tries = await self.target.connector.send_with_tries(exchange.call, timeout)
        except (NotSent, MaybeSent) as error:
            exchange.tries = [(t.outcome, t.error) for t in getattr(error, "tries", [])][:-1]
            raise
        exchange.tries = [(t.outcome, t.error) for t in tries[:-1]]
        return reply

    def _arrivals(self, exchange: Exchange, drafts: list[Draft]) -> list[Arrival]:
        """The records a reply gave rise to, as a message of the connector's own."""
        if not drafts or exchange.reply is None:
            return []
        source = Source("connector", self.target.name)
        digest = bytes.fromhex(self.core.hasher(exchange.reply.body))
        return [
            Arrival(
                source=source, type=drafts[0].type, body=b'{"call":%d}' % exchange.id, content_type="application/json", digest=digest,
                key=intake_key(source, str(exchange.id)), drafts=drafts, school=drafts[0].school, attributes={"call": str(exchange.id)},
            )
        ]  # fmt: skip

    # ------------------------------------------------------------------------------------------ inquiring

    async def _asker(self) -> None:
        """Settle uncertain deliveries whose time has come, one inquiry at a time."""
        while not self._stopping:
            if self.paused or not self.target.open_now():
                await asyncio.sleep(self.poll_s)
                continue
            try:
                found = await ledger.claim_uncertain(self.core, self.target.number, 20, self.target.policy.lease_s)
                for d in found:
                    await self._settle(d)
            except TRANSIENT as error:
                log.warning("%s: settling failed: %s", self.target.name, error)
                found = []
            if not found:
                await asyncio.sleep(self.poll_s)

    async def _settle(self, d: Claimed) -> None:
        if not self.target.inquires or d.intent is None:
            self._finish(_Done([judge.conclude_unaskable(d, self.target.number)], []))
            return
        stored = await ledger.stored_calls(self.core, {d.intent: d.klass})
        call, mapping = stored[d.intent]
        inquiry = self.target.adapter.inquire(call.meta.get(_COUNTS_AS, d.id), call)  # type: ignore[attr-defined]
        (exchange,) = await self._exchanges([(inquiry, mapping, d)])
        await self._slot(0.0)
        reach("settle.before")
        started = time.monotonic()
        settlement, reason = None, ""
        try:
            reply = await self.target.connector.send(inquiry, self.target.policy.timeout_s)
            exchange.reply = reply
            settlement = self.target.adapter.settle(inquiry, reply)  # type: ignore[attr-defined]
            reason = settlement.detail or settlement.verdict
        except (NotSent, MaybeSent) as error:
            exchange.error = reason = f"{type(error).__name__}: {error}"[:500]
        exchange.elapsed_ms = (time.monotonic() - started) * 1000
        reach("settle.after")
        self._finish(
            _Done(
                [
                    judge.conclude_settlement(
                        d, settlement, reason, self.target.policy, self.target.number, call=exchange.id, elapsed_ms=exchange.elapsed_ms
                    )
                ],
                [exchange],
            )
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ concluding

    def _finish(self, done: _Done) -> None:
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
        while not self._stopping:
            await asyncio.sleep(lease / 3)
            by_claim: dict[int, list[int]] = {}
            for number, held in self._hand.items():
                by_claim.setdefault(held.delivery.claim, []).append(number)
            for token, ids in by_claim.items():
                try:
                    kept = await ledger.extend(self.core, ids, token, lease)
                except TRANSIENT:
                    continue
                until = time.monotonic() + lease - 1.0
                for number in kept:
                    if number in self._hand:
                        self._hand[number].until = until

    def _release(self, job: _Job) -> None:
        """Give back a call that was not begun: its deliveries are ready again, its attempt does not count."""
        held = [self._hand[d].delivery for d in job.exchange.call.deliveries if d in self._hand]
        if held:
            self._finish(
                _Done(
                    [Conclusion(delivery=d, target=State.READY, cause="released", outcome="released") for d in held], []
                )
            )

    async def _give_back(self) -> None:
        while not self._jobs.empty():
            self._release(self._jobs.get_nowait())


def _readdressed(call: Call, d: Claimed) -> Call:
    """A stored call that now counts for this delivery: a replay is another delivery with the same bytes.

    What the adapter wrote into `meta` names the first delivery; `_restored` brings its answers back to this one.
    """
    if call.deliveries == (d.id,):
        return call
    root = call.meta.get(_COUNTS_AS, d.replay_of)
    return replace(call, deliveries=(d.id,), meta=call.meta | {_COUNTS_AS: root})


def _restored(call: Call, reading: Reading) -> Reading:
    """A reading in terms of the delivery a readdressed call counts for."""
    root = call.meta.get(_COUNTS_AS)
    if root is None:
        return reading
    (mine,) = call.deliveries
    if root in reading.outcomes:
        reading.outcomes[mine] = reading.outcomes.pop(root)
    if reading.next is not None:
        reading.next = replace(reading.next, deliveries=(mine,), meta=reading.next.meta | {_COUNTS_AS: root})
    return reading


def _fault_of(reply: Reply, reading: Reading) -> str | None:
    """Whether a reply shows the counterparty itself to be ill: 5xx, 429, or nothing but try-later and unknown."""
    if reply.status >= 500 or reply.status == 429:
        return f"HTTP {reply.status}"
    outcomes = list(reading.outcomes.values())
    if outcomes and all(isinstance(o, Unknown) for o in outcomes):
        return "unreadable answer"
    return None
