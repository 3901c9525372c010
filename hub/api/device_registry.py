"""The gateway's view of the gates that speak HTTP: who is registered, which secret opens whose door, their clocks.

One concern: the registry in memory, never older than a few seconds. It must never answer from an old one when the
database is away, nor show a secret: secrets are looked up by keyed hash."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from hub.api.device_commands import LOST
from hub.api.gate_numbers import GRACE_S, KEPT, GateNumbers, tell_missing
from hub.kernel.ledger import parties
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.gates import SIGNING
from hub.keys import CannotDecrypt, Keys
from hub.worker.bridge_registry import PART, Gates
from iot.clock import CLOCK, PLAUSIBLE_S, Skew
from iot.web import Item

log = logging.getLogger(__name__)

CACHE_S = 5.0
_RETRY_S = 1.0
_LOAD_S = 4.0
_TELL_S = 2.0
_FIELDS = (
    "id", "family", "profile", "school", "entrance", "direction", "zone", "places", "trace", "pictures", "offset_s", "offset_age_s",
)  # fmt: skip


class RegistryAway(ConnectionError):
    """Chưa đọc được sổ thiết bị. / The devices' registry cannot be read for now."""


class WebGates(Gates):
    """Registered devices of the families given, with their secrets' owners and what is new about them."""

    def __init__(self, core: Core, keys: Keys, families: Collection[str]) -> None:
        super().__init__({}, self._rows, self._tell_ledger, CACHE_S)
        self._core = core
        self._keys = keys
        self._known_families = frozenset(families)
        self._hash_key = keys.hmac("gate-secret")
        self._owners: dict[bytes, str] = {}
        self._signing: dict[str, str] = {}
        self._memory: dict[str, dict[str, Any]] = {}
        self._numbers = GateNumbers()
        self._doubts: dict[str, Skew] = {}
        self._good_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[int] | None = None

    # -- who is who

    async def fresh(self) -> None:
        """Make sure that what is known is at most `CACHE_S` old. Raises `RegistryAway`."""
        if time.monotonic() - self._good_at < CACHE_S:
            return
        async with self._lock:
            now = time.monotonic()
            if now - self._good_at < CACHE_S:
                return
            if now - self._tried_at < _RETRY_S:
                raise RegistryAway
            self._tried_at = now
            try:
                async with asyncio.timeout(_LOAD_S):
                    loaded = await self._refresh()
            except TimeoutError:
                loaded = False
            if not loaded:
                raise RegistryAway
            self._good_at = now

    def forget(self) -> None:
        """Read the registry before the next answer: somebody was registered, moved or revoked."""
        self._good_at = self._tried_at = float("-inf")

    def opened_by(self, secret: str) -> str | None:
        """The device whose secret this is."""
        return self._owners.get(self._digest(secret))

    def signing(self, device: str) -> str:
        """The secret a device's vendor signs with; empty when there is none."""
        return self._signing.get(device, "")

    def same_account(self, one: str, other: str) -> bool:
        """Whether two devices are of one vendor's account: registered with the same signing secret."""
        secret = self.signing(one)
        return bool(secret) and hmac.compare_digest(secret.encode(), self.signing(other).encode())

    def _digest(self, secret: str) -> bytes:
        return hmac.new(self._hash_key, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()

    async def _rows(self) -> Mapping[str, Mapping[str, Any]]:
        owners: dict[bytes, str] = {}
        signing: dict[str, str] = {}
        entries: dict[str, Mapping[str, Any]] = {}
        read_at, holes = time.monotonic(), False
        for row in await parties.devices(self._core):
            device = row["id"]
            if row["family"] not in self._known_families:
                continue
            counted = self._numbers.over(device, row["highest"], row["stamp"], read_at)
            entries[device] = {**{name: row[name] for name in _FIELDS}, **counted, **self._memory.get(device, {})}
            holes = holes or (row["split_s"] or 0.0) > GRACE_S
            try:
                secret = self._keys.decrypt(row["secret"], device.encode()).decode()
            except (CannotDecrypt, UnicodeDecodeError):
                log.error("the secret of gate %s cannot be opened", device)
                continue
            owners[self._digest(secret)] = device
            if row["signing"] is not None:
                try:
                    signing[device] = self._keys.decrypt(row["signing"], SIGNING).decode()
                except (CannotDecrypt, UnicodeDecodeError):
                    log.error("what the vendor of gate %s signs with cannot be opened", device)
            if row["old_secret"] is not None:
                with contextlib.suppress(CannotDecrypt, UnicodeDecodeError):
                    # A rotation's overlap: the one before opens too, for a while.
                    before = self._keys.decrypt(row["old_secret"], device.encode()).decode()
                    owners.setdefault(self._digest(before), device)
        self._owners, self._signing = owners, signing
        for forgotten in self._memory.keys() - entries.keys():
            del self._memory[forgotten]
        self._numbers.forget(entries)
        if holes and (self._looking is None or self._looking.done()):
            # Beside the request that has the registry read: it waits for none of this.
            self._looking = asyncio.get_running_loop().create_task(tell_missing(self._core))
        return entries

    # -- what is new

    def remember(self, device: str, facts: Mapping[str, Any]) -> None:
        """Keep facts in the device's entry. Lost with the process."""
        if facts:
            self._memory.setdefault(device, {}).update(facts)
            if (entry := self._entries.get(device)) is not None:
                entry.update(facts)

    def came_again(self, device: str, item: Item) -> None:
        """Note an item that was stored before: perhaps by a gateway that ended before it told the number."""
        if (covers := item.remember.get("covers")) is not None:
            self._count(device, {"covers": covers})

    def _count(self, device: str, facts: Mapping[str, Any]) -> None:
        """Note what a gate numbers by itself (`iot.web.Item.remember`), for its entry and for all gateways."""
        entry = self._entries.get(device)
        if facts and entry is not None:
            self._numbers.saw(device, facts)
            entry.update({name: facts[name] for name in KEPT if name in facts})
            self._news_of(device)
            self._tell_soon()

    async def _tell_ledger(self, facts: dict[str, dict[str, Any]]) -> None:
        seen = self._numbers.take(facts)
        try:
            told = {d: {**f, "numbers": seen[d]} if d in seen else f for d, f in facts.items()}
            await parties.touch_devices(self._core, told)
        except BaseException:
            self._numbers.untold(seen)
            raise
        self._numbers.told(seen, time.monotonic())

    def stored(self, device: str, item: Item, received_at: datetime, invalid: bool, images: int) -> None:
        """Note an item that is now stored, for the first time."""
        self.learn(device, item.decoded, received_at)
        if item.prompt and not invalid:
            for draft in item.decoded.drafts:
                if draft.body["historical"] and draft.body["quarantine"] != CLOCK:
                    sent = draft.updated_at + timedelta(seconds=draft.body["estimated_offset_s"] or 0.0)
                    self._doubt(device, received_at, sent)
        self.count(device, item.decoded, invalid, images)
        for draft in item.decoded.drafts:
            if not draft.body["historical"]:
                self._lose(device, draft.body["estimated_offset_s"] or 0.0, draft.body["quarantine"] == CLOCK)
        self._count(device, item.remember)
        self._tell_soon()

    def hinted(self, family: str, item: Item, device: str) -> None:
        """Note an advisory item: presence, a stranger, a command's result."""
        self.advise(family, item.decoded)
        self._count(device, item.remember)
        self._tell_soon()

    def _lose(self, device: str, off_s: float, broken: bool) -> None:
        """A clock that cannot be right moves no estimate; but a gate that has one is asked for a span by it. Only a time that
        can be right says that the clock is: one that could not be read says nothing."""
        if broken and abs(off_s) > PLAUSIBLE_S:
            self.remember(device, {LOST: off_s})
        elif not broken and self._memory.get(device, {}).get(LOST) is not None:
            self.remember(device, {LOST: None})

    def _doubt(self, device: str, received_at: datetime, sent: datetime) -> None:
        """An event sent at once that is late by the device's clock: either it was stored after all, or the clock is
        slow. The estimate decides, which a backlog does not move; where there is none yet, a right clock is where
        it starts."""
        skew = self._skews.get(device)
        if skew is not None and skew.estimate is not None:
            skew.observe(received_at, sent)
            return
        doubt = self._doubts.get(device)
        if doubt is None:
            doubt = self._doubts[device] = Skew()
            doubt.observe(received_at, received_at)
        right = doubt.estimate
        doubt.observe(received_at, sent)
        if doubt.estimate is not right and doubt.estimate is not None:
            self._skews[device] = self._doubts.pop(device)
            if (entry := self._entries.get(device)) is not None:
                entry["clock"] = doubt.estimate
            self._news.setdefault(device, {})["offset_s"] = round(doubt.estimate.offset_s, 3)

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.pause(_TELL_S), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._telling = asyncio.get_running_loop().create_task(self._tell_some())

    async def _tell_some(self) -> None:
        await self.tell(PART)
        if self._news:
            self._tell_soon()


__all__ = ["CACHE_S", "RegistryAway", "WebGates"]
