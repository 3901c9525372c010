"""Steps that stand alone: one that fails keeps no other from its turn, is tried again soon, and is told.

One concern: taking turns. What fails is told in the log, and as an alarm where it goes on failing. Several workers may do the same at
the same time. It must never know what a step does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from hub.kernel.ledger import alarms
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ports import Text

log = logging.getLogger("hub.worker")

Step = tuple[str, Callable[[], Awaitable[Any]]]


class Rhythm(Struct, frozen=True, kw_only=True):
    """How often a kind of steps is due and when a person is told. Times in seconds."""

    kind: str
    """Of the alarms; and what the log calls the steps."""
    said: Text
    """What a person calls one of them."""
    every_s: float
    """A step is due again so long after it was done."""
    again_s: float
    """And so long after it failed."""
    told_after: int = 2
    """Failures in a row before a person is told: one may be a passing fault of the database."""


class Steps:
    """Steps by name, each with a time of its own."""

    def __init__(
        self, core: Core, rhythm: Rhythm, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._core = core
        self._rhythm = rhythm
        self._steps = steps
        self._clock = clock
        self._due: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        self._told: frozenset[str] | None = None

    async def work(self) -> None:
        """Do what is due. Raises only where the alarm itself cannot be said, after every step had its turn."""
        kind = self._rhythm.kind
        for name, step in self._steps:
            if self._clock() < self._due.get(name, float("-inf")):
                continue
            try:
                await step()
            except TRANSIENT as error:
                self._missed(name)
                log.warning("%s: %s waits for the database: %s: %s", kind, name, type(error).__name__, error)
            except Exception:
                self._missed(name)
                log.exception("%s: %s failed", kind, name)
            else:
                self._failed.pop(name, None)
                self._due[name] = self._clock() + self._rhythm.every_s
        await self._tell()

    def _missed(self, name: str) -> None:
        self._failed[name] = self._failed.get(name, 0) + 1
        self._due[name] = self._clock() + self._rhythm.again_s

    async def _tell(self) -> None:
        """Say what goes on failing here: again and again while it does, since another worker whose steps succeed takes it back;
        that all is well once. A process that has just begun and failed knows nothing better than what stands."""
        failing = frozenset(name for name, times in self._failed.items() if times >= self._rhythm.told_after)
        if self._told is None and self._failed and not failing:
            return
        if failing or failing != self._told:
            await alarms.report(self._core, self._rhythm.kind, [self._alarm(name) for name in sorted(failing)])
            self._told = failing

    def _alarm(self, name: str) -> alarms.Alarm:
        said = self._rhythm.said
        text = Text(
            f"{said.vi} “{name}” thất bại nhiều lần liên tiếp; nhật ký của tiến trình worker nói vì sao.",
            f"{said.en} “{name}” has failed several times in a row; the worker's log says why.",
        )
        return alarms.Alarm(self._rhythm.kind, name, text)
