"""MQTT 5's packets: whatever bytes come, they are packets or malformed; what publishers put in properties never ends a session."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transports import mqtt_five as five
from connectors.transports import mqtt_packets as packets
from connectors.transports import mqtt_properties as properties
from connectors.transports.mqtt_offer import Offer
from connectors.transports.mqtt_packets import Malformed, Packets
from connectors.transports.mqtt_shapes import Arrived
from hub.kernel.ports import LEFT_OUT

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
words = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30)
topics = st.text(st.characters(blacklist_characters="+#\x00", blacklist_categories=["Cs"]), min_size=1, max_size=40)
numbered = st.sampled_from(
    [b"\x01\x01", b"\x02\x00\x00\x00\x3c", b"\x03\x00\x01a", b"\x08\x00\x01b", b"\x09\x00\x02\xff\x00", b"\x0b\x81\x01"]
)


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(2, "big") + data


def user(name: str | bytes, value: str | bytes) -> bytes:
    return b"\x26" + text(name) + text(value)


def counted(data: bytes) -> bytes:
    size, out = len(data), bytearray()
    while True:
        size, digit = size >> 7, size & 0x7F
        out.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(out) + data


def publish(inside: bytes, payload: bytes = b"x", topic: str = "t", qos: int = 0) -> tuple[int, bytes]:
    return 0x30 | qos << 1, text(topic) + (b"\x00\x07" if qos else b"") + counted(inside) + payload


@given(topics, st.binary(max_size=300), st.integers(0, 1), st.integers(1, 65_535), st.booleans())
def test_what_is_written_is_read(topic: str, payload: bytes, qos: int, mid: int, retain: bool) -> None:
    ((head, body),) = Packets().feed(packets.publish(topic, payload, qos, mid, retain, five=True))
    assert five.publication(head, body) == (topic, payload, qos, mid if qos else 0, {})
    assert bool(head & 1) == retain


@given(
    topics,
    st.binary(max_size=200),
    st.integers(0, 1),
    st.lists(st.tuples(words, words), max_size=12),
    st.lists(numbered, max_size=6, unique_by=lambda p: p[0]),
    st.randoms(),
)
def test_user_properties_come_among_whatever_others(
    topic: str, payload: bytes, qos: int, pairs: list[tuple[str, str]], others: list[bytes], chance: object
) -> None:
    given_ = [(user(*pair), pair) for pair in pairs] + [(other, None) for other in others]
    chance.shuffle(given_)  # type: ignore[attr-defined]
    ordered = [pair for _, pair in given_ if pair is not None]
    head, body = publish(b"".join(part for part, _ in given_), payload, topic, qos)
    arrived = Arrived(head, memoryview(body), 0, 0.0, True)
    assert (arrived.topic, arrived.payload, arrived.qos, arrived.mid) == (topic, payload, qos, 7 * qos)
    kept = dict(arrived.properties)
    assert (kept.pop(LEFT_OUT, None) is not None) == (len({name for name, _ in pairs}) < len(pairs))
    first = dict(reversed(ordered))
    assert all(first[name] == value for name, value in kept.items()) and len(kept) <= len(pairs)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_understood_or_malformed(body: bytes, of_five: bool) -> None:
    for read in (
        lambda: five.publication(0x30, body),
        lambda: five.publication(0x32, memoryview(body)),
        lambda: five.connack(body, of_five),
        lambda: five.puback(body),
        lambda: five.refusal(body, of_five),
        lambda: five.farewell(body),
        lambda: properties.publication(body, 0) if body else None,
    ):
        try:
            read()
        except Malformed:
            continue


@given(st.lists(st.tuples(st.binary(max_size=900), st.binary(max_size=5000)), max_size=60))
def test_user_properties_are_bounded_and_never_malformed(pairs: list[tuple[bytes, bytes]]) -> None:
    _, _, _, _, found = five.publication(*publish(b"".join(user(*pair) for pair in pairs)))
    assert len(found) <= properties.PAIRS_MOST + 1 and (len(found) == len(pairs) or LEFT_OUT in found)
    assert sum(len(n.encode()) + len(v.encode()) for n, v in found.items()) <= properties.BYTES_MOST


def test_what_is_left_out_does_not_take_others_with_it() -> None:
    said = (
        user("a", "x" * 5000)
        + user("b", b"\xff")
        + user("traceparent", TRACE)
        + user("traceparent", "other")
        + user("z", "1")
    )
    *_, found = five.publication(*publish(said))
    assert found == {"traceparent": TRACE, "z": "1", LEFT_OUT: ""}


def test_very_many_properties_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def counting(read: Callable[..., object]) -> Callable[..., object]:
        def counted(*given: object) -> object:
            nonlocal looked
            looked += 1
            return read(*given)

        return counted

    monkeypatch.setattr(properties, "_pair", counting(properties._pair))
    head, body = publish(user("", "") * 600_000, b"payload")
    assert five.publication(head, body)[1::3] == (b"payload", {LEFT_OUT: ""}) and looked == 0
    five.publication(*publish(user("", "") * 3, b"payload"))
    assert looked == 3


def test_none_are_shared() -> None:
    first, second = (Arrived(*publish(b""), 0, 0.0, True) for _ in range(2))
    assert first.properties is second.properties and not first.properties


@pytest.mark.parametrize(
    "inside",
    [
        b"\x23\x00\x01",  # a topic alias
        b"\x11\x00\x00\x00\x01",  # of CONNECT
        b"\x7f",
        b"\x01\x01\x01\x01",  # twice
        b"\x02\x00\x00",
        b"\x26\x00\x05ab",
        b"\x26\x00\x01a",
        b"\x08",
        b"\x0b\x80",
    ],
)
def test_a_wrong_layout_is_malformed(inside: bytes) -> None:
    with pytest.raises(Malformed):
        five.publication(*publish(inside, b""))
    with pytest.raises(Malformed):
        five.publication(*publish(inside, b"payload", qos=1))


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\x00\x00", b"\x00\x01t", b"\x00\x01t\x05\x01", b"\x00\x01t\xff\xff\xff\xff\x01", b"\x00\x09t\x00"],
)
def test_broken_publications_are_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        five.publication(0x30, body)


def test_connect_asks_for_a_session_that_is_kept() -> None:
    told = packets.connect("cau-noi", 30, False, "hub", "mật khẩu", ("s", b"off"), five.session(True, 4096, 1 << 27))
    assert told[2:12] == b"\x00\x04MQTT\x05" + bytes([0xEC, 0, 30])
    assert told[12:28] == b"\x0f\x11\xff\xff\xff\xff" + b"\x21\x10\x00" + b"\x27\x08\x00\x00\x00" + b"\x17\x01"
    assert told[28:].startswith(text("cau-noi") + b"\x00" + text("s") + text("off")), "a will without delay"
    brief = packets.connect("x", 5, True, None, None, None, five.session(False, 10))
    assert brief[9] == 2 and b"\x11" not in brief[12:], "one that ends with its connection"
    longest = packets.PACKET_MOST.to_bytes(4, "big")
    assert b"\x21\xff\xff\x27" + longest in five.session(True, 1_000_000, 4 << 30), "no more than the standard's most"


def test_a_connack_tells_what_is_allowed() -> None:
    inside = b"\x21\x00\x14\x13\x00\x0a\x24\x00\x25\x00\x27\x00\x00\x01\x00\x12\x00\x02id" + user("a", "b")
    code, kept, _, granted = five.connack(b"\x01\x00" + counted(inside))
    assert (code, kept, granted) == (
        0,
        True,
        five.Granted(keepalive_s=10, window=20, qos=0, packet_most=256),
    )
    assert five.connack(b"\x00\x00\x00")[3] == five.EVERYTHING
    assert [granted.beat_s(own) for own in (5, 10, 60)] == [5, 10, 10] and five.EVERYTHING.beat_s(30) == 30
    for body in (b"\x02\x00\x00", b"\x00", b"\x00\x00\x01", b"\x00\x00\x03\x21\x00\x00", b"\x00\x00\x00\x00"):
        with pytest.raises(Malformed):
            five.connack(body)


@pytest.mark.parametrize(
    ("code", "elder", "said"),
    [
        (0x84, 1, "protocol version"),
        (0x85, 2, "Identifier"),
        (0x88, 3, "unavailable"),
        (0x86, 4, "password"),
        (0x87, 5, "Not auth"),
    ],
)
def test_reasons_have_the_words_they_had(code: int, elder: int, said: str) -> None:
    assert five.connack(bytes([0, code, 0]))[2] == packets.REFUSALS[elder] == five.connack(bytes([0, elder]), False)[2]
    assert said in packets.REFUSALS[elder]


def test_the_brokers_own_words_are_shown_short_and_in_one_line() -> None:
    words = b"\x1f" + text("too\nmany " + "x" * 400)
    _, _, reason, _ = five.connack(b"\x00\x97" + counted(words))
    assert reason.startswith("Quota exceeded: too many xxx") and len(reason) < 230
    assert (
        five.farewell(b"\x8e") == "Session taken over"
        and "ended" in five.farewell(b"")
        and "ended" in five.farewell(b"\x00\x00")
    )
    assert five.farewell(b"\xee") == "reason 0xee"


def test_acknowledgements_with_and_without_a_reason() -> None:
    assert five.puback(b"\x00\x05") == (5, 0) and five.puback(b"\x00\x05\x10") == (5, 0x10)
    assert five.puback(b"\x00\x05\x87" + counted(b"\x1f\x00\x02no")) == (5, 0x87)
    assert five.refusal(b"\x00\x01\x00\x01\x00", True) is None
    assert "Not authorized" in str(five.refusal(b"\x00\x01\x00\x01\x87", True)) and five.refusal(b"\x00\x01\x80", False)


def offered(*answers: str) -> list[int]:
    """The versions offered, one after the other, to a broker that answers so; "an hour" passes between two attempts."""
    now = [0.0]
    offer, said = Offer(lambda: now[0]), []
    for answer in answers:
        if answer == "an hour":
            now[0] += 3600.0
            continue
        asked = 5 if offer.next() else 4
        said.append(asked)
        if answer == "refuses" and asked == 5:
            offer.refused()
        elif answer == "hangs up" and asked == 5:
            offer.hung_up()
        elif answer == "is silent" and asked == 5:
            offer.silent()
        elif answer == "takes":
            offer.taken()
    return said


def test_a_broker_that_says_it_has_no_5_is_never_offered_it_again() -> None:
    assert offered("refuses", "takes", "takes", "away", "takes") == [5, 4, 4, 4, 4]


def test_a_broker_that_hangs_up_is_believed_the_second_time() -> None:
    assert offered("hangs up", "takes", "hangs up", "takes", "takes", "takes") == [5, 4, 5, 4, 4, 4]


def test_a_restart_in_the_wrong_moment_costs_one_session_in_5() -> None:
    assert offered("takes", "hangs up", "takes", "takes", "hangs up", "takes", "takes") == [5, 5, 4, 5, 5, 4, 5]
    assert offered("hangs up", "away", "hangs up", "away", "takes") == [5, 4, 5, 4, 5]


def test_a_broker_silent_on_5_costs_its_silence_once_an_hour() -> None:
    assert offered("is silent", "takes", "takes", "away", "takes", "an hour", "is silent", "takes", "takes") == [
        5, 4, 4, 4, 4, 5, 4, 4,
    ]  # fmt: skip


def test_one_that_was_slow_for_once_is_offered_5_again_and_one_that_was_away_at_once() -> None:
    assert offered("is silent", "takes", "an hour", "takes", "takes") == [5, 4, 5, 5]
    assert offered("is silent", "away", "takes", "takes") == [5, 4, 5, 5]
    assert offered("is silent", "away", "hangs up", "takes", "takes") == [5, 4, 5, 4, 5]
