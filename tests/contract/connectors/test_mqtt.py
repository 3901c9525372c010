"""What the MQTT client promises, against a real broker and in both versions: nothing lost, PUBACKs in order, no
acknowledgement of another connection."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.errors import AddressRefused, CredentialsRefused
from connectors.settings import validate
from connectors.transports.mqtt import MqttClient
from connectors.transports.mqtt_offer import Offer
from connectors.transports.mqtt_publish import MqttTransport
from connectors.transports.mqtt_settings import MqttSettings
from connectors.transports.mqtt_shapes import Arrived
from hub.kernel.ports import COMMANDS_USER, PROBE, Call, NotSent

_BROKER = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = pytest.mark.skipif(_BROKER is None, reason="needs mosquitto")


@pytest.fixture(autouse=True, params=["5", "3.1.1"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the clients of a test speak."""
    if request.param != "5":
        monkeypatch.setattr(Offer, "next", lambda _: False)
    return str(request.param)


class Broker:
    """Mosquitto as a child, with its data kept over restarts."""

    def __init__(
        self, folder: Path, *more: str, users: Sequence[str] = ("hub", COMMANDS_USER, COMMANDS_USER + PROBE)
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        passwords = folder / "passwords"
        passwords.touch(0o600)
        for name in users:
            subprocess.run(
                ["mosquitto_passwd", "-b", str(passwords), name, "mat-khau"], check=True, capture_output=True
            )
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"persistence true\npersistence_location {folder}/\nmax_inflight_messages 50\nmax_queued_messages 0\n"
            "user root\n" + "".join(f"{line}\n" for line in more)
        )
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert _BROKER is not None
        self._child = subprocess.Popen(
            [_BROKER, "-c", str(self._conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("the broker does not answer")

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(10)
            self._child = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    b = Broker(tmp_path)
    b.start()
    yield b
    b.stop()


def settings(port: int, **more: object) -> MqttSettings:
    base = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "username": "hub", "client_id": "cau-noi-1"}
    return MqttSettings.model_validate({**base, **more})


def client(port: int, **more: object) -> MqttClient:
    return MqttClient(
        settings(port, **more), password="mat-khau", subscriptions=[("t/#", 1)], redeliver_gap_s=0.3, patience_s=0.2
    )


async def gather(c: MqttClient, count: int, timeout_s: float = 15.0) -> list[Arrived]:
    got: list[Arrived] = []
    async with asyncio.timeout(timeout_s):
        while len(got) < count:
            got += await c.batch(64)
    return got


async def until(true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.02)


async def publish(port: int, payloads: list[bytes], qos: int = 1) -> None:
    def go() -> None:
        p = paho.Client(CallbackAPIVersion.VERSION2, client_id="cong-truong")
        p.username_pw_set("hub", "mat-khau")
        p.max_inflight_messages_set(1000)
        p.connect("127.0.0.1", port)
        p.loop_start()
        infos = [p.publish("t/1", payload, qos) for payload in payloads]
        for info in infos:
            info.wait_for_publish(10)
        p.disconnect()
        p.loop_stop()

    await asyncio.to_thread(go)


def test_unacknowledged_publications_come_again_and_acknowledged_ones_do_not(broker: Broker) -> None:
    async def go() -> None:
        c = client(broker.port)
        await c.start()
        assert await c.connected(5)
        await publish(broker.port, [b"%d" % n for n in range(20)])
        first = await gather(c, 20)
        assert [a.payload for a in first] == [b"%d" % n for n in range(20)]
        assert c.ack(first[:12]) == 0
        await c.stop()
        assert c.ack(first[12:]) == 8  # nobody is connected: these stay with the broker
        again = client(broker.port)
        await again.start()
        back = await gather(again, 8)
        assert [a.payload for a in back] == [b"%d" % n for n in range(12, 20)] and all(a.dup for a in back)
        again.ack(back)
        await until(lambda: again.stats.acked == 8)
        await again.stop()
        last = client(broker.port)
        await last.start()
        assert await last.connected(5)
        with pytest.raises(TimeoutError):
            await gather(last, 1, 0.5)
        await last.stop()

    asyncio.run(go())


def test_pubacks_leave_in_arrival_order_over_batches(broker: Broker) -> None:
    async def go() -> None:
        c = client(broker.port)
        await c.start()
        assert await c.connected(5)
        sent: list[int] = []
        link = c._link
        assert link is not None
        link.write = (
            lambda data: sent.extend(  # type: ignore[method-assign]
                int.from_bytes(data[at + 2 : at + 4], "big") for at in range(0, len(data), 4)
            )
        )
        await publish(broker.port, [b"%d" % n for n in range(9)])
        got = await gather(c, 9)
        c.ack(got[6:])
        c.ack(got[3:6])
        assert sent == []
        c.ack(got[:3])
        assert sent == [a.mid for a in got]
        await c.stop()

    asyncio.run(go())


def test_acknowledgements_of_an_ended_connection_are_thrown_away(broker: Broker) -> None:
    async def go() -> None:
        c = client(broker.port)
        await c.start()
        assert await c.connected(5)
        await publish(broker.port, [b"a", b"b"])
        old = await gather(c, 2)
        before = c.stats.generation
        await asyncio.to_thread(broker.stop)
        await until(lambda: c.stats.generation > before)
        assert c.ack(old) == 2
        await asyncio.to_thread(broker.start)
        back = await gather(c, 2)
        assert [a.payload for a in back] == [b"a", b"b"] and back[0].generation > before
        assert c.ack(back) == 0
        stats = c.stats
        assert stats.stale_acks == 2 and stats.acked == 2
        await c.stop()

    asyncio.run(go())


def test_a_full_queue_loses_nothing_of_qos_1(broker: Broker, version: str) -> None:
    async def go() -> None:
        c = client(broker.port, capacity=10)
        await c.start()
        assert await c.connected(5)
        sent = [b"%d" % n for n in range(40)]
        await publish(broker.port, sent[:10])
        await publish(broker.port, sent[10:])
        await publish(broker.port, [b"0"], qos=0)
        # In 5 the broker knows what the queue holds and keeps the others itself; in 3.1.1 they are shed and come again.
        kept_back = 30 if version == "5" else 0
        await until(lambda: c.stats.received >= 41 - kept_back)
        stats = c.stats
        assert stats.lost == 1
        # What arrives in one piece with the last that fits is kept: how much that is, is the network's doing.
        assert stats.shed + stats.queued == 40 - kept_back and stats.queued >= 10
        seen: set[bytes] = set()
        async with asyncio.timeout(40):
            while len(seen) < 40:
                batch = await c.batch(4)
                seen |= {a.payload for a in batch}
                c.ack(batch)
        assert seen == set(sent)
        await c.stop()

    asyncio.run(go())


def test_a_short_stop_waits_at_the_broker_and_sheds_nothing(broker: Broker) -> None:
    async def go() -> None:
        c = MqttClient(
            settings(broker.port, capacity=10), password="mat-khau", subscriptions=[("t/#", 1)], patience_s=5
        )
        await c.start()
        assert await c.connected(5)
        await publish(broker.port, [b"%d" % n for n in range(10)])
        await until(lambda: c.stats.received == 10)
        await publish(broker.port, [b"%d" % n for n in range(10, 40)])
        await publish(broker.port, [b"40"], qos=0)
        await asyncio.sleep(0.2)
        assert c.stats.received == 10
        seen: list[bytes] = []
        async with asyncio.timeout(10):
            while len(seen) < 41:
                batch = await c.batch(4)
                seen += [a.payload for a in batch]
                c.ack(batch)
        assert sorted(seen) == sorted(b"%d" % n for n in range(41)) and c.stats.generation == 0
        assert c.stats.shed == c.stats.lost == 0
        await c.stop()

    asyncio.run(go())


def test_a_flood_comes_in_few_batches_and_sheds_nothing(broker: Broker) -> None:
    async def go() -> None:
        c = client(broker.port, capacity=20000)
        await c.start()
        assert await c.connected(5)
        flood = asyncio.create_task(publish(broker.port, [b"x" * 300] * 3000))
        got = batches = 0
        async with asyncio.timeout(30):
            while got < 3000:
                batch = await c.batch(500, 0.02)
                c.ack(batch)
                got += len(batch)
                batches += 1
        await flood
        assert batches < 1000 and c.stats.shed == 0
        await c.stop()

    asyncio.run(go())


def test_a_connector_publishes_and_takes_the_puback_as_reply(broker: Broker) -> None:
    def made(port: int, policy: AddressPolicy, password: str = "mat-khau") -> object:
        return build(
            validate(
                {
                    "name": "ra",
                    "system": "kho",
                    "transport": {**settings(port).model_dump(), "client_id": "ra-1"},
                    "policy": {"timeouts": {"connect_s": 2}},
                }
            ),
            {"mqtt_password": password},
            policy,
        )

    def call(topic: str) -> Call:
        return Call(
            operation="o", deliveries=(1,), body=b"{}", content_type="application/json", idempotent=True, path=topic
        )

    async def go() -> None:
        local = AddressPolicy(["127.0.0.0/8"])
        listener = client(broker.port)
        await listener.start()
        assert await listener.connected(5)
        c = made(broker.port, local)
        assert (await c.send(call("t/ra"), 5)).status == 200
        assert (await gather(listener, 1))[0].topic == "t/ra"
        with pytest.raises(NotSent):
            await c.send(call("t/+"), 5)
        assert (await c.probe(3)).ok
        await c.close()
        await listener.stop()
        wrong = made(broker.port, local, "sai")
        with pytest.raises(CredentialsRefused):
            await wrong.send(call("t/ra"), 3)
        await wrong.close()
        inward = made(broker.port, AddressPolicy())
        with pytest.raises(AddressRefused):
            await inward.send(call("t/ra"), 3)
        await inward.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("user", "more"),
    [("hub", []), (COMMANDS_USER, []), (COMMANDS_USER, ["use_username_as_clientid true"])],
    ids=["by its client id", "the hub's own account", "by its user name"],
)
def test_a_probe_leaves_the_session_of_another_process_alone(tmp_path: Path, user: str, more: list[str]) -> None:
    broker = Broker(tmp_path, *more)

    async def go() -> None:
        standing = client(broker.port, username=user)
        await standing.start()
        assert await standing.connected(5)
        before = standing.stats.generation
        policy = AddressPolicy(["127.0.0.0/8"])
        prober = MqttTransport(settings(broker.port, username=user), policy, password="mat-khau", connect_s=3)
        for _ in range(3):
            await prober.reach(3)
        await prober.close()
        await asyncio.sleep(0.3)
        assert standing.stats.connected and standing.stats.generation == before
        await standing.stop()

    broker.start()
    try:
        asyncio.run(go())
    finally:
        broker.stop()


def test_a_probe_says_which_account_a_broker_was_not_told_of(tmp_path: Path) -> None:
    """It must not sign in as the user itself: where that is the session's name, it would end the worker's."""
    broker = Broker(tmp_path, "use_username_as_clientid true", users=[COMMANDS_USER])

    async def go() -> None:
        standing = client(broker.port, username=COMMANDS_USER)
        await standing.start()
        assert await standing.connected(5)
        before = standing.stats.generation
        policy = AddressPolicy(["127.0.0.0/8"])
        prober = MqttTransport(settings(broker.port, username=COMMANDS_USER), policy, password="mat-khau", connect_s=3)
        with pytest.raises(CredentialsRefused, match=COMMANDS_USER + PROBE):
            await prober.reach(3)
        await prober.close()
        assert standing.stats.connected and standing.stats.generation == before
        await standing.stop()

    broker.start()
    try:
        asyncio.run(go())
    finally:
        broker.stop()
