"""Which MQTT is spoken with whom: a session that outlives the change from 3.1.1 to 5 at a real broker, and brokers that have no 5,
hang up on it, or say in 5 what they do not take."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.transports import mqtt
from connectors.transports.mqtt import MqttClient
from connectors.transports.mqtt_outbox import NotTaken
from connectors.transports.mqtt_settings import MqttSettings
from hub.embedded.nats import find_server
from hub.kernel.ports import LEFT_OUT
from tests.contract.connectors import test_mqtt
from tests.contract.connectors.mqtt_wire import Wire, answering
from tests.contract.connectors.test_mqtt import Broker, client, gather, publish, settings, until

broker = test_mqtt.broker
mosquitto = test_mqtt.pytestmark
NATS = find_server()


def elder(port: int, **more: object) -> MqttClient:
    """A client that speaks 3.1.1, as it did before."""
    made = client(port, **more)
    made._offer.refused()
    return made


# -- a real broker


@mosquitto
@pytest.mark.parametrize(("before", "after"), [(elder, client), (client, elder)], ids=["to 5", "back to 3.1.1"])
def test_a_session_outlives_a_change_of_version(
    broker: Broker, before: Callable[..., MqttClient], after: Callable[..., MqttClient]
) -> None:
    async def go() -> None:
        old = before(broker.port)
        await old.start()
        assert await old.connected(5)
        await publish(broker.port, [b"%d" % n for n in range(10)])
        held = await gather(old, 10)
        old.ack(held[:4])
        await until(lambda: old.stats.acked == 4)
        await old.stop()
        await publish(broker.port, [b"%d" % n for n in range(10, 30)])
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        new = after(broker.port)
        new._subscriptions = []  # those of the session are there
        await new.start()
        assert await new.connected(5)
        assert new._link is not None and new._link.five == (after is client)
        found = await gather(new, 26)
        assert sorted(int(a.payload) for a in found) == list(range(4, 30))
        new.ack(found)
        await until(lambda: new.stats.acked == 26)
        await new.stop()

    asyncio.run(go())


@mosquitto
def test_user_properties_arrive_and_others_do_no_harm(broker: Broker) -> None:
    async def go() -> None:
        c = client(broker.port)
        await c.start()
        assert await c.connected(5)

        def say() -> None:
            p = paho.Client(CallbackAPIVersion.VERSION2, client_id="cong-5", protocol=paho.MQTTv5)
            p.username_pw_set("hub", "mat-khau")
            p.connect("127.0.0.1", broker.port)
            p.loop_start()
            full = Properties(PacketTypes.PUBLISH)
            full.UserProperty = [("traceparent", "00-1"), ("Tên", "Trường"), ("traceparent", "00-2")]
            full.ContentType, full.ResponseTopic, full.CorrelationData = "application/json", "t/2", b"\xff"
            full.MessageExpiryInterval, full.PayloadFormatIndicator, full.TopicAlias = 60, 1, 3
            huge = Properties(PacketTypes.PUBLISH)
            huge.UserProperty = [(f"p{n}", "x" * 300) for n in range(40)]
            for payload, properties in ((b"full", full), (b"huge", huge), (b"none", None)):
                p.publish("t/1", payload, 1, properties=properties).wait_for_publish(5)
            p.disconnect()
            p.loop_stop()

        await asyncio.to_thread(say)
        got = {a.payload: a.properties for a in await gather(c, 3)}
        assert got[b"full"] == {"traceparent": "00-1", "Tên": "Trường", LEFT_OUT: ""} and got[b"none"] == {}
        assert 1 < len(got[b"huge"]) <= 33 and LEFT_OUT in got[b"huge"]
        await c.stop()

    asyncio.run(go())


@mosquitto
def test_a_small_window_carries_everything_over_many_connections(broker: Broker) -> None:
    async def go() -> None:
        c = client(broker.port, capacity=16)
        await c.start()
        assert await c.connected(5)
        sending = asyncio.create_task(publish(broker.port, [b"%d" % n for n in range(1500)]))
        seen: set[bytes] = set()
        async with asyncio.timeout(30):
            while len(seen) < 1500:
                batch = await c.batch(7)
                seen |= {a.payload for a in batch}
                c.ack(batch)
                if c._link is not None and c.stats.generation < len(seen) // 300:
                    c._link.abort("cut off")
        await sending
        assert c.stats.generation >= 1
        await c.stop()

    asyncio.run(go())


@mosquitto
def test_a_publication_too_long_for_the_queue_does_not_keep_the_session_from_standing(broker: Broker) -> None:
    async def go() -> None:
        first = client(broker.port)
        await first.start()
        assert await first.connected(5)
        await first.stop()
        await publish(broker.port, [b"before", bytes(70_000), b"behind"])
        c = client(broker.port, capacity_bytes=1 << 16)
        await c.start()
        assert [a.payload for a in await gather(c, 2, 5)] == [b"before", b"behind"]
        await publish(broker.port, [bytes(70_000), b"last"])
        assert [a.payload for a in await gather(c, 1, 5)] == [b"last"]
        assert c.stats.connected and c.stats.generation == 0
        await c.stop()

    asyncio.run(go())


@pytest.mark.skipif(NATS is None, reason="nats-server is not installed")
def test_the_stand_in_is_spoken_to_in_3_1_1(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (tmp_path / "nats.conf").write_text(
        f'server_name: one\nlisten: "127.0.0.1:-1"\njetstream {{ store_dir: "{tmp_path}" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{port}" }}\n'
    )
    server = subprocess.Popen(
        [str(NATS), "-c", str(tmp_path / "nats.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    async def go() -> None:
        c = MqttClient(settings(port, username=None), subscriptions=[("t/#", 1)])
        await c.start()
        assert await c.connected(15)
        assert c._link is not None and not c._link.five
        assert await c.confirmed(c.publish("t/1", b"x", 1) or 0, 5)
        (arrived,) = await gather(c, 1)
        assert (arrived.payload, arrived.properties) == (b"x", {})
        c.ack([arrived])
        c._link.abort()
        await until(lambda: c.stats.generation == 1 and c.stats.connected)
        assert not c._offer.next(), "it is not offered 5 again"
        await c.stop()

    try:
        asyncio.run(go())
    finally:
        server.terminate()
        server.wait(10)


# -- a broker of the test's own


def plain(port: int) -> MqttClient:
    return MqttClient(MqttSettings(host="127.0.0.1", port=port, client_id="ra-1", keepalive_s=5), persistent=False)


SHORT, LONG = b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"


@pytest.mark.parametrize(
    "no", [SHORT, LONG, b"\x20\x02\x00\x00", b""], ids=["3.1.1's", "5's", "a yes in 3.1.1's form", "hangs up"]
)
def test_a_broker_without_5_is_spoken_to_in_3_1_1(no: bytes) -> None:
    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            if level == 5:
                wire.write(no)
                return
            wire.write(b"\x20\x02\x00\x00")
            if len(levels) < 6:
                return  # ended: the client comes back
            await wire.packet()

        async with answering(serve) as (port, levels):
            c = plain(port)
            await c.start()
            assert await c.connected(2, patient=False), "the other version is tried before anybody is told of a refusal"
            await until(lambda: len(levels) == 6)
            assert levels == ([5, 4, 5, 4, 4, 4] if no == b"" else [5, 4, 4, 4, 4, 4])
            await c.stop()

    asyncio.run(go())


def test_a_broker_that_refuses_both_is_not_asked_without_end() -> None:
    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(LONG if level == 5 else b"\x20\x02\x00\x84")

        async with answering(serve) as (port, levels):
            c = plain(port)
            await c.start()
            assert not await c.connected(0.6)
            assert 2 <= len(levels) <= 4 and levels[:2] == [5, 4]
            await c.stop()

    asyncio.run(go())


def test_a_broker_that_never_answers_5_is_spoken_to_in_3_1_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_CONNECT_S", 0.3)

    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            if level == 4:
                wire.write(b"\x20\x02\x00\x00")
                if len(levels) == 5:
                    await wire.packet()
                return
            await asyncio.sleep(5)

        async with answering(serve) as (port, levels):
            c = plain(port)
            await c.start()
            await until(lambda: len(levels) == 5)
            assert levels == [5, 4, 4, 4, 4], "one silence is waited for, not two"
            await c.stop()

    asyncio.run(go())


def test_a_broker_that_answers_neither_is_not_asked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_CONNECT_S", 0.1)

    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            await asyncio.sleep(5)

        async with answering(serve) as (port, levels):
            c = plain(port)
            await c.start()
            assert not await c.connected(0.9)
            assert 2 <= len(levels) <= 6 and levels[:2] == [5, 4]
            await c.stop()

    asyncio.run(go())


def test_what_a_puback_says_of_a_publication() -> None:
    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(b"\x20\x03\x00\x00\x00")
            for reason in (b"", b"\x10", b"\x10\x00", b"\x87", b"\x95\x05\x1f\x00\x02no"):
                mid, _ = await wire.publication()
                wire.write(bytes([0x40, 2 + len(reason)]) + mid + reason)
            await wire.packet()

        async with answering(serve) as (port, _):
            c = plain(port)
            await c.start()
            assert await c.connected(2)
            for _ in range(3):
                assert await c.confirmed(c.publish("t", b"x", 1) or 0, 2)
            for words in ("Not authorized", "Packet too large"):
                with pytest.raises(NotTaken, match=words):
                    await c.confirmed(c.publish("t", b"x", 1) or 0, 2)
            await c.stop()

    asyncio.run(go())


def test_what_did_not_get_its_turn_was_not_sent_and_what_was_written_is_in_doubt() -> None:
    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(b"\x20\x06\x00\x00\x03\x21\x00\x01")
            for _ in range(3):
                written.append((await wire.publication())[1])

        written: list[bytes] = []
        async with answering(serve) as (port, _):
            c = plain(port)
            await c.start()
            assert await c.connected(2)
            first, second, third = (c.publish("t", payload, 1) or 0 for payload in (b"1", b"2", b"3"))
            with pytest.raises(NotTaken):
                await c.confirmed(second, 0.1)
            assert c._link is not None
            c._link.abort()
            assert not await c.confirmed(first, 2)
            with pytest.raises(NotTaken):
                await c.confirmed(third, 2)
            await c.stop()
        assert written == [b"1"]

    asyncio.run(go())


def test_no_more_is_sent_than_the_broker_takes() -> None:
    """Receive Maximum 2, packets of at most 40 bytes, a beat every second."""
    seen: list[bytes] = []

    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            inside = b"\x21\x00\x02\x27\x00\x00\x00\x28\x13\x00\x01"
            wire.write(b"\x20" + bytes([3 + len(inside)]) + b"\x00\x00" + bytes([len(inside)]) + inside)
            open_: list[bytes] = []
            while len(seen) < 5:
                async with asyncio.timeout(0.3):
                    mid, payload = await wire.publication()
                open_.append(mid)
                seen.append(payload)
                if len(open_) == 2:
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.1):
                            seen.append((await wire.publication())[1])
                    wire.write(b"\x40\x02" + open_.pop(0))
            for mid in open_:
                wire.write(b"\x40\x02" + mid)
            kind, _ = await wire.packet()
            assert kind == 12, "a beat, at the broker's own time"
            seen.append(b"beat")
            await wire.packet()

        async with answering(serve) as (port, _):
            c = plain(port)
            await c.start()
            assert await c.connected(2)
            assert c.publish("t", bytes(60)) is None
            with pytest.raises(NotTaken, match="too large"):
                await c.confirmed(c.publish("t", bytes(60), 1) or 0, 2)
            mids = [c.publish("t", b"%d" % n, 1) for n in range(5)]
            assert all(await asyncio.gather(*(c.confirmed(mid or 0, 5) for mid in mids)))
            await until(lambda: len(seen) == 6)
            await c.stop()

    asyncio.run(go())
    assert seen == [b"0", b"1", b"2", b"3", b"4", b"beat"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"\xe0\x02\x8e\x00", "Session taken over"),
        (b"\xe0\x01\x8b", "Server shutting down"),
        (b"\xe0\x00", "the broker ended the session"),
        (b"\x30\x07\x00\x00\x03\x23\x00\x01x", "alias"),
        (b"\x30\x08\x00\x01t\x03\x23\x00\x01x", "property 35"),
        (b"\xf0\x00", "kind 15"),
    ],
)
def test_how_a_session_ended_is_told(said: bytes, told: str) -> None:
    async def go() -> None:
        ways = iter([said])

        async def serve(wire: Wire, level: int) -> None:
            wire.write(b"\x20\x03\x00\x00\x00" + next(ways, b""))
            await wire.packet()

        async with answering(serve) as (port, levels):
            c = plain(port)
            reasons: list[str | None] = []
            over = c._over
            c._over = lambda link, reason: (reasons.append(reason), over(link, reason))  # type: ignore[assignment, func-returns-value]
            await c.start()
            await until(lambda: len(levels) == 2)
            assert told in str(reasons[0]) and levels == [5, 5], "it comes back, and in the same version"
            await c.stop()

    asyncio.run(go())
