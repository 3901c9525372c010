"""A connector's wire: pacing, sending, reading, asking. What was seen is said; what follows from it is `judge`'s.

It must never hold a transaction open, nor send more calls in a second than the quota allows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

from connectors.errors import AddressRefused, CredentialsRefused
from hub.kernel.failpoints import reach
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.shapes import Exchange
from hub.kernel.ports import Draft, MaybeSent, NeedsPerson, NotSent, Reading, Reply, Settlement, Text, Unknown
from hub.worker import judge
from hub.worker.render import Rendered, restored
from hub.worker.target import Target

log = logging.getLogger("hub.dispatch")

_WINDOW_S = 1.015
"""A second of the counterparty's, and what the way there may vary by."""

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


class Wire:
    """The wire of one connector."""

    def __init__(self, core: Core, target: Target) -> None:
        self.core = core
        self.target = target
        self._sent: deque[float] = deque(maxlen=max(1, int(target.policy.per_second or 1)))
        """When the last calls left, as many as the quota allows in a second."""
        self._pace = asyncio.Lock()

    async def slot(self, not_before: float) -> None:
        """Wait for the call's slot. What comes late may catch up, but no second ever holds more calls than the quota.

        Calls are not merely kept apart by the quota's interval: at 2,000 a second that is half of what a timer can tell.
        """
        if not self.target.policy.interval_s:
            return
        async with self._pace:
            at = not_before
            if len(self._sent) == self._sent.maxlen:
                at = max(at, self._sent[0] + _WINDOW_S)
            now = time.monotonic()
            if at > now:
                await asyncio.sleep(at - now)
            self._sent.append(time.monotonic())

    async def number(self, calls: list[Rendered]) -> list[Exchange]:
        """Number calls for the ledger. A call is kept in the retention class of its first delivery."""
        async with self.core.pool.acquire() as connection:
            ids = await self.core.ids.take(connection, len(calls))
        return [
            Exchange(id=i, klass=first.klass, connector=self.target.number, call=call, mapping=mapping)
            for i, (call, mapping, first) in zip(ids, calls, strict=True)
        ]

    async def send(self, exchange: Exchange) -> tuple[Reading, str | None]:
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
            reading = restored(call, self.target.adapter.read(call, reply))
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

    async def ask(self, exchange: Exchange) -> tuple[Settlement | None, str]:
        """Send an inquiry. None: it was not answered; an answer that cannot be read is *unclear*."""
        inquiry = exchange.call
        await self.slot(0.0)
        reach("settle.before")
        started = time.monotonic()
        settlement: Settlement | None = None
        try:
            exchange.reply = await self.target.connector.send(inquiry, self.target.policy.timeout_s)
            if exchange.reply.status >= 500 or exchange.reply.status == 429:
                # A counterparty that is ill has not said anything unclear: it has not answered.
                reason = f"HTTP {exchange.reply.status}"
            else:
                settlement = self.target.adapter.settle(inquiry, exchange.reply)  # type: ignore[attr-defined]
                reason = settlement.detail or settlement.verdict
        except (NotSent, MaybeSent) as error:
            exchange.error = reason = f"{type(error).__name__}: {error}"[:500]
        except Exception as error:
            log.exception("%s: reading an inquiry's answer failed", self.target.name)
            settlement, reason = Settlement(verdict="unclear"), f"unreadable: {error}"[:300]
        exchange.elapsed_ms = (time.monotonic() - started) * 1000
        reach("settle.after")
        return settlement, reason


def _fault_of(reply: Reply, reading: Reading) -> str | None:
    """Whether a reply shows the counterparty itself to be ill: 5xx, 429, or nothing but try-later and unknown."""
    if reply.status >= 500 or reply.status == 429:
        return f"HTTP {reply.status}"
    outcomes = list(reading.outcomes.values())
    if outcomes and all(isinstance(o, Unknown) for o in outcomes):
        return "unreadable answer"
    return None
