"""MQTT on the wire, as far as a client at QoS 0 and 1 needs it: packets out of bytes, and bytes for packets.

One concern: the standard's layout (OASIS MQTT 3.1.1, chapters 2 and 3), and where 5 puts its properties in what is written;
what 5 says in what is read is `mqtt_five`'s. Pure. It must never decide what is answered, and never hold more than one
unfinished packet.
"""

from __future__ import annotations

from collections.abc import Sequence

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 13, 14

PING = b"\xc0\x00"
GOODBYE = b"\xe0\x00"
_NO_PROPERTIES = b"\x00"

REFUSALS = {
    1: "Unacceptable protocol version",
    2: "Identifier rejected",
    3: "Server unavailable",
    4: "Bad user name or password",
    5: "Not authorized",
}
"""What CONNACK's return code says."""

_LONGEST = 0xFFFF
REST_MOST = 268_435_455
PACKET_MOST = REST_MOST + 5
"""No packet is longer: what its length can say, and its first byte and length before it."""


class Malformed(Exception):
    """Máy chủ MQTT gửi gói tin sai chuẩn. / The MQTT broker sent what the standard does not allow."""


class Packets:
    """Cuts one connection's bytes into packets of at most `most` bytes. One that comes in many pieces is copied once,
    not once a piece."""

    __slots__ = ("_filled", "_large", "_most", "_rest")

    def __init__(self, most: int = REST_MOST) -> None:
        self._most = most
        self._rest = b""
        self._large: bytearray | None = None  # the one unfinished packet whose length is known
        self._filled = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes | memoryview]]:
        """The packets that `data` completes: first byte (kind and flags) and body. Raises `Malformed`."""
        found: list[tuple[int, bytes | memoryview]] = []
        at = 0
        if self._large is not None:
            at = min(len(data), len(self._large) - self._filled)
            self._large[self._filled : self._filled + at] = data if at == len(data) else data[:at]
            self._filled += at
            if self._filled < len(self._large):
                return found
            whole = memoryview(self._large)
            self._large = None
            header = _header(whole)
            assert header is not None, "its length was read from it before"
            found.append((whole[0], whole[header[0] :]))
        elif self._rest:
            data, self._rest = self._rest + data, b""
        end = len(data)
        while end - at >= 2:
            size = data[at + 1]
            body = at + 2
            if size & 0x80:
                header = _header(data, at)
                if header is None:
                    break
                body, size = header
            if size > self._most:
                raise Malformed(f"a packet of {size} bytes")
            if body + size > end:
                self._large = bytearray(body + size - at)
                self._filled = end - at
                self._large[: self._filled] = data[at:]
                return found
            found.append((data[at], data[body : body + size]))
            at = body + size
        self._rest = data[at:]
        return found


def _header(data: bytes | memoryview, at: int = 0) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins and how long it is; None when that is not all there. Raises
    `Malformed`."""
    size = shift = 0
    for place in range(at + 1, min(at + 5, len(data))):
        digit = data[place]
        size |= (digit & 0x7F) << shift
        if not digit & 0x80:
            return place + 1, size
        shift += 7
    if len(data) - at > 4:
        raise Malformed("a remaining length of more than four bytes")
    return None


def publication(flags: int, body: bytes | memoryview) -> tuple[str, bytes, int, int]:
    """Topic, payload, QoS and packet identifier (0 at QoS 0) of a PUBLISH. A topic that is not UTF-8 becomes one no
    device owns. Raises `Malformed`."""
    qos = flags >> 1 & 3
    if len(body) < 2 or qos > 1:
        raise Malformed("a PUBLISH without a topic, or of a QoS nobody asked for")
    end = 2 + (body[0] << 8 | body[1])
    if len(body) < end + 2 * qos:
        raise Malformed("a PUBLISH shorter than its topic")
    try:
        topic = str(body[2:end], "utf-8")
    except UnicodeDecodeError:
        topic = "\ufffd"
    if qos:
        return topic, bytes(body[end + 2 :]), 1, body[end] << 8 | body[end + 1]
    return topic, bytes(body[end:]), 0, 0


def number(body: bytes | memoryview) -> int:
    """The packet identifier at the start of an acknowledgement. Raises `Malformed`."""
    if len(body) < 2:
        raise Malformed("an acknowledgement without its number")
    return body[0] << 8 | body[1]


def connect(
    client_id: str,
    keepalive_s: int,
    clean: bool,
    username: str | None,
    password: str | None,
    will: tuple[str, bytes] | None = None,
    session: bytes | None = None,
) -> bytes:
    """CONNECT. `will`: topic and payload the broker publishes, retained and at QoS 1, when the session breaks off; at once.
    `session`: properties of version 5; None asks for 3.1.1. Raises `ValueError` for texts that are too long."""
    flags = 0x02 if clean else 0
    rest = [_text(client_id)]
    if will is not None:
        flags |= 0x2C
        if session is not None:
            rest.append(_NO_PROPERTIES)
        rest += (_text(will[0]), len(will[1]).to_bytes(2, "big") + will[1])
    if username is not None:
        flags |= 0x80
        rest.append(_text(username))
        if password is not None:
            flags |= 0x40
            rest.append(_text(password))
    head = b"\x00\x04MQTT" + bytes([4 if session is None else 5, flags]) + keepalive_s.to_bytes(2, "big")
    return _packet(0x10, head + (session or b"") + b"".join(rest))


def subscribe(mid: int, topics: Sequence[tuple[str, int]], five: bool = False) -> bytes:
    """SUBSCRIBE to filters, each with the QoS asked for."""
    head = mid.to_bytes(2, "big") + (_NO_PROPERTIES if five else b"")
    return _packet(0x82, head + b"".join(_text(topic) + bytes([qos]) for topic, qos in topics))


def publish(
    topic: str, payload: bytes, qos: int = 0, mid: int = 0, retain: bool = False, *, five: bool = False
) -> bytes:
    """PUBLISH. Raises `ValueError` for a topic that cannot be published to, or too long a payload."""
    if not topic or "+" in topic or "#" in topic or "\x00" in topic:
        raise ValueError("not a topic to publish to")
    if five:
        payload = _NO_PROPERTIES + payload
    if qos:
        return _packet(0x32 | retain, _text(topic) + mid.to_bytes(2, "big") + payload)
    return _packet(0x30 | retain, _text(topic) + payload)


def puback(mid: int) -> bytes:
    """PUBACK, of both versions: in 5 so short a one says success."""
    return b"\x40\x02" + mid.to_bytes(2, "big")


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    if len(data) > _LONGEST:
        raise ValueError("a text of more than 65,535 bytes")
    return len(data).to_bytes(2, "big") + data


def _packet(head: int, rest: bytes) -> bytes:
    size = len(rest)
    if size < 128:
        return bytes((head, size)) + rest
    out = bytearray((head,))
    while size:
        size, digit = size >> 7, size & 0x7F
        out.append(digit | (0x80 if size else 0))
    if len(out) > 5:
        raise ValueError("a packet of more than 256 MiB")
    return bytes(out) + rest
