"""What device families give and get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from msgspec import Struct, field

from hub.kernel.ports.messages import Draft, Reject

NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})
"""Of a publication without user properties."""
LEFT_OUT = "\0"
"""Stands among user properties of which some were left out; the standard allows no such name."""

COMMANDS_USER, PROBE = "lt-commands", "-probe"
"""Who sends commands to gates at the hub's own broker, where the user's name is the session's; with `PROBE` behind it, who tries that
account without ending that session. Both have the same secret."""


class Publication(Struct, frozen=True):
    """Something to publish to a device after the ledger has committed."""

    topic: str
    payload: bytes


class Sighting(Struct, frozen=True):
    """What makes a passage the same where it has no name in common with itself: a person at a device, less than a second apart.

    `at_ms`: since 1970, by the device's own clock. `alias`: the number a person was given for the device, `vendor`: the vendor's own;
    either may be empty, not both. Two with an alias go by it, else by the vendor's."""

    at_ms: int
    alias: str
    vendor: str


class Decoded(Struct, kw_only=True):
    """What a device family made of one publication.

    Exactly one of these holds: `drafts` is not empty (facts to store), `invalid` says why it cannot be understood
    (stored as an invalid message), or `advisory` is set (presence and heartbeat: updates the registry only).
    """

    drafts: list[Draft] = field(default_factory=list)
    dedupe: str | None = None
    """Identity of the event at the device: the same event sent again has the same one."""
    acks: list[Publication] = field(default_factory=list)
    """Device-level acknowledgements: to be published only after commit."""
    invalid: Reject | None = None
    advisory: dict[str, Any] | None = None
    historical: bool = False
    """True for stored-and-forwarded events: they take the lane of history."""
    number: int | None = None
    """The event's place in its device's own count, where it keeps one: a missing number is a missing event."""
    trace: str | None = None
    """The device's own W3C `traceparent`, kept beside the message."""
    sighting: Sighting | None = None
    """Of a passage whose family's lists tell other names than its pushes."""


class Numbers(Struct, frozen=True):
    """A stretch of a device's own count of its events, `first` and `last` both in it: what is asked for where numbers are
    missing, whatever times the device's clock gave them."""

    first: int
    last: int


class DeviceFamily(Protocol):
    """One family of devices. Pure like an adapter."""

    subscriptions: Sequence[str]
    """MQTT topic filters, in MQTT's own syntax."""

    def device_of(self, topic: str) -> str | None:
        """The device a topic belongs to; None for shared topics, whose payload is advisory only."""
        ...

    def decode(
        self,
        topic: str,
        payload: Any,
        received_at: datetime,
        device: Mapping[str, Any] | None,
        properties: Mapping[str, str] = NO_PROPERTIES,
    ) -> Decoded:
        """Decode one publication. `payload` is parsed JSON already stripped of biometrics; `device` is its registry
        entry (profile, school, direction, zone), None when it is not registered; on a shared topic None, and once more with
        the entry of the one that is named, for the words of an acknowledgement. `properties`: MQTT 5's user properties as
        they came, stripped of nothing: only what is known by its form may be taken out of them. Raises nothing for any
        payload."""
        ...
