"""Real Mosquitto with the hub's own certificate: who is let in, what a gate may do, and what a reload leaves alone."""

from __future__ import annotations

import asyncio
import queue
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paho.mqtt.client as paho
import pytest

from hub.broker_keeper import BrokerKeeper
from hub.embedded import mosquitto
from hub.embedded.area import open_area, remove_area
from hub.embedded.authority import SERVER_LIFE, Authority
from hub.embedded.broker import BrokerLimits, BrokerUser, Tls
from hub.embedded.process import free_port
from hub.embedded.supervisor import Supervisor
from hub.gate_topics import gate_topics
from hub.kernel.ledger import parties
from hub.keys import Keys

pytestmark = pytest.mark.skipif(mosquitto.find_server() is None, reason="mosquitto is not installed")

BRIDGE = BrokerUser(
    "bridge", "bridge-secret",
    ["mqtt/#", "campus/#", "/topic/detected/+", "topic/face/capture/request/+"],
    ["mqtt/#", "campus/#", "topic/face/capture/response/+"],
)  # fmt: skip


def gate(name: str, family: str, school: str = "S1") -> BrokerUser:
    topics = gate_topics(name, family, school)
    assert topics is not None
    return BrokerUser(name, f"secret-of-{name}", *topics)


GATES = [
    gate("F1", "face_mqtt"),
    gate("F2", "face_mqtt"),
    gate("N1", "native"),
    gate("N2", "native", "S2"),
    gate("H1", "hanet"),
]


class Client:
    """A paho client over TLS that waits for what it asked."""

    def __init__(self, port: int, ca: Path, user: BrokerUser, secret: str | None = None, session: str = "") -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.subscribed: queue.Queue[Any] = queue.Queue()
        self.connects: queue.Queue[bool] = queue.Queue()
        self.published: queue.Queue[int] = queue.Queue()
        self.gone: queue.Queue[Any] = queue.Queue()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=session or user.name)
        self.client.username_pw_set(user.name, secret or user.secret)
        context = ssl.create_default_context(cafile=str(ca))
        self.client.tls_set_context(context)
        self.client.on_connect = lambda c, u, f, reason, p: self.connects.put(reason.is_failure)
        self.client.on_disconnect = lambda c, u, f, reason, p: self.gone.put(reason)
        self.client.on_subscribe = lambda c, u, m, reasons, p: self.subscribed.put(reasons)
        self.client.on_publish = lambda c, u, m, r, p: self.published.put(m)
        self.client.on_message = lambda c, u, m: self.messages.put((m.topic, m.payload))
        self.client.connect("localhost", port, keepalive=30)
        self.client.loop_start()
        self.refused = self.connects.get(timeout=10)

    def subscribe(self, *topics: str) -> None:
        self.client.subscribe([(t, 1) for t in topics])
        self.subscribed.get(timeout=5)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.client.publish(topic, payload, 1, retain)
        self.published.get(timeout=10)

    def all(self, wait: float = 0.3) -> list[tuple[str, bytes]]:
        found = []
        while True:
            try:
                found.append(self.messages.get(timeout=wait))
            except queue.Empty:
                return found

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Stage:
    def __init__(self, broker: mosquitto.Mosquitto, authority: Authority, port: int, supervisor: Supervisor) -> None:
        self.broker, self.authority, self.port, self._supervisor = broker, authority, port, supervisor

    @property
    def pid(self) -> int:
        pid = self._supervisor.pid("mqtt")
        assert pid is not None
        return pid

    @contextmanager
    def client(self, user: BrokerUser, **more: Any) -> Iterator[Client]:
        made = Client(self.port, self.authority.ca, user, **more)
        try:
            yield made
        finally:
            made.close()


def played(tmp_path: Path, scene: Callable[[Stage], None], limits: BrokerLimits | None = None) -> None:
    data = tmp_path / "data"
    authority = Authority(tmp_path / "ca")
    authority.ensure(["gates.example"])
    port = free_port()
    broker = mosquitto.Mosquitto(
        open_area(data), port=free_port(), bridge=BRIDGE, tls=Tls(port, authority.cert, authority.key, host="127.0.0.1"), limits=limits
    )  # fmt: skip
    broker.write_config()
    broker.set_devices(GATES)

    async def go() -> None:
        async with Supervisor(data) as supervisor:
            await supervisor.add(broker.spec(), wait=True)
            await asyncio.to_thread(scene, Stage(broker, authority, port, supervisor))

    try:
        asyncio.run(go())
    finally:
        remove_area(data)


def test_only_the_hubs_authority_and_a_present_tls_are_taken(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        other = Authority(tmp_path / "other")
        other.ensure([])
        with pytest.raises(ssl.SSLCertVerificationError):
            Client(stage.port, other.ca, GATES[0])
        import socket

        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", stage.port), 5) as plain, pytest.raises((ssl.SSLError, OSError)):
            old.wrap_socket(plain)
        with stage.client(GATES[0]) as good, stage.client(GATES[1], secret="not-its-secret") as bad:
            assert (good.refused, bad.refused) == (False, True)

    played(tmp_path, scene)


def test_every_gate_has_its_own_topics_and_nobody_elses(tmp_path: Path) -> None:
    """Generated: every gate tries every topic there is, both ways; what the registry gives it, and no more, gets through."""

    def scene(stage: Stage) -> None:
        writes = sorted(
            {t.replace("+", "Rec") for g in GATES for t in g.writes}
            | {"campus/v1/STATE", "$SYS/broker/x", "other/topic"}
        )
        reads = sorted({t for g in GATES for t in g.reads} | {"mqtt/face/F1/Ack", "campus/v1/S1/N1/evt"})
        with stage.client(BRIDGE) as bridge:
            bridge.subscribe(*BRIDGE.reads)
            for user in GATES:
                with stage.client(user) as me:
                    me.subscribe("#", "$SYS/#", "+/+/+", *reads)
                    for topic in writes:
                        if not topic.startswith("$"):
                            me.publish(topic, user.name.encode())
                    mine = [t for t in writes if any(paho.topic_matches_sub(f, t) for f in user.writes)]
                    assert sorted(t for t, p in bridge.all() if p == user.name.encode()) == sorted(mine), user.name
                    me.all(0.1)
                    for topic in reads:
                        if any(paho.topic_matches_sub(f, topic) for f in BRIDGE.writes):
                            bridge.publish(topic, b"to " + topic.encode())
                    bridge.all(0.1)
                    heard = {t for t, _ in me.all()}
                    assert heard == {t for t in reads if t in user.reads and not t.startswith("/")}, user.name
                    assert not any(t.startswith("$SYS") for t in heard)

    played(tmp_path, scene)


def test_a_reload_keeps_sessions_and_cuts_the_revoked(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        with stage.client(GATES[0]) as stays, stage.client(GATES[2]) as revoked, stage.client(BRIDGE) as bridge:
            bridge.subscribe("mqtt/#", "campus/#")
            for number in range(5):
                stage.broker.set_devices([*GATES, *(gate(f"X{n}", "native") for n in range(number * 50))], stage.pid)
                stays.publish("mqtt/face/F1/Rec", b"%d" % number)
            revoked.publish("campus/v1/S1/N1/evt", b"before")
            assert revoked.gone.empty()
            stage.broker.set_devices([g for g in GATES if g.name != "N1"], stage.pid)
            assert revoked.gone.get(timeout=5)
            assert revoked.connects.get(timeout=10) is True  # it tries again, and is refused
            stays.publish("mqtt/face/F1/Rec", b"after")
            assert stays.gone.empty() and stays.connects.empty()
            assert [p for t, p in bridge.all() if t == "mqtt/face/F1/Rec"] == [b"0", b"1", b"2", b"3", b"4", b"after"]
            assert stage.broker.drift(stage.pid) == []

    played(tmp_path, scene)


def test_the_last_word_to_a_broker_that_is_still_reading_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Told of its users while it reads those before, Mosquitto forgets that it was told."""
    keys = Keys(bytes(range(32)))
    hashed = mosquitto.password_hash("a secret of many")
    crowd = [BrokerUser(f"C{n}", hashed, [f"campus/v1/S1/C{n}/cmd"], [f"campus/v1/S1/C{n}/evt"]) for n in range(20_000)]
    told: list[int] = []

    async def devices(_: Any) -> list[dict[str, Any]]:
        secret = keys.encrypt(b"secret-of-N9", b"N9")
        return [{"id": "N9", "family": "native", "school": "S1", "places": [], "generation": 1, "old_secret": None, "secret": secret}]  # fmt: skip

    def scene(stage: Stage) -> None:
        monkeypatch.setattr(parties, "devices", devices)
        house: Any = SimpleNamespace(core=None, keys=keys)
        supervisor: Any = SimpleNamespace(pid=lambda _: stage.pid, note=lambda *_: None)
        settings: Any = SimpleNamespace(username=BRIDGE.name)
        write = stage.broker.set_devices

        def counted(users: list[BrokerUser], pid: int | None) -> None:
            told.append(len(users))
            write(users, pid)

        for after_s in (0.05, 0.08, 0.11):  # it reads for about two seconds
            write([*crowd, *GATES], stage.pid)
            time.sleep(after_s)
            monkeypatch.setattr(stage.broker, "set_devices", counted)
            keeper = BrokerKeeper(stage.broker, house, supervisor, settings, None)
            monkeypatch.setattr(keeper, "_note", lambda: None)
            asyncio.run(keeper.renew())
            with stage.client(gate("N9", "native")) as new, stage.client(gate("N1", "native")) as revoked:
                assert not new.refused and revoked.refused, "the broker goes by users it was told of before"

    played(tmp_path, scene)
    assert len(told) > 3, "nothing was forgotten: this shows nothing"


def test_a_gate_cannot_take_anothers_session(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        with stage.client(BRIDGE) as bridge, stage.client(GATES[0], session=BRIDGE.name) as thief:
            assert not thief.refused
            assert bridge.gone.empty()
            bridge.subscribe("mqtt/#")
            thief.publish("mqtt/face/F1/Rec", b"x")
            assert bridge.all() == [("mqtt/face/F1/Rec", b"x")]

    played(tmp_path, scene)


def test_what_is_too_large_is_cut_off_and_hurts_nobody(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        with stage.client(GATES[0]) as large, stage.client(GATES[1]) as other, stage.client(BRIDGE) as bridge:
            bridge.subscribe("mqtt/#")
            large.client.publish("mqtt/face/F1/Rec", b"x" * 300_000, 1)
            assert large.gone.get(timeout=10)
            other.publish("mqtt/face/F2/Rec", b"fine")
            assert bridge.all() == [("mqtt/face/F2/Rec", b"fine")]

    played(tmp_path, scene, BrokerLimits(message_bytes=100_000))


def test_the_certificate_is_renewed_under_standing_connections(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        def serial() -> bytes:
            pem = ssl.get_server_certificate(("127.0.0.1", stage.port), timeout=5)
            return ssl.PEM_cert_to_DER_cert(pem)

        first = serial()
        assert not stage.authority.ensure(["gates.example"])
        with stage.client(GATES[0]) as stands:
            assert stage.authority.ensure(["gates.example"], datetime.now(UTC) + SERVER_LIFE - timedelta(days=30))
            stage.broker.renew_tls()
            stage.broker.set_devices(GATES, stage.pid)
            for _ in range(50):
                if serial() != first:
                    break
            else:
                raise AssertionError("the old certificate is still shown")
            stands.publish("mqtt/face/F1/Rec", b"still here")
            assert stands.gone.empty()
        assert stage.authority.ensure(["gates.example", "10.1.2.3"])  # another name: another certificate

    played(tmp_path, scene)


def test_drift_is_seen(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        broker = stage.broker
        assert broker.drift(stage.pid) == []
        home = tmp_path / "data"
        rights = broker._rights
        rights.write_text(rights.read_text() + "user F1\ntopic write #\n")
        assert ["rights" in t.en for t in broker.drift(stage.pid)] == [True]
        broker.set_devices(GATES, stage.pid)
        assert broker.drift(stage.pid) == []
        broker.set_devices(GATES[:1])  # written, and nobody told the broker
        assert {"has not read it" in t.en for t in broker.drift(stage.pid)} == {True}
        assert home.exists() and broker.drift(None)

    played(tmp_path, scene)
