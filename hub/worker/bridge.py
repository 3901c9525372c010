"""The MQTT bridge: gates' publications into the ledger, and the gates' acknowledgements back.

One concern: the order of things. Firewall, then decoding, then one transaction for a batch, then the device-level
acknowledgements, then the PUBACKs. It must never acknowledge to a gate before the commit, drop what a gate does not send
again, or let a stored image through; when the ledger fails nothing is acknowledged, and the same batch is tried again.

Two lanes: events as they happen, and history sent after an outage. Each commits on its own, and history gives way: in
small batches, begun when nothing live waits, for as long as there is anything live. So a flood of history hardly delays
a live event; more of it than its lane holds is left to gates that send again. PUBACKs nevertheless leave in arrival order:
the transport sees to that."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from hub.kernel.failpoints import reach
from hub.kernel.gate_pictures import Picture
from hub.kernel.grouping import Gap
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ports import DeviceFamily, Hasher
from hub.worker import bridge_metrics as metrics
from hub.worker.bridge_items import Delivered, Item, Transport, outcome_of, reduce
from hub.worker.bridge_lanes import Lane, is_data_fault
from hub.worker.bridge_prepare import Preparer
from hub.worker.bridge_registry import Gates
from hub.worker.bridge_shared import unowned
from hub.worker.gate_album import Album
from hub.worker.gate_guard import Guard, GuardOptions
from hub.worker.gate_retained import Pictured

log = logging.getLogger(__name__)

_OFF_LOOP_BYTES = 256 * 1024  # a batch with more is cleaned in a thread: a picture takes milliseconds

Accept = Callable[[list[Arrival]], Awaitable[list[Accepted]]]
"""The ledger's intake: one transaction; returns after commit, raises when nothing was stored."""
Touch = Callable[[dict[str, dict[str, Any]]], Awaitable[None]]
"""Takes what is new about gates since the last call: device → facts (see `bridge_registry.Gates`)."""
Load = Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]
"""Loads the registry: device → `{family, profile, school, entrance, direction, zone …}`."""


class BridgeOptions(Struct, frozen=True, kw_only=True):
    """How the bridge batches and waits."""

    batch_max: int = 500
    live_batch: int = 64
    """Live events are committed so many at a time, or half of those that wait if that is more: up to here the ledger writes
    a batch in one statement, and a few small ones side by side are through before a large one is."""
    live_committers: int = 3
    read_max: int = 64
    """Publications prepared in one go: the loop has nothing else meanwhile."""
    history_batch: int = 64
    """Largest batch of history while live events come; `batch_max` when none do."""
    history_patience_s: float = 0.05
    """How long a batch of history waits for the live lane to be empty: history gives way, it does not starve."""
    history_strained_s: float = 0.25
    """How long it waits, beyond that, while live commits take too long."""
    live_within_s: float = 1.0
    """Live events are said to come for so long after the last one."""
    linger_s: float = 0.002
    """How long the reader waits for more of what has begun to arrive."""
    commit_gap_s: float = 0.01
    commit_gap_max_s: float = 0.04
    """Batches that are not full are begun at least this far apart (`hub.kernel.grouping.Gap`): what it costs in latency it
    saves in processor."""
    live_capacity: int = 5_000
    """A lane that is full holds up the reader: memory stays bounded, and what waits, waits at the broker."""
    history_capacity: int = 2_000
    """PUBACKs go in order, so history that waits keeps its share of what a broker gives out unconfirmed: half of it at most."""
    backoff_s: float = 0.2
    backoff_max_s: float = 10.0
    refresh_s: float = 30.0
    """How often the registry is loaded; an unknown device has it loaded at once, though not more often than every
    `refresh_gap_s`."""
    refresh_gap_s: float = 5.0
    touch_s: float = 2.0
    """How often what is new about gates is told, or more seldom where that takes long (`bridge_registry.Gates`)."""
    clear_s: float = 60.0
    """How often topics that brought pictures are cleared at the broker, in case one was retained."""
    guard: GuardOptions = GuardOptions()


class Bridge:
    """One bridge process's core, for one event loop. `run` ends only by cancellation."""

    def __init__(
        self,
        transport: Transport,
        accept: Accept,
        families: Mapping[str, DeviceFamily],
        load: Load,
        hasher: Hasher,
        touch: Touch,
        options: BridgeOptions | None = None,
        hinted: Callable[[str, dict[str, Any], Mapping[str, Any]], None] | None = None,
        numbered: Callable[[str, str, int], None] | None = None,
        album: Album | None = None,
        clear: Callable[[str], object] | None = None,
        moment: Callable[[float], datetime] | None = None,
    ) -> None:
        """`album`: keeps pictures of gates where a deployment was told to; None: none is kept.

        `clear`: has the broker forget a topic's retained copy. `moment`: the time of day at a second of this host's clock.

        `numbered`: told device, school and number of events that their gates count.

        `hinted`: told family, facts and registry entry of every presence and command result of a registered gate."""
        self._transport = transport
        self._accept = accept
        self._options = options or BridgeOptions()
        self._hinted = hinted
        self._numbered = numbered
        self._album = album
        self._clear = clear
        self._pictured = Pictured()
        self._gates = Gates(families, load, touch, self._options.refresh_gap_s)
        self._prepared = Preparer(self._gates, hasher, album, moment or (lambda at: datetime.fromtimestamp(at, UTC)))
        self.guard = Guard(self._options.guard)
        self._gap = Gap(self._options.commit_gap_s, self._options.commit_gap_max_s)
        self._live: Lane[Item] = Lane("live", self._options.live_capacity)
        self._history: Lane[Item] = Lane("history", self._options.history_capacity)

    @property
    def depth(self) -> dict[str, int]:
        """Publications waiting for their commit, per lane."""
        return {lane.name: lane.depth for lane in (self._live, self._history)}

    def schools(self, family: str) -> dict[str, str]:
        """Where the registered gates of a family stand."""
        return self._gates.schools(family)

    async def reload(self) -> None:
        """Read the registry now: a gate was registered, moved or revoked. A gate revoked is a stranger from here on."""
        if await self._gates.reload():
            self.guard.forget(self._gates.known)

    async def run(self) -> None:
        """Load the registry (waiting for it: without it every gate would be a stranger), then serve."""
        await self._gates.first_load(self._options.backoff_s, self._options.backoff_max_s)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._commits())
            # More of them only for full batches: they work while the first waits for the database, and cost nothing else.
            for _ in range(1, self._options.live_committers):
                tasks.create_task(self._commits(min(self._options.live_batch, self._options.batch_max)))
            tasks.create_task(self._commits_history())
            tasks.create_task(self._gates.keep_fresh(self._options.refresh_s))
            tasks.create_task(self._gates.keep_telling(self._options.touch_s))
            tasks.create_task(self._read())
            if self._clear is not None:
                tasks.create_task(self._pictured.keep_clearing(self._clear, self._options.clear_s))

    # -- reading

    async def _read(self) -> None:
        while True:
            batch: Sequence[Delivered] = await self._transport.batch(self._options.read_max, self._options.linger_s)
            await self._gates.refresh_for([d.topic for d in batch])
            if sum(len(d.payload) for d in batch) > _OFF_LOOP_BYTES:
                items = await asyncio.to_thread(self._prepared.batch, batch)
            else:
                items = self._prepared.batch(batch)
            live: list[Item] = []
            history: list[Item] = []
            rest: list[Item] = []
            for item in items:
                late = item.decoded.historical
                if item.device is None:
                    late = unowned(self.guard, self._gates, item) or late
                elif item.arrival is None:
                    self.guard.heard(item.device)
                elif self.guard.sent(item.device, not late):
                    late = True  # one gate's flood waits behind everybody else's events
                (rest if item.arrival is None else history if late else live).append(item)
            if len(history) > self._history.room and self._live.idle_s() < self._options.live_within_s:
                history, gone = self._leave(history)
                items = [item for item in items if item not in gone]
            for item in items:
                self._note(item)
            if rest:
                self._finish(rest)
            await self._live.put(live)
            await self._history.put(history)
            await asyncio.sleep(0)  # the transport may have had the next batch ready: the commits come first

    def _leave(self, items: list[Item]) -> tuple[list[Item], set[Item]]:
        """Events for the full lane of history, and those left to gates that miss an acknowledgement and send again: waiting
        for room would hold up everybody's live events. Of gates that are sent none, all are kept."""
        room = self._history.room
        gone = {item for n, item in enumerate(items) if n >= room and item.decoded.acks}
        for item in gone:
            if item.picture is not None and self._album is not None:
                self._album.let_go(item.picture)
        metrics.LEFT.inc(len(gone))
        self._transport.ack([i.delivered for i in gone if i.delivered.qos > 0])
        return [item for item in items if item not in gone], gone

    def _note(self, item: Item) -> None:
        """What the publication tells about its gate; on the loop, where the registry lives."""
        if item.decoded.advisory is not None:
            item.acks = self._gates.advise(item.family, item.decoded)
            about, state = item.decoded.advisory.get("device"), item.decoded.advisory.get("state")
            entry = self._gates.entry(about, item.family)
            if (
                entry is not None
                and about is not None
                and state in ("online", "offline")
                and item.device in (None, about)
            ):
                # On a topic all gates share it is a claim: worth an alarm, no reason to hold anybody back.
                self.guard.presence(about, state == "online", claimed=item.device is None)
            if self._hinted is not None and entry:
                self._hinted(item.family, item.decoded.advisory, entry)
        else:
            self._gates.learn(item.device, item.decoded, item.received_at)
            if self._numbered is not None and item.device is not None and item.decoded.number is not None:
                self._numbered(item.device, item.decoded.drafts[0].school or "", item.decoded.number)

    # -- committing

    async def _commits(self, at_least: int = 1) -> None:
        o = self._options
        while True:
            taken = await self._live.take(o.batch_max, self._gap.seconds, at_least, min(o.live_batch, o.batch_max))
            await self._commit(taken, self._live)

    async def _commits_history(self) -> None:
        o = self._options
        while True:
            await self._history.filled()
            limit = o.batch_max
            if self._live.depth or self._live.idle_s() < o.live_within_s:
                await self._live.emptied(o.history_patience_s)
                await self._calm(o.history_strained_s)
                limit = o.history_batch
            await self._commit(await self._history.take(limit, self._gap.seconds), self._history)

    async def _calm(self, patience_s: float) -> None:
        """Wait until the machine carries what is live again, at most so long. Gates are acknowledged after the commit, so what
        they have stored comes as fast as there is room for it."""
        until = time.monotonic() + patience_s
        while self._gap.strained and time.monotonic() < until:
            await asyncio.sleep(self._options.commit_gap_s)

    async def _commit(self, items: list[Item], lane: Lane[Item]) -> None:
        """One transaction for the items; again until it succeeds; in halves when the content is at fault."""
        wait = self._options.backoff_s
        while True:
            started = time.perf_counter()
            try:
                answers = await self._accept([i.arrival for i in items if i.arrival is not None])
                break
            except Exception as error:
                at_fault = is_data_fault(error)
                metrics.FAILURES.labels(lane.name, "data" if at_fault else "ledger").inc()
                if at_fault and len(items) > 1:
                    middle = len(items) // 2
                    await self._commit(items[:middle], lane)
                    await self._commit(items[middle:], lane)
                    return
                if at_fault and reduce(items[0]):
                    log.error("a message from %s cannot be stored as it is: %s", items[0].device, type(error).__name__)
                    continue
                log.warning("intake failed (%s), next try in %.1f s", type(error).__name__, wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, self._options.backoff_max_s)
        took = time.perf_counter() - started
        if lane is self._live:
            self._gap.took(took)
        metrics.COMMIT_SECONDS.labels(lane.name).observe(took)
        self._finish(items, answers)

    def _finish(self, items: list[Item], answers: Sequence[Accepted] = ()) -> None:
        """After the commit: first the device's acknowledgement, then the broker's."""
        if answers:
            reach("ack.before")
        outcomes: dict[tuple[str, str], int] = {}
        taken = not_taken = 0
        for index, item in enumerate(items):
            outcome = outcome_of(item, answers[index] if answers else None)
            named = item.family, outcome
            outcomes[named] = outcomes.get(named, 0) + 1
            if item.arrival is not None and outcome != "duplicate":
                self._gates.count(item.device, item.decoded, outcome == "invalid", len(item.arrival.removed))
            if item.device in self._gates.traced:
                self._trace(item, outcome)
            if item.delivered.retain and self._clear is not None and (item.device is None or item.decoded.invalid):
                # It is stored, or says nothing; kept at the broker it would come back at every start.
                self._clear(item.delivered.topic)
            elif self._clear is not None and item.cut:
                self._pictured.saw(item.delivered.topic)
            if item.picture is not None:
                self._keep(item, item.picture, answers[index].message if answers and outcome == "stored" else None)
            for ack in item.acks:
                if self._transport.publish(ack.topic, ack.payload) is None:
                    not_taken += 1
                else:
                    taken += 1
        for named, count in outcomes.items():
            metrics.MESSAGES.labels(*named).inc(count)
        metrics.ACKS.labels("sent").inc(taken)
        metrics.ACKS.labels("not_taken").inc(not_taken)
        if answers:
            reach("ack.after")
        stale = self._transport.ack([i.delivered for i in items if i.delivered.qos > 0])
        if stale:
            metrics.STALE.inc(stale)

    def _keep(self, item: Item, picture: Picture, message: int | None) -> None:
        assert self._album is not None and item.device is not None and item.arrival is not None
        item.picture = None
        if message is None:
            self._album.let_go(picture)
        else:
            self._album.offer(item.device, item.arrival.school, message, picture)

    def _trace(self, item: Item, outcome: str) -> None:
        invalid = item.decoded.invalid
        assert item.device is not None
        self._gates.trace(
            item.device, item.received_at, topic=item.delivered.topic, outcome=outcome, code=invalid.code if invalid else None,
            kind=(item.decoded.advisory or {}).get("kind"), historical=item.decoded.historical,
            removed=len(item.arrival.removed) if item.arrival else 0,
            quarantine=next((d.body["quarantine"] for d in item.decoded.drafts), None), acks=len(item.acks),
        )  # fmt: skip
