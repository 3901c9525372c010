"""A connector's wire: permits, sending, reading, asking. What was seen is said; what follows from it is `judge`'s.

It must never hold a transaction open, nor send a call the quota has no permit for.
"""

from __future__ import annotations

import contextlib
import logging
import time

from msgspec.structs import replace

from adapters.kit import LATER, retry_after
from connectors.errors import Refused
from hub.kernel.failpoints import reach
from hub.kernel.firewall import clean
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import quotas
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.quotas import Ask, Grant
from hub.kernel.ledger.shapes import Exchange
from hub.kernel.ports import Draft, MaybeSent, NeedsPerson, NotSent, Reading, Reply, Settlement, Unknown
from hub.worker import judge
from hub.worker.quota import Quota
from hub.worker.render import Rendered, restored
from hub.worker.target import Target

log = logging.getLogger("hub.dispatch")


class Wire:
    """The wire of one connector. `quota` is None where the counterparty sets none."""

    def __init__(self, core: Core, target: Target) -> None:
        self.core = core
        self.target = target
        policy = target.policy
        limited = policy.per_second is not None or policy.per_day is not None
        self.quota = Quota(policy.per_second, policy.per_day, self._more) if limited else None
        target.connector.permits = self.quota

    async def _more(self, ask: Ask, calls: int) -> Grant:
        return await quotas.renew(self.core, self.target.number, ask, calls)

    async def keep_quota(self, busy: bool) -> None:
        """Hold on to a share in use, leave one that is not: others may be waiting for it."""
        quota = self.quota
        if quota is None or not quota.stale():
            return
        if busy or not quota.idle:
            await self._renew(quota)
        else:
            await self.leave_quota()

    async def leave_quota(self) -> None:
        """Give back the share and the calls of the day that were not made."""
        quota = self.quota
        if quota is not None and quota.holds:
            with contextlib.suppress(*TRANSIENT):
                await quotas.leave(self.core, self.target.number, quota.spare, quota.day)
            quota.forget()

    async def permitted(self) -> bool:
        """A permit for a call that no claim came before, and so perhaps no share."""
        quota = self.quota
        if quota is None:
            return True
        if not quota.stands:
            await self._renew(quota)
        return await quota.take()

    async def _renew(self, quota: Quota) -> None:
        asked_at = time.monotonic()
        quota.granted(await quotas.renew(self.core, self.target.number, quota.ask()), asked_at)

    async def number(self, calls: list[Rendered]) -> list[Exchange]:
        """Number calls for the ledger. A call is kept in the retention class of its first delivery."""
        async with self.core.pool.acquire() as connection:
            ids = await self.core.ids.take(connection, len(calls))
        return [
            Exchange(id=i, klass=first.klass, connector=self.target.number, call=call, mapping=mapping)
            for i, (call, mapping, first) in zip(ids, calls, strict=True)
        ]

    async def send(self, exchange: Exchange) -> tuple[Reading, str | None]:
        """One call on the wire, for which a permit was taken. The second value names a fault of the connector's own, None
        when there was none."""
        call = exchange.call
        started = time.monotonic()
        reach("send.before")
        try:
            reply = await self._exchange(exchange)
        except Refused as error:
            exchange.error = f"{type(error).__name__}: {error}"
            return Reading(outcomes=dict.fromkeys(call.deliveries, self._refusal(error))), None
        except (NotSent, MaybeSent) as error:
            exchange.elapsed_ms = (time.monotonic() - started) * 1000
            exchange.error = f"{type(error).__name__}: {error}"[:500]
            return Reading(outcomes=dict.fromkeys(call.deliveries, judge.of_error(error, call))), exchange.error
        finally:
            if self.quota is not None:
                self.quota.answered()
        reach("send.after")
        exchange.reply = reply = self._cleaned(reply)
        exchange.elapsed_ms = (time.monotonic() - started) * 1000
        try:
            reading = restored(call, self.target.adapter.read(call, reply))
        except Exception as error:
            log.exception("%s: reading a reply failed", self.target.name)
            return Reading(
                outcomes=dict.fromkeys(call.deliveries, Unknown(reason=f"unreadable: {error}"[:300]))
            ), "unreadable"
        if self.target.kept is not None:
            await self.target.kept.put(exchange, reading)
        return reading, _fault_of(reply, reading)

    def _cleaned(self, reply: Reply) -> Reply:
        """A reply as it is read and kept: through the biometric firewall, for a counterparty may answer with a photo."""
        cleaned = clean(reply.body, self.core.hasher)
        if not cleaned.removed:
            return reply
        log.info("%s: %d pictures taken out of a reply", self.target.name, len(cleaned.removed))
        return replace(reply, body=cleaned.body)

    async def _exchange(self, exchange: Exchange) -> Reply:
        """With quick tries, each of which becomes an attempt. Under a quota every try needs a permit, so there is but one."""
        timeout = self.target.policy.timeout_s
        if self.quota is not None:
            return await self.target.connector.send(exchange.call, timeout)
        try:
            reply, failed = await self.target.connector.send_with_tries(exchange.call, timeout)
        except (NotSent, MaybeSent) as error:
            exchange.tries = [(t.outcome, t.error) for t in getattr(error, "tries", [])][:-1]
            raise
        if failed:
            exchange.tries = [(t.outcome, t.error) for t in failed]
        return reply

    def arrivals(self, exchange: Exchange, drafts: list[Draft]) -> list[Arrival]:
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

    async def ask(self, exchange: Exchange) -> tuple[Settlement | None, str, NeedsPerson | None, float | None]:
        """Send an inquiry, for which a permit was taken. None: it was not answered; an answer that cannot be read is
        *unclear*. The third: what a person must do before asking again makes sense; the fourth: seconds the counterparty asked for
        before it is asked again."""
        inquiry = exchange.call
        reach("settle.before")
        started = time.monotonic()
        settlement: Settlement | None = None
        stop: NeedsPerson | None = None
        after_s: float | None = None
        try:
            exchange.reply = self._cleaned(await self.target.connector.send(inquiry, self.target.policy.timeout_s))
            if exchange.reply.status >= 500 or exchange.reply.status in LATER:
                # A counterparty that is ill has not said anything unclear: it has not answered.
                reason, after_s = f"HTTP {exchange.reply.status}", retry_after(exchange.reply)
            else:
                settlement = self.target.adapter.settle(inquiry, exchange.reply)  # type: ignore[attr-defined]
                reason = settlement.detail or settlement.verdict
        except Refused as error:
            exchange.error = reason = f"{type(error).__name__}: {error}"[:500]
            stop = self._refusal(error)
        except (NotSent, MaybeSent) as error:
            exchange.error = reason = f"{type(error).__name__}: {error}"[:500]
        except Exception as error:
            log.exception("%s: reading an inquiry's answer failed", self.target.name)
            settlement, reason = Settlement(verdict="unclear"), f"unreadable: {error}"[:300]
        finally:
            if self.quota is not None:
                self.quota.answered()
        exchange.elapsed_ms = (time.monotonic() - started) * 1000
        reach("settle.after")
        return settlement, reason, stop, after_s

    def _refusal(self, error: Refused) -> NeedsPerson:
        """The task of a connector that is turned down, whatever it was about to say."""
        return NeedsPerson(cause=error.cause, subject=self.target.name, message=error.TEXT, scope="connector")


def _fault_of(reply: Reply, reading: Reading) -> str | None:
    """Whether a reply shows the counterparty itself to be ill: 5xx, 429, or nothing but unknown outcomes."""
    if reply.status >= 500 or reply.status == 429:
        return f"HTTP {reply.status}"
    outcomes = reading.outcomes
    if outcomes and all(type(o) is Unknown for o in outcomes.values()):
        return "unreadable answer"
    return None
