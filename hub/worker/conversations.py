"""Conversations that go on later: which claimed deliveries are in the middle of one, and what is said next.

One concern: from a kept state to the next call. Between two calls nothing waits and nothing is held: the delivery is
*waiting* in the ledger until its time. Several that go on at the same moment share a call where their adapter says that its
answer stands for each. It must never begin a conversation anew that has begun: that is its adapter's to say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from hub.kernel.ledger import lookups
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.shapes import Claimed, Conclusion
from hub.kernel.ports import Call
from hub.worker import judge
from hub.worker.target import Target

log = logging.getLogger("hub.dispatch")


class Conversations:
    """Those of one connector; without effect where its adapter has none."""

    def __init__(self, core: Core, target: Target) -> None:
        self._core = core
        self._target = target
        self._converses = hasattr(target.adapter, "resume")
        self._states: dict[int, dict[str, str]] = {}

    async def apart(self, deliveries: list[Claimed]) -> tuple[list[Claimed], list[Claimed]]:
        """The deliveries that begin, and those whose conversation has begun."""
        if not self._converses:
            return deliveries, []
        self._states = await lookups.conversations(self._core, [d.id for d in deliveries])
        begun = [d for d in deliveries if d.id in self._states]
        for d in begun:
            d.talking = True
        return [d for d in deliveries if not d.talking], begun

    def resumed(
        self, begun: list[Claimed], mapped: Callable[[Claimed], Conclusion | None]
    ) -> tuple[list[tuple[Call, Claimed]], list[Conclusion]]:
        """The next calls, each with the first delivery it is for, and why some have none. `mapped` fills in a delivery's fields."""
        ended: list[Conclusion] = []
        going_on: list[Claimed] = []
        for d in begun:
            if (conclusion := mapped(d)) is not None:
                ended.append(conclusion)
            else:
                going_on.append(d)
        together = self._together(going_on)
        if together is not None:
            return together, ended
        calls: list[tuple[Call, Claimed]] = []
        for d in going_on:
            try:
                calls.append((self._target.adapter.resume(d.outgoing, self._states[d.id]), d))  # type: ignore[attr-defined]
            except Exception as error:
                log.exception("%s: the conversation about %s cannot go on", self._target.name, d.id)
                ended.append(judge.conclude_unrenderable(d, self._target.number, error))
        return calls, ended

    def _together(self, begun: list[Claimed]) -> list[tuple[Call, Claimed]] | None:
        """Calls that several share; None where each goes on by itself: one that cannot must hold up no other."""
        adapter = self._target.adapter
        # A call is mapped by one version, which it names.
        alike = len({d.mapping for d in begun}) == 1
        if len(begun) < 2 or not alike or not hasattr(adapter, "resume_many"):
            return None
        by_id = {d.id: d for d in begun}
        states = [(d.outgoing, self._states[d.id]) for d in begun]
        try:
            calls = adapter.resume_many(states, self._target.policy.batch_max)
        except Exception:
            log.exception(
                "%s: %d conversations cannot go on together; trying one by one", self._target.name, len(begun)
            )
            return None
        if sorted(d for call in calls for d in call.deliveries) != sorted(by_id):
            log.error("%s: not everybody of %d has one next call; trying one by one", self._target.name, len(begun))
            return None
        return [(call, by_id[call.deliveries[0]]) for call in calls]
