"""The embedded Redis and both MQTT brokers, for real."""

from __future__ import annotations

import asyncio
import os
import queue
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import redis

from connectors.address import AddressPolicy
from connectors.transports.base import Request
from connectors.transports.mqtt_publish import MqttTransport
from connectors.transports.mqtt_settings import MqttSettings
from hub.broker_keeper import commands_user, probe_user
from hub.embedded import mosquitto, nats
from hub.embedded import redis as embedded_redis
from hub.embedded.area import Area, open_area
from hub.embedded.broker import Broker, BrokerUser, choose_broker, lets_in
from hub.embedded.process import free_port
from hub.embedded.supervisor import Supervisor
from hub.keys import Keys

BRIDGE = BrokerUser("bridge", "bridge-secret", ["#"], ["#"])


def gate(name: str, secret: str = "gate-secret") -> BrokerUser:
    mine = f"campus/v1/s1/{name}"
    return BrokerUser(name, secret, [f"{mine}/cmd", "campus/v1/STATE"], [f"{mine}/evt"])


def supervised(data_dir: Path, spec: Any, body: Callable[[Supervisor], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Supervisor(data_dir) as supervisor:
            await supervisor.add(spec, wait=True)
            await body(supervisor)

    asyncio.run(run())


@pytest.mark.parametrize("bundled", [False, True])
def test_redis_has_no_scripts_no_tcp_and_no_root(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, bundled: bool
) -> None:
    if bundled:
        monkeypatch.setattr(embedded_redis.shutil, "which", lambda *a, **k: None)
    area = open_area(data_dir)
    server = embedded_redis.EmbeddedRedis(area, max_memory_mb=32)
    server.prepare()

    async def body(supervisor: Supervisor) -> None:
        client = redis.Redis.from_url(server.url)
        client.set("a", "1")
        assert client.get("a") == b"1"
        assert client.info("server")["tcp_port"] == 0
        for command in (
            ("EVAL", "return 1", "0"),
            ("SCRIPT", "LOAD", "return 1"),
            ("FUNCTION", "LIST"),
            ("CONFIG", "GET", "*"),
        ):
            with pytest.raises(redis.ResponseError):
                client.execute_command(*command)
        client.close()
        pid = supervisor.pid("redis")
        owner = Path(f"/proc/{pid}").stat().st_uid
        assert owner == (area.identity[0] if area.identity else os.geteuid())
        assert owner != 0

    supervised(data_dir, server.spec(), body)
    supervised(data_dir, server.spec(), body)  # also beside what the first left


def test_the_systems_redis_comes_before_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "redis-server"
    system.write_text("#!/bin/sh\n")
    system.chmod(0o755)
    inside = Path(os.sys.prefix) / "bin"  # type: ignore[attr-defined]
    monkeypatch.setenv("PATH", f"{inside}:{tmp_path}")
    assert embedded_redis.find_server() == system


class Client:
    """A paho client that waits for what it asked."""

    def __init__(self, broker: Broker, user: BrokerUser, secret: str | None = None, session: str | None = None) -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=session or user.name, clean_session=session is None
        )
        self.client.username_pw_set(user.name, user.secret if secret is None else secret)
        self.client.on_connect = lambda c, u, flags, reason, p: self.events.put(("connect", reason.is_failure))
        self.client.on_disconnect = lambda *a: self.events.put(("disconnect", None))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.events.put(("subscribe", reasons[0].is_failure))
        self.client.on_publish = lambda *a: self.events.put(("publish", None))
        self.client.on_message = lambda c, u, m: self.messages.put((m.topic, m.payload))
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        self.refused = bool(self.event("connect"))

    def event(self, kind: str) -> Any:
        while True:
            found, value = self.events.get(timeout=5)
            if found == kind:
                return value

    def subscribe(self, topic: str) -> bool:
        self.client.subscribe(topic, 1)
        return not self.event("subscribe")

    def publish(self, topic: str, payload: bytes) -> None:
        self.client.publish(topic, payload, 1)
        self.event("publish")

    def got(self, timeout: float = 3) -> tuple[str, bytes] | None:
        try:
            return self.messages.get(timeout=timeout)
        except queue.Empty:
            return None

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def client(*args: Any, **kwargs: Any) -> Iterator[Client]:
    made = Client(*args, **kwargs)
    try:
        yield made
    finally:
        made.close()


def make(kind: str, area: Area) -> Broker:
    maker: Any = mosquitto.Mosquitto if kind == "mosquitto" else nats.Nats
    if kind == "mosquitto" and mosquitto.find_server() is None:
        pytest.skip("mosquitto is not installed here; the stand-in is tested")
    broker: Broker = maker(area, port=free_port(), bridge=BRIDGE)
    broker.write_config()
    return broker


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_devices_do_what_they_may_and_no_more(data_dir: Path, kind: str) -> None:
    area = open_area(data_dir)
    broker = make(kind, area)
    g1, g2 = gate("g1"), gate("g2", "another-secret")
    broker.set_devices([g1])

    async def body(supervisor: Supervisor) -> None:
        pid = supervisor.pid("mqtt")
        assert pid is not None
        assert Path(f"/proc/{pid}").stat().st_uid == (area.identity[0] if area.identity else os.geteuid())
        await asyncio.to_thread(rights, pid)

    def rights(pid: int) -> None:
        with client(broker, BRIDGE) as bridge, client(broker, g1) as one:
            assert bridge.subscribe("campus/#")
            one.publish("campus/v1/s1/g1/evt", b"mine")
            assert bridge.got() == ("campus/v1/s1/g1/evt", b"mine")
            one.client.publish("campus/v1/s1/g2/evt", b"as another", 1)
            assert bridge.got(0.5) is None
            one.subscribe("campus/#")
            one.subscribe("campus/v1/s1/g2/cmd")
            bridge.publish("campus/v1/s1/g2/cmd", b"not yours")
            assert bridge.got() == ("campus/v1/s1/g2/cmd", b"not yours")
            assert one.got(0.5) is None
        with client(broker, g1) as one, client(broker, BRIDGE) as bridge:
            assert one.subscribe("campus/v1/s1/g1/cmd")
            bridge.publish("campus/v1/s1/g1/cmd", b"yours")
            assert one.got() == ("campus/v1/s1/g1/cmd", b"yours")
        for user, secret in ((g1, "wrong-secret"), (g2, None), (BrokerUser("", ""), None)):
            with client(broker, user, secret, session="probe") as refused:
                assert refused.refused
        broker.set_devices([g1, g2], pid)
        for _ in range(20):  # the signal is taken when the broker gets to it
            with client(broker, g2, session="probe") as two:
                if not two.refused:
                    break
        else:
            raise AssertionError("a new device is not let in")
        broker.set_devices([g2], pid)
        for _ in range(20):
            with client(broker, g1, session="probe") as gone:
                if gone.refused:
                    break
        else:
            raise AssertionError("a removed device is still let in")

    supervised(data_dir, broker.spec(), body)


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_trying_the_commands_account_leaves_its_session_alone(data_dir: Path, kind: str) -> None:
    """The worker's session at the hub's own broker, as it is configured, while another process tries the connector."""
    broker = make(kind, open_area(data_dir))
    keys = Keys(bytes(range(32)))
    commands, probe = commands_user(keys), probe_user(keys)
    broker.set_devices([commands, probe])

    async def body(_: Supervisor) -> None:
        settings = MqttSettings(
            host=broker.host, port=broker.port, username=commands.name, client_id="people", answers="mqtt/face/+/Ack"
        )

        def made() -> MqttTransport:
            return MqttTransport(settings, AddressPolicy(["127.0.0.0/8"]), password=commands.secret, connect_s=5)

        worker, console = made(), made()
        told = Request(method="PUBLISH", url="mqtt/face/g1", body=b"a command")
        assert (await worker.exchange(told, 10)).status == 200
        session = worker._client
        assert session is not None
        for _ in range(3):
            await console.reach(5)
        await asyncio.sleep(0.3)
        assert session.stats.connected and session.stats.generation == 0
        await console.close()
        await worker.close()
        await asyncio.to_thread(powerless)

    def powerless() -> None:
        with client(broker, BRIDGE) as bridge, client(broker, probe) as one:
            assert bridge.subscribe("mqtt/#")
            one.client.publish("mqtt/face/g1", b"as the hub", 1)
            assert bridge.got(0.7) is None
            one.subscribe("mqtt/face/+/Ack")
            bridge.publish("mqtt/face/g1/Ack", b"not for it")
            assert bridge.got() == ("mqtt/face/g1/Ack", b"not for it")
            assert one.got(0.5) is None

    supervised(data_dir, broker.spec(), body)


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_a_broker_shows_by_a_sign_in_that_it_goes_by_its_users(data_dir: Path, kind: str) -> None:
    """What the keeper asks after it has told them: a user nobody had before is let in once they count, and not before."""
    broker = make(kind, open_area(data_dir))

    async def body(supervisor: Supervisor) -> None:
        async def admitted(secret: str) -> bool:
            return await lets_in(broker.host, broker.port, BrokerUser("lt-keeper", secret), 5)

        assert not await admitted("the first word")
        for secret, before in (("the first word", "nobody's word"), ("the second word", "the first word")):
            broker.set_devices([gate("g1"), BrokerUser("lt-keeper", secret)], supervisor.pid("mqtt"))
            async with asyncio.timeout(10):
                while not await admitted(secret):
                    await asyncio.sleep(0.1)
            assert not await admitted(before)
        assert not await lets_in(broker.host, free_port(), BrokerUser("lt-keeper", secret), 5), "nobody is there"

    supervised(data_dir, broker.spec(), body)


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_what_waits_for_the_bridge_outlives_a_restart(data_dir: Path, kind: str) -> None:
    broker = make(kind, open_area(data_dir))
    broker.set_devices([gate("g1")])

    async def body(supervisor: Supervisor) -> None:
        def before() -> None:
            with client(broker, BRIDGE, session="bridge-1") as bridge:
                assert bridge.subscribe("campus/#")
            with client(broker, gate("g1")) as one:
                one.publish("campus/v1/s1/g1/evt", b"kept")

        def after() -> None:
            with client(broker, BRIDGE, session="bridge-1") as bridge:
                assert bridge.got(5) == ("campus/v1/s1/g1/evt", b"kept")

        await asyncio.to_thread(before)
        await supervisor.restart("mqtt")
        await asyncio.to_thread(after)

    supervised(data_dir, broker.spec(), body)


def test_mosquitto_is_chosen_and_the_stand_in_says_so(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    area = open_area(data_dir)
    if mosquitto.find_server() is not None:
        assert choose_broker(area, port=1, bridge=BRIDGE).warning is None
    monkeypatch.setattr(mosquitto, "find_server", lambda: None)
    chosen = choose_broker(area, port=1, bridge=BRIDGE)
    assert chosen.name == "nats"
    assert chosen.warning is not None
