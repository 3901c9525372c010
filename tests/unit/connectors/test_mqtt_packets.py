"""MQTT's packets: whatever the pieces bytes come in, the same packets come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transports import mqtt_packets as packets
from connectors.transports.mqtt_packets import Malformed, Packets

topics = st.text(st.characters(blacklist_characters="+#\x00", blacklist_categories=["Cs"]), min_size=1, max_size=40)
sent = st.tuples(
    topics, st.binary(max_size=400) | st.integers(120, 20_000).map(bytes), st.integers(0, 1), st.integers(1, 65_535)
)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(stream[at : at + size])
        at += size
    return [*pieces, stream[at:]]


@given(st.lists(sent, max_size=8), st.lists(st.integers(0, 9_000), max_size=40))
def test_publications_survive_any_cutting(publications: list[tuple[str, bytes, int, int]], sizes: list[int]) -> None:
    stream = b"".join(packets.publish(t, p, q, m) for t, p, q, m in publications)
    reader = Packets()
    found = [packet for piece in cut(stream, sizes) for packet in reader.feed(piece)]
    read = [packets.publication(head, body) for head, body in found]
    assert read == [(t, p, q, m if q else 0) for t, p, q, m in publications]
    assert all(type(payload) is bytes for _, payload, _, _ in read)


@given(st.binary(max_size=300), st.lists(st.integers(0, 20), max_size=40))
def test_any_bytes_are_packets_or_malformed(stream: bytes, sizes: list[int]) -> None:
    reader = Packets(100_000)
    try:
        for piece in cut(stream, sizes):
            for head, body in reader.feed(piece):
                packets.publication(head, body)
    except Malformed:
        return


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_lengths_at_their_borders(size: int) -> None:
    (found,) = Packets().feed(packets.publish("t", bytes(size)))
    assert packets.publication(*found) == ("t", bytes(size), 0, 0)


@pytest.mark.parametrize("stream", [b"\x30\xff\xff\xff\xff\x01", b"\x30\x80\x80\x80\x80"])
def test_a_length_of_five_bytes_is_refused(stream: bytes) -> None:
    with pytest.raises(Malformed):
        Packets().feed(stream)


@pytest.mark.parametrize(
    ("head", "body"),
    [(0x30, b""), (0x30, b"\x00"), (0x30, b"\x00\x05ab"), (0x32, b"\x00\x01a\x00"), (0x34, b"\x00\x01a\x00\x01")],
)
def test_broken_publications_are_refused(head: int, body: bytes) -> None:
    with pytest.raises(Malformed):
        packets.publication(head, body)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\x00b", "x" * 65_536])
def test_what_cannot_be_a_topic_is_not_published(topic: str) -> None:
    with pytest.raises(ValueError):
        packets.publish(topic, b"")


def test_a_packet_larger_than_allowed_is_refused_before_room_is_made_for_it() -> None:
    with pytest.raises(Malformed):
        Packets(1000).feed(packets.publish("t", bytes(1001))[:5])


def test_a_topic_that_is_not_utf8_becomes_nobodys() -> None:
    assert packets.publication(0x30, b"\x00\x02\xff\xfex") == ("\ufffd", b"x", 0, 0)


def test_connect_says_who_and_how() -> None:
    told = packets.connect("cau-noi", 30, False, "hub", "mật khẩu")
    assert told[:2] == bytes([0x10, len(told) - 2]) and told[2:8] == b"\x00\x04MQTT"
    assert told[8:12] == bytes([4, 0xC0, 0, 30]) and told.endswith("mật khẩu".encode())
    assert packets.connect("x", 5, True, None, None)[9] == 2
