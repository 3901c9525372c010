"""Look-ups on their way out: refused without purpose or officer, answered from a kept answer where that is allowed.

One concern: what happens to a look-up before its first byte. It must never let one pass without a line in the look-up log,
whether a byte leaves or not.
"""

from __future__ import annotations

from collections.abc import Callable

from hub.kernel.ledger import lookups
from hub.kernel.ledger.shapes import Conclusion, Exchange, TaskSpec
from hub.kernel.lifecycle import State
from hub.kernel.ports import Reading, Receipt, Text
from hub.worker import judge
from hub.worker.target import Done, InHand, Job, Target
from hub.worker.wire import Wire

_UNACCOUNTED = Text(
    "Lượt tra cứu không nêu mục đích hoặc cán bộ chịu trách nhiệm nên không được gửi; hãy bổ sung ở cấu hình kết nối hoặc ở yêu cầu xác minh.",
    "A look-up without a purpose or an officer answerable for it is not sent; give them in the connector's settings or in the request.",
)


class Desk:
    """Where look-ups pass before their intents are stored, and after. Other calls pass untouched."""

    def __init__(self, target: Target, wire: Wire, hand: dict[int, InHand], put: Callable[[Done], None]) -> None:
        self._target = target
        self._wire = wire
        self._hand = hand
        self._put = put
        self._readings: dict[int, Reading] = {}

    async def screen(self, jobs: list[Job], intents: list[Exchange]) -> tuple[list[Job], list[Exchange]]:
        """The jobs and intents that may go on. Look-ups nobody answers for are parked; kept answers are put beside theirs."""
        barred = {e.id for e in intents if lookups.is_lookup(e.call) and not lookups.accounted(e.call)}
        if barred:
            refused = [j.exchange for j in jobs if j.exchange.id in barred]
            self._put(Done([self._unaccounted(d) for e in refused for d in e.call.deliveries], []))
            jobs = [j for j in jobs if j.exchange.id not in barred]
            intents = [e for e in intents if e.id not in barred]
        if self._target.kept is not None:
            await self._target.kept.find(intents)
            for exchange in intents:
                if exchange.kept is not None:
                    self._read(exchange)
        return jobs, intents

    def _read(self, exchange: Exchange) -> None:
        """What a kept answer says today; where that settles nothing, it is asked as ever. Before the log's line, which tells which."""
        assert exchange.reply is not None
        reading = self._target.adapter.read(exchange.call, exchange.reply)
        if all(isinstance(reading.outcomes.get(d), Receipt) for d in exchange.call.deliveries):
            self._readings[exchange.id] = reading
        else:
            exchange.kept, exchange.reply, exchange.answered = None, None, True

    def _unaccounted(self, number: int) -> Conclusion:
        delivery = self._hand[number].delivery
        task = TaskSpec(
            connector=self._target.number, cause="lookup_unaccounted", subject=delivery.flow, text=_UNACCOUNTED
        )
        return Conclusion(
            delivery=delivery, target=State.PARKED, cause="needs_person", outcome="Unaccounted", reason="no purpose or no officer", task=task
        )  # fmt: skip

    def served(self, jobs: list[Job]) -> list[Job]:
        """Conclude what an earlier answer serves, once the log has its line; the jobs that must still be sent."""
        for job in jobs:
            if job.exchange.kept is not None:
                self._serve(job.exchange, self._readings[job.exchange.id])
        # Also those whose lease was lost before the intent.
        self._readings.clear()
        return [j for j in jobs if j.exchange.kept is None]

    def _serve(self, exchange: Exchange, reading: Reading) -> None:
        policy, number = self._target.policy, self._target.number
        conclusions = [
            judge.conclude_outcome(
                self._hand[d].delivery, reading.outcomes[d], policy, number, idempotent=True, call=exchange.id, elapsed_ms=0.0
            )
            for d in exchange.call.deliveries
        ]  # fmt: skip
        self._put(Done(conclusions, [exchange], self._wire.arrivals(exchange, reading.records)))
