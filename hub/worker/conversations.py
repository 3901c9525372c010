"""Conversations that go on later: which claimed deliveries are in the middle of one, and what is said next.

One concern: from a kept state to the next call. Between two calls nothing waits and nothing is held: the delivery is
*waiting* in the ledger until its time. It must never begin a conversation anew that has begun: that is its adapter's to say.
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
        """The next call of each, or why there is none. `mapped` fills in a delivery's fields."""
        calls: list[tuple[Call, Claimed]] = []
        ended: list[Conclusion] = []
        for d in begun:
            conclusion = mapped(d)
            if conclusion is not None:
                ended.append(conclusion)
                continue
            try:
                calls.append((self._target.adapter.resume(d.outgoing, self._states[d.id]), d))  # type: ignore[attr-defined]
            except Exception as error:
                log.exception("%s: the conversation about %s cannot go on", self._target.name, d.id)
                ended.append(judge.conclude_unrenderable(d, self._target.number, error))
        return calls, ended
