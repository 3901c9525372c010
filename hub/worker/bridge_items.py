"""One publication on its way through the bridge: what is made of it before it is stored, and when it cannot be.

One concern: those shapes. Pure but for the counters. It must never give up a message: what cannot be stored as it is, is
stored as invalid.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson

from hub.kernel.firewall import Cleaned
from hub.kernel.firewall_devices import clean_device
from hub.kernel.firewall_names import shown
from hub.kernel.gate_pictures import Picture
from hub.kernel.intake import Accepted, Arrival, Source, intake_key
from hub.kernel.ports import LEFT_OUT, Decoded, Hasher, Publication, Reject, Text
from hub.worker import bridge_metrics as metrics
from hub.worker.bridge_registry import Route

log = logging.getLogger(__name__)


class Delivered(Protocol):
    """One publication as the transport hands it over. `payload` is emptied once the firewall has seen it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    """A copy the broker had kept, given out because somebody subscribed: no event may be one."""
    mid: int
    generation: int
    received_at: float
    """Time of arrival, seconds since 1970."""
    properties: Mapping[str, str]
    """MQTT 5's user properties, bounded; emptied with the payload. The firewall does not see them: nothing of them is kept but
    what a family knows by its form."""


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


class Item:
    """One publication on its way. `arrival` None: nothing to store."""

    __slots__ = ("acks", "arrival", "cut", "decoded", "delivered", "device", "family", "picture", "received_at")

    def __init__(
        self, delivered: Delivered, family: str, device: str | None, decoded: Decoded, received_at: datetime
    ) -> None:
        self.delivered = delivered
        self.family = family
        self.device = device
        self.decoded = decoded
        self.acks: list[Publication] = decoded.acks
        self.arrival: Arrival | None = None
        self.picture: Picture | None = None  # held, of a gate whose pictures are kept: seldom any
        self.received_at = received_at
        self.cut = False  # whether the firewall took something out of it


def retained(device: str | None) -> Decoded:
    """An event the broker kept as retained: refused, since it would come back at every start. The gate's own sending of
    it came before, without the mark, and waits in the bridge's session."""
    text = Text("Sự kiện không được gửi với cờ retain.", "An event must not be published with the retain flag.")
    return Decoded(invalid=Reject(pointer="", code="retained", message=text, key=device))


def decode_of(
    route: Route,
    delivered: Delivered,
    cleaned: Cleaned,
    received_at: datetime,
    entry: Mapping[str, Any] | None,
) -> Decoded:
    if route.family is None:
        text = Text("Không họ thiết bị nào nhận chủ đề này.", "No device family takes this topic.")
        return Decoded(invalid=Reject(pointer="", code="unknown_topic", message=text))
    if not cleaned.body:
        return Decoded(advisory={"kind": "empty"})  # a retained copy was cleared: it says nothing
    if not cleaned.is_json:
        text = Text("Nội dung không phải JSON hợp lệ (UTF-8).", "The content is not valid JSON (UTF-8).")
        return Decoded(invalid=Reject(pointer="", code="invalid_json", message=text, key=route.device))
    try:
        return route.family.decode(delivered.topic, cleaned.tree, received_at, entry, delivered.properties)
    except Exception:
        # A family's own fault must cost one message its meaning, not all of them the bridge.
        log.exception("a decoder failed on topic %s", shown(delivered.topic))
        text = Text("Bộ giải mã gặp lỗi với bản tin này.", "The decoder failed on this message.")
        return Decoded(invalid=Reject(pointer="", code="decoder_failed", message=text, key=route.device))


def pictured(properties: Mapping[str, str], decoded: Decoded, hasher: Hasher) -> bool:
    """Whether a picture may be among the user properties. None is kept here; but the broker keeps them with a retained copy."""
    rest = {name: value for name, value in properties.items() if value != decoded.trace}
    return LEFT_OUT in rest or bool(rest and clean_device(orjson.dumps(rest), hasher).removed)


def school_of(entry: Mapping[str, Any] | None, decoded: Decoded) -> str | None:
    """The school a message belongs to: where its gate stood then, else where it stands."""
    if decoded.drafts:
        return decoded.drafts[0].school
    return str(entry["school"]) if entry and entry.get("school") else None


def key_of(source: Source, topic: str, decoded: Decoded, digest: bytes) -> bytes:
    """The event's identity at its device; for what is not understood, its bytes on its topic. The two never meet: an
    event refused today (the gate is not registered) may be taken tomorrow."""
    if decoded.invalid is None and decoded.dedupe is not None:
        return intake_key(source, "event", decoded.dedupe)
    code = decoded.invalid.code if decoded.invalid else ""
    return intake_key(source, "bytes", topic, code, digest)


def reduce(item: Item) -> bool:
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
    arrival.sighting = None
    arrival.rejects = []
    arrival.key = intake_key(arrival.source, "bytes", "unstorable", arrival.digest)
    return True


def outcome_of(item: Item, answer: Accepted | None) -> str:
    if item.arrival is None:
        return "advisory" if item.decoded.invalid is None else "not_kept"
    if answer is not None and answer.duplicate:
        return "duplicate"
    return "invalid" if item.arrival.invalid is not None else "stored"
