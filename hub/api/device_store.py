"""A request's events into the ledger, all or an error, one with a poisonous content alone.

One concern: that order of tries. What a gate had stored comes one event a request from some families, as what happens now
does: it has a group of its own, which gives way to the other for a moment before each batch, as in the bridge; posts of several
stored events take turns, each to its end, and give way likewise. It must never give up an event, nor say yes for one that is not stored.
"""

from __future__ import annotations

import asyncio
import logging
import time

from hub.kernel.grouping import Gap, GroupCommit
from hub.kernel.intake import Accepted, Arrival, intake_key
from hub.kernel.ledger import intake as ledger
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Reject, Text
from hub.worker.bridge_lanes import is_data_fault

log = logging.getLogger(__name__)

_CHUNK = 500
_CHUNK_LATE = 200
"""Of a post of stored events alone: live ones wait for its transaction at most."""
_HISTORY_BATCH = 64
_HISTORY_GAP_S = 0.02, 0.08
_PATIENCE_S, _PATIENCE_STRAINED_S, _LOOK_S = 0.05, 0.25, 0.002
"""How long a batch of history waits for nothing live to wait, and for the machine to carry what is live: it gives way, it does
not starve."""


class DeviceStore:
    """One per door. `group`: what shares commits between requests of one event that has just happened."""

    def __init__(self, core: Core, group: GroupCommit) -> None:
        self._core = core
        self._group = group
        self._history = GroupCommit(self._giving_way, batch=_HISTORY_BATCH, committers=1, gap=Gap(*_HISTORY_GAP_S))
        self._turn = asyncio.Lock()  # of posts of several stored events

    async def _giving_way(self, arrivals: list[Arrival]) -> list[Accepted]:
        began = time.monotonic()
        while (waited := time.monotonic() - began) < _PATIENCE_STRAINED_S and (
            self._group.strained or (self._group.waiting and waited < _PATIENCE_S)
        ):
            await asyncio.sleep(_LOOK_S)
        return await ledger.accept(self._core, arrivals)

    async def _in_turn(self, arrivals: list[Arrival]) -> list[Accepted]:
        """A whole post of stored events. Taking turns by batches all posts would go on at one pace, and with many of them
        each too slowly to end in the time a device waits: they would begin again for ever."""
        answers: list[Accepted] = []
        async with self._turn:
            for start in range(0, len(arrivals), _CHUNK_LATE):
                answers += await self._giving_way(arrivals[start : start + _CHUNK_LATE])
        return answers

    async def put(self, arrivals: list[Arrival]) -> list[Accepted]:
        """Everything, or an error: with whoever comes at the same time when it is one, else in transactions of its own.
        What only partly got in is known again by its keys when the device repeats it."""
        if not arrivals:
            return []
        try:
            if len(arrivals) == 1:
                group = self._history if arrivals[0].historical else self._group
                return [await group.put(arrivals[0])]
            if all(a.historical for a in arrivals):
                return await self._in_turn(arrivals)
            answers: list[Accepted] = []
            for start in range(0, len(arrivals), _CHUNK):
                answers += await ledger.accept(self._core, arrivals[start : start + _CHUNK])
            return answers
        except Exception as error:
            if not is_data_fault(error):
                raise
        return [await self._alone(arrival) for arrival in arrivals]

    async def _alone(self, arrival: Arrival) -> Accepted:
        """One arrival whose batch could not be stored for its content: as it is, or else as invalid without a body."""
        try:
            return (await ledger.accept(self._core, [arrival]))[0]
        except Exception as error:
            if not is_data_fault(error):
                raise
            log.error("a message of a gate cannot be stored as it is: %s", type(error).__name__)
        text = Text("Bản tin không thể ghi vào sổ như nó được gửi.", "The message cannot be stored as it was sent.")
        arrival.invalid = Reject(pointer="", code="unstorable", message=text)
        arrival.drafts, arrival.rejects, arrival.body, arrival.removed = None, [], b"", []
        arrival.attributes = {"family": arrival.attributes["family"]}
        arrival.key = intake_key(arrival.source, "bytes", "unstorable", arrival.digest)
        return (await ledger.accept(self._core, [arrival]))[0]
