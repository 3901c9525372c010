"""What MQTT 5 says otherwise than 3.1.1 in the packets of a client at QoS 0 and 1.

One concern: those packets (OASIS MQTT 5.0, chapter 3), and what their reason codes mean. Pure. PUBACK and the client's own
DISCONNECT are the same bytes in both versions where all is well. It must never decide which version is spoken.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from connectors.transports import mqtt_properties as properties
from connectors.transports.mqtt_packets import PACKET_MOST, REFUSALS, Malformed, number
from hub.kernel.ports import NO_PROPERTIES

BAD_VERSION, NOT_AUTHORIZED, BAD_TOPIC, TOO_LARGE, BAD_PAYLOAD = 0x84, 0x87, 0x90, 0x95, 0x99
FAILURE = 0x80
"""From here on a reason code tells a failure; 0x10 (nobody subscribes to it) does not."""

REASONS = {
    0x80: "Unspecified error",
    0x81: "Malformed packet",
    0x82: "Protocol error",
    0x83: "Implementation specific error",
    BAD_VERSION: REFUSALS[1],
    0x85: REFUSALS[2],
    0x86: REFUSALS[4],
    NOT_AUTHORIZED: REFUSALS[5],
    0x88: REFUSALS[3],
    0x89: "Server busy",
    0x8A: "Banned",
    0x8B: "Server shutting down",
    0x8C: "Bad authentication method",
    0x8D: "Keep alive timeout",
    0x8E: "Session taken over",
    0x8F: "Topic filter invalid",
    BAD_TOPIC: "Topic name invalid",
    0x91: "Packet identifier in use",
    0x93: "Receive maximum exceeded",
    0x94: "Topic alias invalid",
    TOO_LARGE: "Packet too large",
    0x96: "Message rate too high",
    0x97: "Quota exceeded",
    0x98: "Administrative action",
    BAD_PAYLOAD: "Payload format invalid",
    0x9A: "Retain not supported",
    0x9B: "QoS not supported",
    0x9C: "Use another server",
    0x9D: "Server moved",
    0x9E: "Shared subscriptions not supported",
    0x9F: "Connection rate exceeded",
    0xA0: "Maximum connect time",
    0xA1: "Subscription identifiers not supported",
    0xA2: "Wildcard subscriptions not supported",
}
"""What a reason code says; in 3.1.1's words where it has some."""

_NEVER = 0xFFFFFFFF
_REASON_MOST = 200


class Granted(Struct, frozen=True):
    """What a broker allows in a session; as it stands, what 3.1.1 has."""

    keepalive_s: int | None = None
    """What it counts by, instead of what was asked for."""
    window: int = 0xFFFF
    """QoS 1 publications of ours it takes without having answered."""
    qos: int = 1
    packet_most: int = PACKET_MOST
    """Bytes of the longest packet it takes."""

    def beat_s(self, own_s: int) -> int:
        """How often to be heard of: never seldomer than we wish ourselves, for the broker's silence is to be noticed too."""
        return min(self.keepalive_s or own_s, own_s)


EVERYTHING = Granted()


def session(persistent: bool, window: int, packet_most: int = PACKET_MOST) -> bytes:
    """CONNECT's properties: a session that is kept for ever, as 3.1.1's is, or one that ends with its connection; at most
    `window` unacknowledged QoS 1 publications towards us, none in a packet of more than `packet_most` bytes (the broker throws
    away what is longer); reasons in words. Topic aliases are allowed by saying so only."""
    kept = [(properties.SESSION_EXPIRY, 4, _NEVER)] if persistent else []
    return properties.written(
        *kept,
        (properties.RECEIVE_MAXIMUM, 2, min(window, 0xFFFF)),
        (properties.MAXIMUM_PACKET_SIZE, 4, min(packet_most, PACKET_MOST)),
        (properties.PROBLEM_INFORMATION, 1, 1),
    )


def connack(body: bytes | memoryview, of_five: bool = True) -> tuple[int, bool, str, Granted]:
    """The answer to a CONNECT: reason code, whether the broker has the session, the reason in words, what is allowed. 3.1.1's
    form as an answer to version 5 says, whatever its code, that the broker does not speak it. Raises `Malformed`."""
    if len(body) < 2 or body[0] > 1:
        raise Malformed("a CONNACK cut short")
    kept = bool(body[0] & 1)
    if len(body) == 2:
        code = BAD_VERSION if of_five else body[1]
        return code, kept, reason(code) if of_five else REFUSALS.get(code, f"CONNACK {code}"), EVERYTHING
    if not of_five:
        raise Malformed("bytes behind a CONNACK")
    found = properties.connack(body, 2)
    window, most = found.get(properties.RECEIVE_MAXIMUM, 0xFFFF), found.get(properties.MAXIMUM_PACKET_SIZE)
    if window == 0 or most == 0:
        raise Malformed("a CONNACK that allows nothing")
    granted = Granted(
        keepalive_s=_whole(found.get(properties.SERVER_KEEP_ALIVE)) or None,
        window=_whole(window),
        qos=_whole(found.get(properties.MAXIMUM_QOS, 1)),
        packet_most=_whole(most) or PACKET_MOST,
    )
    return body[1], kept, _said(body[1], found), granted


def publication(flags: int, body: bytes | memoryview) -> tuple[str, bytes, int, int, Mapping[str, str]]:
    """As `mqtt_packets.publication`, with the user properties. Raises `Malformed`."""
    qos = flags >> 1 & 3
    if len(body) < 3 or qos > 1:
        raise Malformed("a PUBLISH without a topic, or of a QoS nobody asked for")
    end = 2 + (body[0] << 8 | body[1])
    at = end + 2 * qos
    if end == 2 or len(body) <= at:
        raise Malformed("a PUBLISH shorter than its topic, or with an alias for one")
    try:
        topic = str(body[2:end], "utf-8")
    except UnicodeDecodeError:
        topic = "\ufffd"
    if body[at]:
        said, start = properties.publication(body, at)
    else:
        said, start = NO_PROPERTIES, at + 1
    if qos:
        return topic, bytes(body[start:]), 1, body[end] << 8 | body[end + 1], said
    return topic, bytes(body[start:]), 0, 0, said


def puback(body: bytes | memoryview) -> tuple[int, int]:
    """Packet identifier and reason code. Raises `Malformed`."""
    mid = number(body)
    if len(body) > 3 and properties.answer(body, 3) != len(body):
        raise Malformed("bytes behind a PUBACK")
    return mid, body[2] if len(body) > 2 else 0


def refusal(body: bytes | memoryview, of_five: bool) -> str | None:
    """What a SUBACK says of a filter the broker refuses; None when it takes all. Raises `Malformed`."""
    number(body)
    for code in body[properties.answer(body, 2) if of_five else 2 :]:
        if code >= FAILURE:
            return (
                f"the broker refused a subscription: {reason(code)}" if of_five else "the broker refused a subscription"
            )
    return None


def farewell(body: bytes | memoryview) -> str:
    """Why the broker ends the session: a DISCONNECT's reason in words. Raises `Malformed`."""
    if not body:
        return "the broker ended the session"
    found = properties.farewell(body, 1) if len(body) > 1 else {}
    return _said(body[0], found) if body[0] else "the broker ended the session"


def reason(code: int) -> str:
    """A reason code in words."""
    return REASONS.get(code, f"reason {code:#04x}")


def _said(code: int, found: Mapping[int, int | bytes]) -> str:
    """A reason code in words, with the broker's own behind it."""
    more = found.get(properties.REASON)
    words = more.decode("utf-8", "replace")[:_REASON_MOST] if isinstance(more, bytes) else ""
    shown = "".join(c if c.isprintable() else " " for c in words).strip()
    return f"{reason(code)}: {shown}" if shown else reason(code)


def _whole(value: int | bytes | None) -> int:
    return value if isinstance(value, int) else 0
