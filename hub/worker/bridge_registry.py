"""The bridge's view of the gates: who is registered, how their clocks run, and what is new about them.

One concern: the registry in memory and the facts to tell back about it. It must never believe a shared topic's claim
further than to note it, or take an empty registry for the truth before one was loaded."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec import Struct

from hub.kernel.firewall_names import NAME_MAX, is_name, shown
from hub.kernel.ports import Decoded, DeviceFamily, Publication
from hub.worker.bridge_clocks import kept
from iot.clock import Skew, learn

log = logging.getLogger(__name__)

_COUNTS = ("events", "live", "quarantined", "images")
_ROUTES_MOST = 20_000
_TRACE_MOST = 300
PART = 200
"""Gates told of in one go."""
_TELLING_SHARE, _TELLING_MOST_S = 25, 4.0
"""Telling takes a twenty-fifth of the time at most, but every gate has its turn this often: before a number that one door has
and another has not told of is taken for missing (`gate_numbers.GRACE_S`)."""
_TOPIC_MOST = NAME_MAX
"""A longer topic is nobody's: no family has one, and a stranger's must not fill the memory."""


class Route(Struct, frozen=True):
    """What a topic alone tells: the family that subscribes to it (`none` and None when there is none), the device it
    belongs to (None for shared topics), what is stored beside its messages, and the filter it came by."""

    name: str
    family: DeviceFamily | None
    device: str | None
    attributes: dict[str, str]
    subject: str = "#"


class Gates:
    """Registered devices.

    Facts told through `touch`, per device that was heard of: since the last telling, `events` stored, how many of them
    were `live` and how many `quarantined`, `images` taken out of them; `state` (`online`/`offline`) where the device's own
    topic says so; `offset_s` (device clock minus the hub's); `trace` lines.
    """

    def __init__(
        self,
        families: Mapping[str, DeviceFamily],
        load: Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]],
        touch: Callable[[dict[str, dict[str, Any]]], Awaitable[None]],
        refresh_gap_s: float,
    ) -> None:
        self._filters = [
            (name, family, topic_filter, re.compile(_pattern(topic_filter)))
            for name, family in families.items()
            for topic_filter in family.subscriptions
        ]
        self._routes: dict[str, Route] = {}
        self._load = load
        self._touch = touch
        self._told_s = 0.0
        """How long the last telling took."""
        self._left = 0
        """Gates it left for the next."""
        self._gap_s = refresh_gap_s
        self._loaded_at = float("-inf")
        self._entries: dict[str, dict[str, Any]] = {}
        self.sizes: Mapping[str, int] = {}
        """How many gates of each family there are."""
        self._skews: dict[str, Skew] = {}
        self._news: dict[str, dict[str, Any]] = {}
        self._births: dict[str, int] = {}  # of registered devices, hence bounded
        self.traced: dict[str, int] = {}
        """Devices somebody looks at just now, with their trace's number: seldom any."""

    # -- who is who

    def route(self, topic: str) -> Route:
        """What a topic tells. The few topics there are come again and again, so what was found is kept."""
        found = self._routes.get(topic)
        if found is None:
            found = self._find(topic)
            if len(topic) <= _TOPIC_MOST:
                if len(self._routes) >= _ROUTES_MOST:
                    self._routes.clear()
                self._routes[topic] = found
        return found

    def _find(self, topic: str) -> Route:
        attributes = {"topic": shown(topic), "family": "none"}
        for name, family, topic_filter, pattern in self._filters if is_name(topic) else ():
            if pattern.fullmatch(topic):
                attributes["family"] = name
                return Route(name, family, family.device_of(topic), attributes, topic_filter)
        return Route("none", None, None, attributes)

    def entry(self, device: str | None, family: str) -> dict[str, Any] | None:
        """A device's registry entry; None when it is not registered, or registered as another family."""
        entry = self._entries.get(device) if device is not None else None
        return entry if entry is not None and entry.get("family") == family else None

    async def first_load(self, wait_s: float, most_s: float) -> None:
        """Load until it succeeds."""
        while not await self._refresh():
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, most_s)

    async def reload(self) -> bool:
        """Load now: somebody was registered, moved or revoked. False when it could not be loaded."""
        return await self._refresh()

    def known(self, device: str) -> bool:
        """Whether a device is registered, in whatever family."""
        return device in self._entries

    def schools(self, family: str) -> dict[str, str]:
        """Where the registered gates of a family stand."""
        return {d: str(e["school"]) for d, e in self._entries.items() if e.get("family") == family and e.get("school")}

    async def keep_fresh(self, every_s: float) -> None:
        """Load again and again."""
        while True:
            await asyncio.sleep(every_s)
            await self._refresh()

    async def refresh_for(self, topics: Sequence[str]) -> None:
        """Load at once when a topic names a device not known yet: it may have been registered a moment ago."""
        if time.monotonic() - self._loaded_at < self._gap_s:
            return
        for topic in topics:
            route = self.route(topic)
            if route.device is not None and self.entry(route.device, route.name) is None:
                await self._refresh()
                return

    async def _refresh(self) -> bool:
        self._loaded_at = time.monotonic()
        try:
            loaded = await self._load()
        except Exception as error:
            log.warning("the gates' registry could not be loaded: %s", type(error).__name__)
            return False
        entries: dict[str, dict[str, Any]] = {}
        for device, entry in loaded.items():
            skew = self._skews.get(device)
            heard = skew.estimate if skew is not None else None
            entries[device] = {**entry, "clock": kept(entry) if heard is None else heard}
        self._entries = entries
        self.sizes = Tally(entry["family"] for entry in entries.values() if "family" in entry)
        self.traced = {device: entry["trace"] for device, entry in entries.items() if entry.get("trace")}
        for device in self._skews.keys() - entries.keys():
            del self._skews[device]
        return True

    # -- what is new

    def learn(self, device: str | None, decoded: Decoded, received_at: datetime) -> None:
        """Note that a registered device sent something, and let a live event teach its clock. Before the commit: the
        next batch already profits."""
        if device is None:
            return
        news = self._news_of(device)
        if decoded.drafts and not decoded.historical:
            news["state"] = "online"
        skew = self._skews.get(device)
        if skew is None:
            skew = self._skews[device] = Skew()
        for draft in decoded.drafts:
            learn(skew, draft.body, draft.updated_at, received_at)
        entry, estimate = self._entries.get(device), skew.estimate
        if entry is not None and estimate is not None and estimate is not entry.get("clock"):
            entry["clock"] = estimate
            news["offset_s"] = round(estimate.offset_s, 3)

    def count(self, device: str | None, decoded: Decoded, invalid: bool, images: int) -> None:
        """Count what was stored for a registered device. After the commit, and not for an event sent again."""
        if device is None:
            return
        news = self._news_of(device)
        if decoded.drafts and not invalid:
            news["events"] = news.get("events", 0) + len(decoded.drafts)
            if not decoded.historical:
                news["live"] = news.get("live", 0) + len(decoded.drafts)
        if images:
            news["images"] = news.get("images", 0) + images
        for draft in decoded.drafts:
            if draft.body["quarantine"]:
                news["quarantined"] = news.get("quarantined", 0) + 1

    def advise(self, family: str, decoded: Decoded) -> list[Publication]:
        """Note who was heard of; returns the acknowledgements to publish: none for a device that is not registered in that
        family. Whether a gate is there is told by its own topic only: on a shared one each could say it of the others."""
        facts = decoded.advisory or {}
        device = facts.get("device")
        if not isinstance(device, str) or self.entry(device, family) is None:
            return []
        if (number := facts.get("bd")) is not None:
            if facts.get("state") == "online":
                self._births[device] = number
            elif number != self._births.get(device, number):
                facts.pop("state")  # the death of a session before: the gate has been born again since
        news = self._news_of(device)
        if (state := facts.get("state")) and facts.get("trusted") is not False:
            news["state"] = state
        return decoded.acks

    def trace(self, device: str, at: datetime, **what: Any) -> None:
        """Note a line for whoever looks at a device; no person's data may be in it. May be lost."""
        lines = self._news.setdefault(device, {}).setdefault("trace", [])
        if len(lines) < _TRACE_MOST:
            lines.append((self.traced[device], at, what))

    def _news_of(self, device: str) -> dict[str, Any]:
        news = self._news.get(device)
        if news is None:
            news = self._news[device] = {}
        return news

    def pause(self, every_s: float) -> float:
        """Seconds until `PART` more gates are told of, so that each is every `every_s`, or more seldom where telling takes
        long: what it says nobody waits for, and a whole city's at once would hold up what gates do wait for."""
        parts = 1 - (-self._left // PART)
        return max(every_s / parts, min(_TELLING_SHARE * self._told_s, _TELLING_MOST_S / parts))

    async def keep_telling(self, every_s: float) -> None:
        """Tell what is new, again and again."""
        while True:
            await asyncio.sleep(self.pause(every_s))
            await self.tell(PART)

    async def tell(self, most: int | None = None) -> None:
        """Tell what is new, of so many gates; of all without a number. What could not be told is kept for the next time."""
        news = {device: self._news.pop(device) for device in list(islice(self._news, most))}
        self._left = len(self._news)
        if not news:
            return
        began = time.monotonic()
        try:
            await self._touch(news)
            self._told_s = time.monotonic() - began
        except Exception as error:
            log.warning("what is new about %d gates could not be noted: %s", len(news), type(error).__name__)
            for device, facts in news.items():
                later = self._news.get(device, {})
                merged = {**facts, **later}
                for count in _COUNTS:
                    if total := facts.get(count, 0) + later.get(count, 0):
                        merged[count] = total
                self._news[device] = merged


def _pattern(topic_filter: str) -> str:
    """An MQTT topic filter as a regular expression."""
    levels = [
        ("[^/]*" if level == "+" else ".*" if level == "#" else re.escape(level)) for level in topic_filter.split("/")
    ]
    return "/".join(levels)
