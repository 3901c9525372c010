"""The properties of MQTT 5: what may stand in which packet, out of bytes and into bytes.

One concern: the standard's table (OASIS MQTT 5.0, 2.2.2). Pure. A layout that is wrong is the broker's fault and `Malformed`;
a publisher's text that is none, or is too much, is left out, for the broker would deliver it again and again, and a gate must
not end the hub's session. It must never let through a topic alias: none was allowed.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.transports.mqtt_packets import Malformed
from hub.kernel.ports import LEFT_OUT, NO_PROPERTIES

PAIRS_MOST, BYTES_MOST = 32, 4096
"""User properties kept of one publication: so many pairs, names and values so long together."""

SESSION_EXPIRY, SERVER_KEEP_ALIVE, PROBLEM_INFORMATION, REASON = 0x11, 0x13, 0x17, 0x1F
RECEIVE_MAXIMUM, MAXIMUM_QOS, MAXIMUM_PACKET_SIZE = 0x21, 0x24, 0x27
_READ_MOST = 4 * BYTES_MOST
"""Properties of a publication that are longer are not looked at: a gate must not occupy the loop with millions of them."""
_SUBSCRIPTION, _USER = 0x0B, 0x26
_TEXT, _VARYING = 0, -1

_IN_CONNACK = {
    SESSION_EXPIRY: 4, 0x12: _TEXT, SERVER_KEEP_ALIVE: 2, 0x15: _TEXT, 0x16: _TEXT, 0x1A: _TEXT, 0x1C: _TEXT, REASON: _TEXT,
    RECEIVE_MAXIMUM: 2, 0x22: 2, MAXIMUM_QOS: 1, 0x25: 1, MAXIMUM_PACKET_SIZE: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip
_IN_PUBLISH = {0x01: 1, 0x02: 4, 0x03: _TEXT, 0x08: _TEXT, 0x09: _TEXT, _SUBSCRIPTION: _VARYING}
_IN_ANSWER = {REASON: _TEXT}
_IN_DISCONNECT = {0x1C: _TEXT, REASON: _TEXT}


Found = dict[int, int | bytes]
"""Properties by number; texts as they came."""


def connack(body: bytes | memoryview, at: int) -> Found:
    """The properties of a CONNACK. Raises `Malformed`."""
    return _whole(body, at, _IN_CONNACK)


def answer(body: bytes | memoryview, at: int) -> int:
    """Where the properties of a PUBACK or SUBACK end. Raises `Malformed`."""
    return _read(body, at, _IN_ANSWER)[0]


def farewell(body: bytes | memoryview, at: int) -> Found:
    """The properties of a DISCONNECT. Raises `Malformed`."""
    return _whole(body, at, _IN_DISCONNECT)


def publication(body: bytes | memoryview, at: int) -> tuple[Mapping[str, str], int]:
    """The user properties of a PUBLISH, and where its payload begins. One that is too much, no UTF-8 or of a name that was there is
    left out, and `LEFT_OUT` stands for it. Raises `Malformed`."""
    at, end = _span(body, at)
    if end - at > _READ_MOST:
        return {LEFT_OUT: ""}, end
    pairs: dict[str, str] = {}
    others: Found = {}
    room, whole = BYTES_MOST, True
    while at < end:
        if body[at] != _USER:
            at = _other(body, at, _IN_PUBLISH, others)
            continue
        middle, after = _pair(body, at, end)
        room -= after - at - 5
        try:
            if room < 0 or len(pairs) == PAIRS_MOST or (name := str(body[at + 3 : middle], "utf-8")) in pairs:
                raise ValueError("one too many")
            pairs[name] = str(body[middle + 2 : after], "utf-8")
        except ValueError:  # also what is no UTF-8
            room += after - at - 5
            whole = False
        at = after
    if at != end:
        raise Malformed("a property cut short")
    if not whole:
        pairs[LEFT_OUT] = ""
    return pairs or NO_PROPERTIES, end


def written(*properties: tuple[int, int, int]) -> bytes:
    """Properties for a packet of ours, their length before them: number, size in bytes, value."""
    out = b"".join(bytes([number]) + value.to_bytes(size, "big") for number, size, value in properties)
    assert len(out) < 128, "a length of one byte"
    return bytes([len(out)]) + out


def _whole(body: bytes | memoryview, at: int, known: dict[int, int]) -> Found:
    end, found = _read(body, at, known)
    if end != len(body):
        raise Malformed("bytes behind the properties")
    return found


def _read(body: bytes | memoryview, at: int, known: dict[int, int]) -> tuple[int, Found]:
    """Where the properties at `at` end, and those that are no user properties."""
    at, end = _span(body, at)
    found: Found = {}
    while at < end:
        at = _pair(body, at, end)[1] if body[at] == _USER else _other(body, at, known, found)
    if at != end:
        raise Malformed("a property cut short")
    return end, found


def _span(body: bytes | memoryview, at: int) -> tuple[int, int]:
    """Where properties whose length is at `at` begin and end."""
    size, at = _varying(body, at)
    if at + size > len(body):
        raise Malformed("properties longer than their packet")
    return at, at + size


def _pair(body: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """Where the name of the user property at `at` ends, and its value."""
    if at + 5 <= end:
        middle = at + 3 + (body[at + 1] << 8 | body[at + 2])
        if middle + 2 <= end:
            after = middle + 2 + (body[middle] << 8 | body[middle + 1])
            if after <= end:
                return middle, after
    raise Malformed("a user property cut short")


def _other(body: bytes | memoryview, at: int, known: dict[int, int], found: Found) -> int:
    """Take the property at `at` into `found`; gives where the next begins. `known`: which there may be, and of what size."""
    number = body[at]
    kind = known.get(number)
    if kind is None:
        raise Malformed(f"property {number} in a packet that cannot have it")
    if number in found and number != _SUBSCRIPTION:
        raise Malformed(f"property {number} twice")
    at += 1
    if kind == _VARYING:
        found[number], at = _varying(body, at)
        return at
    if kind == _TEXT:
        if at + 2 > len(body):
            raise Malformed("a property cut short")
        kind, at = body[at] << 8 | body[at + 1], at + 2
        found[number] = bytes(body[at : at + kind])
    else:
        found[number] = int.from_bytes(body[at : at + kind], "big")
    return at + kind


def _varying(body: bytes | memoryview, at: int) -> tuple[int, int]:
    size = shift = 0
    for place in range(at, min(at + 4, len(body))):
        digit = body[place]
        size |= (digit & 0x7F) << shift
        if not digit & 0x80:
            return size, place + 1
        shift += 7
    raise Malformed("a length that does not end")
