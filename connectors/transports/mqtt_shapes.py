"""What the MQTT client hands to its caller: a publication as it came, and its counts.

One concern: shapes. It must never acknowledge, queue or connect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from connectors.transports import mqtt_five as five
from connectors.transports import mqtt_packets as packets
from hub.kernel.ports import NO_PROPERTIES


class Arrived:
    """One publication as it came. `generation` tells the connection it came on; `settled` is the client's own.

    `properties`: the user properties of MQTT 5, bounded (see `mqtt_properties`); whoever sent them may have put anything there,
    so nothing of them may be stored or logged unseen.
    """

    __slots__ = (
        "dup",
        "generation",
        "mid",
        "payload",
        "properties",
        "qos",
        "received_at",
        "retain",
        "settled",
        "topic",
    )

    def __init__(
        self, head: int, body: bytes | memoryview, generation: int, received_at: float, of_five: bool = False
    ) -> None:
        self.properties: Mapping[str, str] = NO_PROPERTIES
        if of_five:
            self.topic, self.payload, self.qos, self.mid, self.properties = five.publication(head, body)
        else:
            self.topic, self.payload, self.qos, self.mid = packets.publication(head, body)
        self.retain = bool(head & 1)
        self.dup = bool(head & 8)
        self.generation = generation
        self.received_at = received_at
        self.settled = False


class Presence(Protocol):
    """What a session says about itself, retained under one topic, so that whoever comes later knows too."""

    topic: str

    def will(self) -> bytes:
        """For the session about to be opened: what the broker says when it breaks off."""
        ...

    def birth(self) -> bytes:
        """When it stands."""
        ...

    def death(self) -> bytes:
        """When it is ended on purpose."""
        ...


class MqttStats(Struct, kw_only=True):
    """Counts since the client was made; all but `connected` and `queued` only grow."""

    connected: bool = False
    generation: int = 0
    received: int = 0
    queued: int = 0
    acked: int = 0
    shed: int = 0
    """QoS 1 publications left to the broker because the queue was full."""
    lost: int = 0
    """QoS 0 publications dropped because the queue was full."""
    stale_acks: int = 0
    """Acknowledgements thrown away because their connection had ended."""
    last_error: str | None = None
