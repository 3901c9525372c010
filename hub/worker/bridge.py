"""The MQTT bridge: gates' publications into the ledger, and the gates' acknowledgements back.

One concern: the order of things. Firewall, then decoding, then one transaction for a batch, then the device-level
acknowledgements, then the PUBACKs. It must never acknowledge in either way before the commit, drop a publication, or
let a stored image through; when the ledger fails nothing is acknowledged, and the same batch is tried again.

Two lanes: events as they happen, and history sent after an outage. Each commits on its own, and history gives way: in
small batches, begun when nothing live waits, for as long as there is anything live. So a flood of history hardly delays
a live event. PUBACKs nevertheless leave in arrival order: the transport sees to that."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct

from hub.kernel.failpoints import reach
from hub.kernel.firewall import Cleaned, clean
from hub.kernel.intake import Accepted, Arrival, Source, intake_key
from hub.kernel.ports import Decoded, DeviceFamily, Hasher, Publication, Reject, Text
from hub.worker import bridge_metrics as metrics
from hub.worker.bridge_lanes import Lane, is_data_fault
from hub.worker.bridge_registry import Gates, Route

log = logging.getLogger(__name__)

_OFF_LOOP_BYTES = 256 * 1024
"""A batch with more than this is cleaned in a thread: a picture takes milliseconds, and the loop has other work."""


class Delivered(Protocol):
    """One publication as the transport hands it over. `payload` is emptied once the firewall has seen it."""

    topic: str
    payload: bytes
    qos: int
    mid: int
    generation: int
    received_at: float
    """Time of arrival, seconds since 1970."""


class Transport(Protocol):
    """The bridge's side of an MQTT client with manual acknowledgement."""

    async def batch(self, limit: int, linger_s: float = 0.0) -> Sequence[Any]:
        """The next publications (`Delivered`) in arrival order: at least one, at most `limit`."""
        ...

    def ack(self, batch: Sequence[Any]) -> int:
        """Acknowledge; PUBACKs leave in arrival order, those of an ended connection are discarded and counted."""
        ...

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> int | None:
        """Publish without waiting; None when it was not taken."""
        ...


Accept = Callable[[list[Arrival]], Awaitable[list[Accepted]]]
"""The ledger's intake: one transaction; returns after commit, raises when nothing was stored."""
Touch = Callable[[dict[str, dict[str, Any]]], Awaitable[None]]
"""Takes what is new about gates since the last call: device → facts (see `bridge_registry.Gates`)."""
Load = Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]
"""Loads the registry: device → `{family, profile, school, entrance, direction, zone …}`."""


class BridgeOptions(Struct, frozen=True, kw_only=True):
    """How the bridge batches and waits."""

    batch_max: int = 500
    read_max: int = 200
    """Publications prepared in one go: the loop has nothing else meanwhile."""
    history_batch: int = 100
    """Largest batch of history while live events come; `batch_max` when none do."""
    history_patience_s: float = 0.05
    """How long a batch of history waits for the live lane to be empty: history gives way, it does not starve."""
    live_within_s: float = 1.0
    """Live events are said to come for so long after the last one."""
    linger_s: float = 0.002
    """How long the reader waits for more of what has begun to arrive."""
    commit_gap_s: float = 0.01
    """Batches that are not full are begun at least this far apart: what it costs in latency it saves in processor."""
    live_capacity: int = 5_000
    history_capacity: int = 20_000
    """A lane that is full holds up the reader: memory stays bounded, and what waits, waits at the broker."""
    backoff_s: float = 0.2
    backoff_max_s: float = 10.0
    refresh_s: float = 30.0
    """How often the registry is loaded; an unknown device has it loaded at once, though not more often than every
    `refresh_gap_s`."""
    refresh_gap_s: float = 5.0
    touch_s: float = 2.0


class Item:
    """One publication on its way. `arrival` None: nothing to store."""

    __slots__ = ("acks", "arrival", "decoded", "delivered", "device", "family", "received_at")

    def __init__(
        self, delivered: Delivered, family: str, device: str | None, decoded: Decoded, received_at: datetime
    ) -> None:
        self.delivered = delivered
        self.family = family
        self.device = device
        self.decoded = decoded
        self.acks: list[Publication] = decoded.acks
        self.arrival: Arrival | None = None
        self.received_at = received_at


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
    ) -> None:
        """`hinted`: told family, facts and registry entry of every presence and command result of a registered gate."""
        self._transport = transport
        self._accept = accept
        self._hasher = hasher
        self._options = options or BridgeOptions()
        self._hinted = hinted
        self._gates = Gates(families, load, touch, self._options.refresh_gap_s)
        self._sources: dict[str, Source] = {}  # of registered devices, hence bounded
        self._live: Lane[Item] = Lane("live", self._options.live_capacity)
        self._history: Lane[Item] = Lane("history", self._options.history_capacity)

    @property
    def depth(self) -> dict[str, int]:
        """Publications waiting for their commit, per lane."""
        return {lane.name: lane.depth for lane in (self._live, self._history)}

    async def run(self) -> None:
        """Load the registry (waiting for it: without it every gate would be a stranger), then serve."""
        await self._gates.first_load(self._options.backoff_s, self._options.backoff_max_s)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._commits())
            # A second one only for full batches: it works while the first waits for the database, and costs nothing else.
            tasks.create_task(self._commits(self._options.batch_max))
            tasks.create_task(self._commits_history())
            tasks.create_task(self._gates.keep_fresh(self._options.refresh_s))
            tasks.create_task(self._gates.keep_telling(self._options.touch_s))
            tasks.create_task(self._read())

    # -- reading

    async def _read(self) -> None:
        while True:
            batch: Sequence[Delivered] = await self._transport.batch(self._options.read_max, self._options.linger_s)
            await self._gates.refresh_for([d.topic for d in batch])
            if sum(len(d.payload) for d in batch) > _OFF_LOOP_BYTES:
                items = await asyncio.to_thread(self._prepare, batch)
            else:
                items = self._prepare(batch)
            for item in items:
                self._note(item)
            live: list[Item] = []
            history: list[Item] = []
            rest: list[Item] = []
            for item in items:
                if item.arrival is None:
                    rest.append(item)
                else:
                    (history if item.decoded.historical else live).append(item)
            if rest:
                self._finish(rest)
            await self._live.put(live)
            await self._history.put(history)
            await asyncio.sleep(0)  # the transport may have had the next batch ready: the commits come first

    def _prepare(self, batch: Sequence[Delivered]) -> list[Item]:
        at, received_at = 0.0, datetime.now(UTC)
        items: list[Item] = []
        for delivered in batch:
            if delivered.received_at != at:  # what came together has the same time
                at, received_at = delivered.received_at, datetime.fromtimestamp(delivered.received_at, UTC)
            items.append(self._item(delivered, received_at))
        return items

    def _item(self, delivered: Delivered, received_at: datetime) -> Item:
        """Clean and decode. Pure but for the counters: it may run off the loop."""
        original = delivered.payload
        route = self._gates.route(delivered.topic)
        cleaned = clean(original, self._hasher)
        entry = self._gates.entry(route.device, route.name)
        decoded = _decode(route, delivered.topic, cleaned, received_at, entry)
        device = route.device if entry is not None else None
        item = Item(delivered, route.name, device, decoded, received_at)
        if decoded.advisory is None:
            for draft in decoded.drafts:
                draft.body["images_removed"] = len(cleaned.removed)
            source = self._source(device)
            digest = bytes.fromhex(self._hasher(original))
            item.arrival = Arrival(
                source=source,
                type="checkin",
                body=cleaned.body,
                content_type="application/json" if cleaned.is_json else "application/octet-stream",
                digest=digest,
                key=_key(source, delivered.topic, decoded, digest),
                removed=cleaned.removed,
                drafts=decoded.drafts or None,
                invalid=decoded.invalid,
                school=str(entry["school"]) if entry and entry.get("school") else None,
                historical=decoded.historical,
                attributes=route.attributes,
            )
        if cleaned.removed:
            metrics.REMOVED.inc(len(cleaned.removed))
            metrics.REMOVED_BYTES.inc(sum(r.bytes for r in cleaned.removed))
        delivered.payload = b""
        return item

    def _source(self, device: str | None) -> Source:
        """The device as a source; devices that are not registered share one."""
        name = device or "unregistered"
        found = self._sources.get(name)
        if found is None:
            found = self._sources[name] = Source("device", name)
        return found

    def _note(self, item: Item) -> None:
        """What the publication tells about its gate; on the loop, where the registry lives."""
        if item.decoded.advisory is not None:
            item.acks = self._gates.advise(item.family, item.decoded, item.received_at)
            if self._hinted is not None and (
                entry := self._gates.entry(item.decoded.advisory.get("device"), item.family)
            ):
                self._hinted(item.family, item.decoded.advisory, entry)
        else:
            self._gates.learn(item.device, item.decoded, item.received_at)

    # -- committing

    async def _commits(self, at_least: int = 1) -> None:
        o = self._options
        while True:
            await self._commit(await self._live.take(o.batch_max, o.commit_gap_s, at_least), self._live)

    async def _commits_history(self) -> None:
        o = self._options
        while True:
            await self._history.filled()
            limit = o.batch_max
            if self._live.depth or self._live.idle_s() < o.live_within_s:
                await self._live.emptied(o.history_patience_s)
                limit = o.history_batch
            await self._commit(await self._history.take(limit, o.commit_gap_s), self._history)

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
                if at_fault and _reduce(items[0]):
                    log.error("a message from %s cannot be stored as it is: %s", items[0].device, type(error).__name__)
                    continue
                log.warning("intake failed (%s), next try in %.1f s", type(error).__name__, wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, self._options.backoff_max_s)
        metrics.COMMIT_SECONDS.labels(lane.name).observe(time.perf_counter() - started)
        self._finish(items, answers)

    def _finish(self, items: list[Item], answers: Sequence[Accepted] = ()) -> None:
        """After the commit: first the device's acknowledgement, then the broker's."""
        if answers:
            reach("ack.before")
        outcomes: dict[tuple[str, str], int] = {}
        taken = not_taken = 0
        for index, item in enumerate(items):
            outcome = _outcome(item, answers[index] if answers else None)
            named = item.family, outcome
            outcomes[named] = outcomes.get(named, 0) + 1
            if item.arrival is not None and outcome != "duplicate":
                self._gates.count(item.device, item.decoded, outcome == "invalid", len(item.arrival.removed))
            for ack in item.acks:
                if self._transport.publish(ack.topic, ack.payload, ack.qos) is None:
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


def _decode(
    route: Route, topic: str, cleaned: Cleaned, received_at: datetime, entry: Mapping[str, Any] | None
) -> Decoded:
    if route.family is None:
        text = Text("Không họ thiết bị nào nhận chủ đề này.", "No device family takes this topic.")
        return Decoded(invalid=Reject(pointer="", code="unknown_topic", message=text))
    if not cleaned.is_json:
        text = Text("Nội dung không phải JSON hợp lệ (UTF-8).", "The content is not valid JSON (UTF-8).")
        return Decoded(invalid=Reject(pointer="", code="invalid_json", message=text, key=route.device))
    try:
        return route.family.decode(topic, cleaned.tree, received_at, entry)
    except Exception:
        # A family's own fault must cost one message its meaning, not all of them the bridge.
        log.exception("a decoder failed on topic %s", topic[:200])
        text = Text("Bộ giải mã gặp lỗi với bản tin này.", "The decoder failed on this message.")
        return Decoded(invalid=Reject(pointer="", code="decoder_failed", message=text, key=route.device))


def _key(source: Source, topic: str, decoded: Decoded, digest: bytes) -> bytes:
    """The event's identity at its device; for what is not understood, its bytes on its topic. The two never meet: an
    event refused today (the gate is not registered) may be taken tomorrow."""
    if decoded.invalid is None and decoded.dedupe is not None:
        return intake_key(source, "event", decoded.dedupe)
    code = decoded.invalid.code if decoded.invalid else ""
    return intake_key(source, "bytes", topic, code, digest)


def _reduce(item: Item) -> bool:
    """Make a message that the ledger cannot take one that it can: first as invalid, then without its body. False when
    both were tried: then not this message but the ledger is at fault."""
    arrival = item.arrival
    if arrival is None or (arrival.invalid is not None and arrival.invalid.code == "unstorable" and not arrival.body):
        return False
    if arrival.invalid is not None and arrival.invalid.code == "unstorable":
        arrival.body = b""
        arrival.removed = []
        arrival.attributes = {"family": item.family}
    metrics.POISON.inc()
    text = Text("Bản tin không thể ghi vào sổ như nó được gửi.", "The message cannot be stored as it was sent.")
    arrival.invalid = Reject(pointer="", code="unstorable", message=text)
    arrival.drafts = None
    arrival.rejects = []
    arrival.key = intake_key(arrival.source, "bytes", "unstorable", arrival.digest)
    return True


def _outcome(item: Item, answer: Accepted | None) -> str:
    if item.arrival is None:
        return "advisory"
    if answer is not None and answer.duplicate:
        return "duplicate"
    return "invalid" if item.arrival.invalid is not None else "stored"
