"""What transports say of a call whose time is over, and how little a hostile reply may cost: without a network."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.address import AddressPolicy
from connectors.transports.base import Request
from connectors.transports.files import FilesTransport, Stage
from connectors.transports.files_settings import FileSettings
from connectors.transports.http_line import inflated
from connectors.transports.mqtt_publish import MqttTransport
from connectors.transports.mqtt_settings import MqttSettings
from hub.kernel.ports import MaybeSent, NotSent


def test_a_reply_of_very_many_small_members_is_refused_at_once() -> None:
    few = gzip.compress(b"a") * 4
    assert inflated(few, "gzip", 100) == b"aaaa"
    started = time.perf_counter()
    with pytest.raises(ValueError, match="members"):
        inflated(gzip.compress(b"") * 100_000, "gzip", 1 << 24)
    assert time.perf_counter() - started < 0.5


class Store:
    """A store whose first operation lasts until it is let go, or aborted."""

    def __init__(self) -> None:
        self.aborted = threading.Event()
        self.let_go = threading.Event()
        self.aborts = 0

    def connect(self, timeout_s: float) -> None:
        return None

    def abort(self) -> None:
        self.aborts += 1
        self.aborted.set()

    def close(self) -> None:
        return None


def files(store: Any) -> FilesTransport:
    return FilesTransport(FileSettings(), store, connect_s=1.0, clock=time.time)


def test_a_call_that_waits_for_its_turn_gives_up_without_ending_anothers_session() -> None:
    async def go() -> None:
        store = Store()
        transport = files(store)
        first = asyncio.create_task(transport.run(lambda s: store.let_go.wait(5), 5, Stage()))
        await asyncio.sleep(0.05)
        ran: list[int] = []
        with pytest.raises(NotSent):
            await transport.run(lambda s: ran.append(1), 0.05, Stage())
        cancelled = asyncio.create_task(transport.run(lambda s: ran.append(2), 5, Stage()))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert store.aborts == 0
        store.let_go.set()
        assert await first is True
        await transport.run(lambda s: None, 5, Stage())
        assert ran == [] and store.aborts == 0
        await transport.close()

    asyncio.run(go())


def test_a_call_that_is_being_served_ends_its_session_when_its_time_is_over() -> None:
    async def go() -> None:
        store = Store()
        transport = files(store)
        with pytest.raises(NotSent):
            await transport.run(lambda s: store.aborted.wait(5), 0.1, Stage())
        assert store.aborts == 1
        await transport.close()

    asyncio.run(go())


class Broker:
    """An MQTT client with a session; what was published is confirmed late or never."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.refusal = None
        self.confirms = True
        self.stats = SimpleNamespace(last_error=None)

    async def connected(self, timeout_s: float, patient: bool) -> bool:
        return True

    def publish(self, topic: str, body: bytes, qos: int) -> int:
        self.published.append(topic)
        return 1

    async def confirmed(self, mid: int, timeout_s: float) -> bool:
        await asyncio.sleep(5)
        return True


def test_a_command_that_was_published_is_in_doubt_and_one_that_never_got_its_turn_is_not() -> None:
    async def go() -> None:
        transport = MqttTransport(
            MqttSettings(host="broker", client_id="hub", answers="gate/+/Ack"),
            AddressPolicy(),
            password=None,
            connect_s=1.0,
        )
        broker = Broker()
        transport._client = broker  # type: ignore[assignment]
        headers = {"reply-topic": "gate/a/Ack", "reply-key": "messageId", "reply-value": "m1"}
        request = Request(method="PUBLISH", url="gate/a", body=b"{}", headers=headers)
        first = asyncio.create_task(transport.exchange(request, 0.5))
        await asyncio.sleep(0.05)
        with pytest.raises(NotSent):
            await transport.exchange(request, 0.2)
        assert broker.published == ["gate/a"]
        with pytest.raises(MaybeSent):
            await first

    asyncio.run(go())
