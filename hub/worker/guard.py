"""The guard against mass refusals: a stream that is being refused is stopped before it is refused whole.

One concern: from outcomes to a pause. Bad data rests that school's share; the same cause at several schools is not
about data and pauses the connector. It must never count what the counterparty did not say, nor pause for less than the
settings say.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from connectors.policy.guard import GuardSettings
from hub.kernel.ledger import guards
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.shapes import Claimed, Conclusion, Exchange
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text
from hub.worker.target import InHand

log = logging.getLogger("hub.guard")

CAUSE = "mass_refusal"
_CAUSE_MAX = 80


class Window:
    """The last answered records of one stream and how many were refused for which cause. Begins at its first refusal:
    what was taken before it changes no count."""

    def __init__(self, size: int) -> None:
        self._last: deque[tuple[str, str] | None] = deque()
        self._size = size
        self._causes: Counter[str] = Counter()
        self._by: Counter[tuple[str, str]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._by)

    def taken(self) -> None:
        """One record was taken."""
        self._add(None)

    def refused(self, cause: str, school: str) -> tuple[int, int]:
        """One was refused. How many were for this cause, and of how many schools."""
        self._add((cause, school))
        return self._causes[cause], sum(1 for one, _ in self._by if one == cause)

    def _add(self, entry: tuple[str, str] | None) -> None:
        self._last.append(entry)
        if entry is not None:
            self._causes[entry[0]] += 1
            self._by[entry] += 1
        if len(self._last) > self._size and (old := self._last.popleft()) is not None:
            for counts, key in ((self._causes, old[0]), (self._by, old)):
                counts[key] -= 1  # type: ignore[index]
                if not counts[key]:  # type: ignore[index]
                    del counts[key]


class Guard:
    """Looks at one connector's outcomes in one worker. `pause`: pauses the connector (cause, message)."""

    def __init__(
        self,
        core: Core,
        connector: int,
        name: str,
        settings: GuardSettings,
        pause: Callable[[str, Text], Awaitable[None]],
    ) -> None:
        self._core = core
        self._connector = connector
        self._name = name
        self._s = settings
        self._pause = pause
        self._whole = Window(settings.of_last)
        self._schools: dict[str, Window] = {}
        self._resting: set[str] = set()

    async def note(self, conclusions: list[Conclusion]) -> None:
        """Count what was answered, and pause what must be."""
        for c in conclusions:
            if c.kind != "send" or c.call is None:
                continue
            if c.target is State.DELIVERED:
                if self._whole:
                    self._whole.taken()
                    own = self._schools.get(c.delivery.school or "")
                    if own:
                        own.taken()
            elif (cause := _refusal(c)) is not None:
                await self._refused(cause, c.delivery.school or "")

    def claimed(self, deliveries: list[Claimed]) -> None:
        """What is claimed does not rest any more: a person has looked."""
        if self._resting:
            self._resting -= {d.school or "" for d in deliveries}

    def bars(self, exchange: Exchange, hand: dict[int, InHand]) -> bool:
        """Whether a call is for resting shares alone."""
        if not self._resting:
            return False
        held = [h for d in exchange.call.deliveries if (h := hand.get(d)) is not None]
        return bool(held) and all((h.delivery.school or "") in self._resting for h in held)

    async def _refused(self, cause: str, school: str) -> None:
        count, schools = self._whole.refused(cause, school)
        own = self._schools.setdefault(school, Window(self._s.of_last))
        own_count, _ = own.refused(cause, school)
        try:
            if count > self._s.refused and schools >= self._s.schools:
                self._whole = Window(self._s.of_last)
                self._schools.clear()
                await self._pause(CAUSE, self._text(cause, count, f"{schools} trường", f"{schools} schools"))
            elif own_count > self._s.refused:
                self._schools.pop(school)
                self._resting.add(school)
                text = self._text(cause, own_count, "một trường", "one school")
                if await guards.pause_share(self._core, self._connector, school, cause, text):
                    log.error("%s: the share of %r rests: %s", self._name, school, text.en)
        except TRANSIENT as error:
            # Counted anew: what is refused next brings it here again.
            log.warning("%s: a pause for mass refusals waits for the database: %s", self._name, error)
        for name in [n for n, window in self._schools.items() if not window]:
            del self._schools[name]

    def _text(self, cause: str, count: int, vi: str, en: str) -> Text:
        return Text(
            f"{count} trong {self._s.of_last} bản ghi gần nhất của {vi} bị từ chối cùng lý do “{cause}”. Xem mục chờ xử lý, sửa nguyên nhân rồi mở lại.",
            f"{count} of the last {self._s.of_last} records of {en} were refused for one cause, “{cause}”. See what is parked, mend the cause, then resume.",
        )


def _refusal(c: Conclusion) -> str | None:
    """The cause a counterparty refused a record for; None when it did not."""
    if c.outcome == "NeedsPerson" and c.target is State.PARKED and c.task is not None:
        return c.task.cause[:_CAUSE_MAX]
    if c.outcome == "NeverTry" and c.target is State.DEAD:
        return (c.reason or "never")[:_CAUSE_MAX]
    return None
