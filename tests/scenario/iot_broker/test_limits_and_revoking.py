"""Mosquitto with the hub's own configuration: its limits are really read from there; and a gate that is revoked loses its session
by the whole chain, from the ledger over the bell to the broker."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paho.mqtt.client as paho
import pytest

from hub import broker_keeper
from hub.broker_keeper import BrokerKeeper
from hub.embedded import mosquitto
from hub.embedded.area import open_area, remove_area
from hub.embedded.broker import BrokerLimits, BrokerUser
from hub.embedded.process import free_port
from hub.embedded.supervisor import Supervisor
from hub.kernel.ledger import gates, parties
from hub.settings import Mqtt

pytestmark = pytest.mark.skipif(mosquitto.find_server() is None, reason="mosquitto is not installed")

BRIDGE = BrokerUser("hub-bridge", "bridge-secret", ["mqtt/#", "campus/#"], ["mqtt/#", "campus/#"])
SCHOOL, SECRET = "31HP0000001", "mat-khau-cua-cong"


class Client:
    """A paho client; `gone` is set when its connection ends without its doing."""

    def __init__(self, port: int, name: str, secret: str, *, keeps: str = "") -> None:
        self.heard: queue.Queue[bytes] = queue.Queue()
        self.gone = threading.Event()
        self.answers: queue.Queue[bool] = queue.Queue()
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=not keeps, reconnect_on_failure=False
        )
        self.client.username_pw_set(name, secret)
        self.client.on_message = lambda _c, _u, message: self.heard.put(message.payload)
        self.client.on_disconnect = lambda *_: self.gone.set()
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self.answers.put(not reason.is_failure)
        self.client.connect("127.0.0.1", port, 30)
        self.client.loop_start()
        self.let_in = self.answers.get(timeout=10)
        if keeps:
            self.client.subscribe(keeps, 1)

    def publish(self, topic: str, body: bytes) -> None:
        self.client.publish(topic, body, 1).wait_for_publish(10)

    def all(self) -> list[bytes]:
        found: list[bytes] = []
        while True:
            try:
                found.append(self.heard.get(timeout=0.5))
            except queue.Empty:
                return found

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@asynccontextmanager
async def standing(
    data: Path, limits: BrokerLimits | None = None
) -> AsyncIterator[tuple[mosquitto.Mosquitto, Supervisor]]:
    broker = mosquitto.Mosquitto(open_area(data), port=free_port(), bridge=BRIDGE, limits=limits)
    broker.write_config()
    broker.set_devices([])
    try:
        async with Supervisor(data) as supervisor:
            await supervisor.add(broker.spec(), wait=True)
            yield broker, supervisor
    finally:
        remove_area(data)


@pytest.mark.parametrize(
    ("limits", "size", "most"),
    [
        (BrokerLimits(queued_messages=7, queued_bytes=1_000_000, inflight_messages=3), 10, 10),
        (BrokerLimits(queued_messages=1_000, queued_bytes=4_000, inflight_messages=3), 1_000, 10),
        (BrokerLimits(), 1_000, 40),
    ],
)
def test_what_waits_for_the_bridge_is_bounded_by_number_and_by_size(
    tmp_path: Path, limits: BrokerLimits, size: int, most: int
) -> None:
    def scene(port: int) -> int:
        Client(port, "hub-bridge", "bridge-secret", keeps="campus/#").close()
        writer = Client(port, "writer", "writer-secret")
        for number in range(40):
            writer.publish(f"campus/v1/{SCHOOL}/N1/evt", b"%04d" % number + b"x" * (size - 4))
        writer.close()
        back = Client(port, "hub-bridge", "bridge-secret", keeps="campus/#")
        found = back.all()
        back.close()
        assert found == sorted(found), "the oldest are kept, in their order"
        return len(found)

    async def go() -> int:
        async with standing(tmp_path / "data", limits) as (broker, supervisor):
            users = [BrokerUser("writer", "writer-secret", [], ["campus/#"])]
            await asyncio.to_thread(broker.set_devices, users, supervisor.pid("mqtt"))
            await asyncio.sleep(0.3)
            return await asyncio.to_thread(scene, broker.port)

    got = asyncio.run(go())
    assert 0 < got <= most and (limits != BrokerLimits() or got == 40), got


def test_the_store_is_saved_within_the_interval_without_being_told(tmp_path: Path) -> None:
    async def go() -> float:
        async with standing(tmp_path / "data", BrokerLimits(autosave_s=1)) as (broker, _):

            def scene() -> float:
                client = Client(broker.port, "hub-bridge", "bridge-secret", keeps="campus/#")
                client.close()
                writer = Client(broker.port, "hub-bridge", "bridge-secret")
                writer.client.publish("campus/v1/x", b"anh-duoc-giu" * 20, 1, True).wait_for_publish(10)
                writer.close()
                config = broker.write_config().read_text(encoding="utf-8")
                folder = next(
                    line.split(" ", 1)[1] for line in config.splitlines() if line.startswith("persistence_location ")
                )
                began = time.monotonic()
                while time.monotonic() < began + 10:
                    if any(b"anh-duoc-giu" in p.read_bytes() for p in Path(folder).glob("mosquitto.db")):
                        return time.monotonic() - began
                    time.sleep(0.05)
                return 99.0

            return await asyncio.to_thread(scene)

    assert asyncio.run(go()) < 5.0


class Bell:
    """The hub's bell in this process: what a commit rings is heard at once."""

    def __init__(self) -> None:
        self.rung: asyncio.Queue[str] = asyncio.Queue()

    async def heard(self) -> AsyncIterator[str]:
        while True:
            yield await self.rung.get()


def test_a_revoked_gate_loses_its_session_and_does_not_get_in_again(
    ledger: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_keeper, "LOOK_S", 3_600.0)  # by the bell alone

    async def go() -> None:
        async with ledger() as led, standing(tmp_path / "data") as (broker, supervisor):
            await led.school(SCHOOL)
            for device in ("N1", "N2"):
                await parties.add_device(
                    led.core, "test", device, family="native", profile="standard", title=device, school=SCHOOL, entrance="Cổng",
                    direction="in",
                    person_ids="department", zone="Asia/Ho_Chi_Minh", secret=led.keys.encrypt(SECRET.encode(), device.encode()),
                )  # fmt: skip
            bell = Bell()
            monkeypatch.setattr(led.core, "on_commit", bell.rung.put_nowait)
            house: Any = SimpleNamespace(core=led.core, keys=led.keys, bell=bell)
            keeper = BrokerKeeper(broker, house, supervisor, Mqtt(), None)
            await keeper.renew()
            following = asyncio.create_task(keeper.run())
            await asyncio.sleep(0.3)
            stays, goes = [await asyncio.to_thread(Client, broker.port, n, SECRET) for n in ("N1", "N2")]
            assert stays.let_in and goes.let_in
            await gates.revoke(led.core, "test", ["N2"], "Mất cổng")
            assert await asyncio.to_thread(goes.gone.wait, 10), "the broker cuts the session"
            again = await asyncio.to_thread(Client, broker.port, "N2", SECRET)
            assert not again.let_in and not stays.gone.is_set(), "nobody else is disturbed"
            await asyncio.to_thread(stays.publish, f"campus/v1/{SCHOOL}/N1/evt", b"{}")
            for client in (stays, goes, again):
                client.close()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    asyncio.run(go())
