"""Listeners for gates that speak HTTP: `/iclock/…`, `/gates/{secret}/iclock|hikvision|hanet|face_http`, called by `hub.api.front`.

One concern: the order of things. Who is it, take pictures out, decode, one commit, and only then the answer the device
waits for. It must never say yes before the commit, let a picture through to storage, or tell a stranger why it was
refused; when the database is away it answers 503 and the device keeps what it has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import Counter
from redis.exceptions import RedisError
from starlette.requests import ClientDisconnect

from hub.api.auth import header
from hub.api.context import Hub
from hub.api.device_commands import Commands
from hub.api.device_registry import WebGates
from hub.api.device_store import DeviceStore
from hub.api.gate_addresses import Caller
from hub.api.gate_bodies import READING, READING_ACCOUNT, Bodies, Crowded
from hub.api.gate_callers import ELSEWHERE, Callers
from hub.api.gate_sluice import Sluice
from hub.kernel.failpoints import reach
from hub.kernel.firewall import MARK, Cleaned
from hub.kernel.firewall_devices import clean_device
from hub.kernel.gate_pictures import Onlooker, Picture
from hub.kernel.grouping import GroupCommit
from hub.kernel.intake import Accepted, Arrival, Overloaded, Source
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import Decoded, Hasher, Removed
from hub.worker.bridge_items import school_of
from hub.worker.gate_album import Album
from hub.worker.gate_arrivals import arrival_of
from hub.worker.gate_guard import FirstFew
from hub.worker.gate_places import put_where
from iot.face_http.decode import FAMILY as FACE_HTTP
from iot.hanet.decode import FAMILY as HANET
from iot.hikvision.decode import FAMILY as HIKVISION
from iot.web import REFUSED, Answer, Ask, Content, Item, Served, Unpacked, WebFamily, unsigned
from iot.zkteco.decode import FAMILY as ZKTECO

log = logging.getLogger(__name__)
FAMILIES: Mapping[str, WebFamily] = {f.name: f for f in (ZKTECO, HIKVISION, HANET, FACE_HTTP)}

ACCOUNTS = frozenset({HANET.name})
"""Families whose entries speak for all devices of a vendor's account."""

PATIENCE_S = 8.0
"""Devices wait about ten seconds for an answer: later a yes would not be heard, so no is said in time."""
_LINES_PER_S = 500
"""What a long post of stored events is given on top, slowest case: half done, it would be begun again for ever."""
_LIES_KEPT, _LIES_S = 20, 3600.0
"""How much of what a gate is refused for is stored in an hour, per reason."""
_OFF_LOOP_BYTES = 131_072
_LAST_WORD_S = 0.8
_PUT_OFF: tuple[type[BaseException], ...] = (Overloaded, RedisError, *TRANSIENT)

REQUESTS = Counter("gate_requests_total", "Requests of gates over HTTP, by family and outcome", ["family", "outcome"])
EVENTS = Counter(
    "gate_events_total", "What those requests said, by family and what became of it", ["family", "outcome"]
)
IMAGES = Counter("gate_biometrics_removed_total", "Images and templates taken out or not read", ["family"])
IMAGE_BYTES = Counter("gate_biometrics_removed_bytes_total", "Their size as sent", ["family"])

_AWAY = Answer(503, b"")
_LARGE = Answer(413, b"")


class Prepared(msgspec.Struct):
    """A request made ready for the ledger. `pairs`: each item with its arrival, None for what is not stored."""

    served: Served
    device: str | None
    pairs: list[tuple[Item, Arrival | None]]
    picture: Picture | None = None
    """Of a gate whose pictures are kept: what goes with its first event."""


class Door:
    """The listeners' working parts, one per gateway process."""

    def __init__(
        self, hub: Hub, group: GroupCommit, album: Album | None = None, sluice: Sluice | None = None,
        callers: Callers | None = None,
    ) -> None:  # fmt: skip
        """`album`: keeps pictures of gates where a deployment was told to; None: none is kept. `callers`: None: from anywhere."""
        self.hub = hub
        self.sluice = sluice or Sluice(ACCOUNTS)
        self.store = DeviceStore(hub.core, group)
        self.album = album
        self.gates = WebGates(hub.core, hub.keys, FAMILIES)
        self.bodies = Bodies()
        self.callers = callers or Callers()
        self.commands = Commands(hub.core)
        self._lies = FirstFew(_LIES_KEPT, _LIES_S)

    # -- one request

    async def serve(self, request: Request, family: WebFamily, path: str, secret: str | None) -> Answer:
        """The answer for one request; 503 whenever it is not certain that everything is stored."""
        query = {}
        if request.scope["query_string"]:
            query = {k.lower()[:40]: v[:400] for k, v in list(request.query_params.items())[:40]}
        content_type = (header(request, b"content-type") or "")[:400]
        ask = Ask(method=request.method, path=path, query=query, content_type=content_type)
        try:
            await self.gates.fresh()
            opener = self._opener(family, ask, secret)
            address = request.client.host if request.client else ""
            if not self.callers.admits(family.name, address):
                self.callers.refused(family.name, address, opener["id"] if opener else None)
                return ELSEWHERE
            if opener is None:
                return REFUSED
            self.sluice.came_from(family.name, opener["id"], address)
            if family.greets(ask):
                self.sluice.began(opener["id"])
            async with self.sluice.turn(family.name, opener["id"], PATIENCE_S / 2) as place:
                return await self._answer(request, family, ask, opener, place)
        except _PUT_OFF as error:
            log.warning("a %s gate was put off: %s", family.name, type(error).__name__)
            return Answer(503, f"{error}\n".encode()) if isinstance(error, Crowded) else _AWAY
        except ClientDisconnect:
            return _AWAY

    async def _answer(
        self,
        request: Request,
        family: WebFamily,
        ask: Ask,
        opener: dict[str, Any],
        place: AbstractAsyncContextManager[None],
    ) -> Answer:
        reading = READING_ACCOUNT if family.name in ACCOUNTS else READING
        if (kind := family.ignores(ask)) is not None:
            with self.bodies.reading(opener["id"], reading):
                return await self._pass_over(request, family, kind)
        async with self.bodies.taken(request, opener["id"], family.max_bytes, reading) as body:
            if body is None:
                return _LARGE
            # Only now: a place taken while a body trickles in would be nobody else's for a minute.
            async with place, asyncio.timeout(PATIENCE_S + body.count(b"\n") / _LINES_PER_S * (family is ZKTECO)):
                return await self._take(family, ask, body, opener)

    def _opener(self, family: WebFamily, ask: Ask, secret: str | None) -> dict[str, Any] | None:
        """The registry entry behind a request: by the address's secret, or by the name it gives where that is allowed."""
        named = family.named(ask)
        if secret is not None:
            entry = self.gates.entry(self.gates.opened_by(secret), family.name)
            if entry is not None and named != entry["id"] and family.ignores(ask):
                return None
            return entry
        entry = self.gates.entry(named, family.name)
        return entry if entry is not None and family.plain(entry) else None

    async def _pass_over(self, request: Request, family: WebFamily, kind: str) -> Answer:
        """Let a body go by without keeping any of it."""
        size = 0
        async with asyncio.timeout(self.bodies.upload_s):
            async for part in request.stream():
                size += len(part)
                if size > family.max_bytes * 16:
                    return _LARGE
        if kind == "biometric":
            IMAGES.labels(family.name).inc()
            IMAGE_BYTES.labels(family.name).inc(size)
        EVENTS.labels(family.name, "ignored").inc()
        return Answer()

    async def _take(self, family: WebFamily, ask: Ask, body: bytes, opener: dict[str, Any]) -> Answer:
        received_at = self.hub.core.moment()
        if family.polls(ask) and family.named(ask) == opener["id"]:
            opener = {**opener, "command": await self.commands.take(opener)}
        if len(body) > _OFF_LOOP_BYTES:
            prepared = await asyncio.to_thread(self.prepare, family, ask, body, received_at, opener)
        else:
            prepared = self.prepare(family, ask, body, received_at, opener)
        if prepared.served.answer == REFUSED and self._heard_enough(opener["id"], prepared):
            return REFUSED
        arrivals = [arrival for _, arrival in prepared.pairs if arrival is not None]
        stored = await self.store.put(arrivals)
        if prepared.picture is not None:
            self._keep(opener["id"], prepared.picture, arrivals, stored)
        answers = iter(stored)
        reach("ack.before")
        for item, arrival in prepared.pairs:
            self._note(family, prepared.device, item, received_at, arrival, next(answers) if arrival else None)
            facts = item.decoded.advisory
            if facts is not None and facts.get("kind") == "command" and prepared.device is not None:
                await self.commands.answered(prepared.device, facts)
        return prepared.served.answer

    def _keep(self, device: str, picture: Picture, arrivals: list[Arrival], answers: list[Accepted]) -> None:
        """The picture of a request goes with its first event, when that is stored as it was meant."""
        first = next((n for n, a in enumerate(arrivals) if a.drafts and a.invalid is None), None)
        if first is None or answers[first].duplicate or self.album is None or not self.album.hold(picture):
            return
        self.album.offer(device, arrivals[first].school, answers[first].message, picture)

    def _heard_enough(self, opener: str, prepared: Prepared) -> bool:
        """Whether enough of what this gate is refused for has been stored: it repeats itself every few seconds."""
        code = next((i.decoded.invalid.code for i in prepared.served.items if i.decoded.invalid), "")
        return not self._lies.counts((opener, code))

    def prepare(
        self, family: WebFamily, ask: Ask, body: bytes, received_at: datetime, opener: dict[str, Any]
    ) -> Prepared:
        """Unpack, clean, decode. Pure but for the registry it reads and the counters: it may run off the loop."""
        hasher: Hasher = self.hub.core.hasher
        onlooker = Onlooker(hasher) if self.album is not None and opener.get("pictures") else None
        unpacked = family.unpack(ask, body)
        cleaned, removed = _cleaned(unpacked, onlooker or hasher)
        content = Content(body=cleaned.body, is_json=cleaned.is_json, tree=cleaned.tree)
        device: dict[str, Any] | None = opener
        if (sender := family.sender(content, opener)) is not None:
            device = self.gates.entry(sender, family.name)
            if not self.gates.same_account(sender, opener["id"]):
                device = None
        if content.is_json and not family.signed(content, self.gates.signing(opener["id"])):
            served = unsigned(opener["id"])
            device = opener
        else:
            served = family.decode(ask, content, received_at, device, opener["id"])
        if removed:
            IMAGES.labels(family.name).inc(len(removed))
            IMAGE_BYTES.labels(family.name).inc(sum(r.bytes for r in removed))
        where = device or opener
        faced: dict[str, list[Item]] = {}

        def facing(way: str, number: int) -> Decoded:
            if way not in faced:
                faced[way] = family.decode(ask, content, received_at, {**where, "direction": way}, opener["id"]).items
            return faced[way][number].decoded

        for number, item in enumerate(served.items):
            put_where(where, item.decoded, received_at, partial(facing, number=number))
        source = Source("device", device["id"] if device else opener["id"])
        pairs: list[tuple[Item, Arrival | None]] = []
        whole = bytes.fromhex(hasher(body))
        for item in served.items:
            arrival = None
            if item.decoded.advisory is None:
                kept = cleaned.body if item.body is None else item.body
                digest = whole if item.body is None or removed else bytes.fromhex(hasher(item.body))
                arrival = arrival_of(
                    family.name, ask.path, item, kept, is_json=content.is_json and item.body is None, digest=digest,
                    source=source, opener=opener["id"],
                )  # fmt: skip
                arrival.school = school_of(device or opener, item.decoded)
                arrival.removed, removed = removed, []
                for draft in item.decoded.drafts:
                    draft.body["images_removed"] = len(arrival.removed)
            pairs.append((item, arrival))
        # Of the gate itself only: what another of the same account sends by it is another gate's business.
        own = onlooker is not None and device is not None and device["id"] == opener["id"]
        return Prepared(
            served, device["id"] if device else None, pairs, onlooker.picture if onlooker is not None and own else None
        )

    def _note(
        self,
        family: WebFamily,
        device: str | None,
        item: Item,
        received_at: datetime,
        arrival: Arrival | None,
        answer: Accepted | None,
    ) -> None:
        if device in self.gates.traced:
            self._trace(device, item, received_at, arrival, answer)
        if arrival is None or answer is None:
            EVENTS.labels(family.name, "advisory").inc()
            if device is not None:
                self.gates.hinted(family.name, item, device)
            return
        invalid = arrival.invalid is not None
        EVENTS.labels(family.name, "duplicate" if answer.duplicate else "invalid" if invalid else "stored").inc()
        if device is None:
            return
        if answer.duplicate:
            self.gates.came_again(device, item)
            return
        self.gates.stored(device, item, received_at, invalid, len(arrival.removed))

    def _trace(
        self, device: str, item: Item, received_at: datetime, arrival: Arrival | None, answer: Accepted | None
    ) -> None:
        invalid = item.decoded.invalid
        outcome = (
            "advisory" if answer is None else "duplicate" if answer.duplicate else "invalid" if invalid else "stored"
        )
        self.gates.trace(
            device, received_at, outcome=outcome, code=invalid.code if invalid else None,
            kind=(item.decoded.advisory or {}).get("kind"), historical=item.decoded.historical,
            removed=len(arrival.removed) if arrival else 0,
            quarantine=next((d.body["quarantine"] for d in item.decoded.drafts), None),
        )  # fmt: skip


def _cleaned(unpacked: Unpacked, hasher: Hasher) -> tuple[Cleaned, list[Removed]]:
    """The text of a request through the firewall, with the list of everything that was taken out of the request."""
    removed = [Removed(c.pointer, hasher(c.content), len(c.content), c.reason) for c in unpacked.cuts]
    cleaned = clean_device(unpacked.body, hasher)
    removed += cleaned.removed
    if unpacked.broken and cleaned.removed and not cleaned.is_json:
        # Where a picture ends cannot be told in a body that does not hold together: nothing behind it is kept.
        cleaned = Cleaned(cleaned.body[: max(0, cleaned.body.find(MARK.encode()))], [])
    return cleaned, removed


def door_of(request: Request) -> Door:
    """The gateway's door, made at the first request."""
    state = request.app.state
    door: Door | None = getattr(state, "door", None)
    if door is None or door.hub is not state.hub:
        door = state.door = Door(
            state.hub, state.gates_group, getattr(state, "album", None), getattr(state, "sluice", None),
            Callers({HANET.name: state.hub.settings.gates.hanet_networks}),
        )  # fmt: skip
    return door


async def closing(app: FastAPI) -> None:
    """Tell what is new about gates before the gateway ends: what came and is not told looks missing to those that go on."""
    door: Door | None = getattr(app.state, "door", None)
    if door is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):
                await door.gates.tell()


def heard(app: FastAPI, word: str) -> None:
    """A gate was registered, moved or revoked: the next request finds the registry as it is now."""
    door: Door | None = getattr(app.state, "door", None)
    if word in ("devices", "lost") and door is not None:
        door.gates.forget()
        door.sluice.forget(door.gates.known)


async def answer(request: Request, caller: Caller) -> Response:
    """The answer for one request of a gate, after the commit."""
    family = caller.family
    given = await door_of(request).serve(request, family, caller.rest, caller.secret)
    REQUESTS.labels(family.name, str(given.status)).inc()
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "5"} if given.status == 503 else {})
    return Response(given.body, given.status, headers, media_type=given.content_type)
