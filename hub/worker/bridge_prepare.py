"""From a publication as it came to one that can be stored: cleaned, decoded, put where its gate stood then.

One concern: that step, which may run off the loop. Pure but for the counters and the registry it reads. It must never let a picture
through, or keep anything of a payload but what the firewall left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hub.kernel.firewall import Cleaned
from hub.kernel.firewall_devices import clean_device
from hub.kernel.gate_pictures import Onlooker
from hub.kernel.intake import Arrival, Source
from hub.kernel.ports import NO_PROPERTIES, Decoded, Hasher
from hub.worker import bridge_metrics as metrics
from hub.worker.bridge_items import Delivered, Item, decode_of, key_of, pictured, retained, school_of
from hub.worker.bridge_registry import Gates, Route
from hub.worker.gate_album import Album
from hub.worker.gate_places import decode_where


class Preparer:
    """One per bridge. `moment`: the time of day at a second of this host's clock; `album`: holds pictures that are to be kept."""

    def __init__(self, gates: Gates, hasher: Hasher, album: Album | None, moment: Callable[[float], datetime]) -> None:
        self._gates = gates
        self._hasher = hasher
        self._album = album
        self._moment = moment
        self._sources: dict[str, Source] = {}  # of registered devices, hence bounded

    def batch(self, delivered: Sequence[Delivered]) -> list[Item]:
        """Publications in the order they came. Their payloads are emptied."""
        at, received_at = 0.0, datetime.now(UTC)
        items: list[Item] = []
        for one in delivered:
            if one.received_at != at:  # what came together has the same time
                at, received_at = one.received_at, self._moment(one.received_at)
            items.append(self._item(one, received_at))
        return items

    def _item(self, delivered: Delivered, received_at: datetime) -> Item:
        original = delivered.payload
        route = self._gates.route(delivered.topic)
        entry = self._gates.entry(route.device, route.name)
        onlooker = None
        if self._album is not None and entry is not None and entry.get("pictures"):
            onlooker = Onlooker(self._hasher)
        cleaned = clean_device(original, onlooker or self._hasher)
        decoded = decode_where(
            lambda known: decode_of(route, delivered, cleaned, received_at, known), entry, received_at
        )
        if decoded.acks and route.device is None:
            decoded = self._by_its_own(route, delivered, cleaned, received_at, decoded)
        if delivered.retain and decoded.advisory is None:
            decoded = retained(route.device)
        device = route.device if entry is not None else None
        item = Item(delivered, route.name, device, decoded, received_at)
        item.cut = bool(
            cleaned.removed or (delivered.properties and pictured(delivered.properties, decoded, self._hasher))
        )
        if decoded.advisory is None:
            self._store(item, route, entry, cleaned, bytes.fromhex(self._hasher(original)))
            if onlooker is not None and onlooker.picture is not None and decoded.drafts and decoded.invalid is None:
                assert self._album is not None
                item.picture = onlooker.picture if self._album.hold(onlooker.picture) else None
        if cleaned.removed:
            metrics.REMOVED.inc(len(cleaned.removed))
            metrics.REMOVED_BYTES.inc(sum(r.bytes for r in cleaned.removed))
        delivered.payload, delivered.properties = b"", NO_PROPERTIES
        return item

    def _store(
        self, item: Item, route: Route, entry: Mapping[str, Any] | None, cleaned: Cleaned, digest: bytes
    ) -> None:
        """Give the item what is to be stored."""
        decoded, traced = item.decoded, route.attributes
        for draft in decoded.drafts:
            draft.body["images_removed"] = len(cleaned.removed)
        source = self._source(item.device)
        if decoded.trace is not None:
            traced = {**traced, "traceparent": decoded.trace}
        item.arrival = Arrival(
            source=source,
            type="checkin",
            body=cleaned.body,
            content_type="application/json" if cleaned.is_json else "application/octet-stream",
            digest=digest,
            key=key_of(source, item.delivered.topic, decoded, digest),
            removed=cleaned.removed,
            drafts=decoded.drafts or None,
            invalid=decoded.invalid,
            school=school_of(entry, decoded),
            historical=decoded.historical,
            attributes=traced,
            sighting=decoded.sighting,
        )

    def _by_its_own(
        self, route: Route, delivered: Delivered, cleaned: Cleaned, received_at: datetime, decoded: Decoded
    ) -> Decoded:
        """What is answered on a shared topic is answered as the gate that is named wants it: by its own entry."""
        claimed = (decoded.advisory or {}).get("device")
        entry = self._gates.entry(claimed if isinstance(claimed, str) else None, route.name)
        return decoded if entry is None else decode_of(route, delivered, cleaned, received_at, entry)

    def _source(self, device: str | None) -> Source:
        """The device as a source; devices that are not registered share one."""
        name = device or "unregistered"
        found = self._sources.get(name)
        if found is None:
            found = self._sources[name] = Source("device", name)
        return found
