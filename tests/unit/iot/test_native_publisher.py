"""What the reference publisher says in MQTT 5's properties: a trace with every event, and answers where they are asked for."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from iot.native import publisher as native
from iot.native.publisher import Publisher, Queue


class Client:
    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], Any]] = []

    def is_connected(self) -> bool:
        return True

    def publish(self, topic: str, body: str, qos: int, retain: bool = False, properties: Any = None) -> None:
        assert qos == 1 and not retain
        self.sent.append((topic, json.loads(body), properties))


@pytest.fixture
def publisher(tmp_path: Path) -> tuple[Publisher, Client]:
    made, client = Publisher(Queue(str(tmp_path / "queue.db")), "31HP0000001", "N1"), Client()
    made._client = client  # type: ignore[assignment]
    return made, client


def told(
    publisher: Publisher, client: Client, what: Any, topic: str = "campus/v1/31HP0000001/N1/cmd", **asked: Any
) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in asked.items():
        setattr(properties, name, value)
    publisher._heard(
        client, None, SimpleNamespace(topic=topic, payload=json.dumps(what).encode(), properties=properties)
    )


def test_every_event_has_a_trace_of_its_own(publisher: tuple[Publisher, Client]) -> None:
    gate, client = publisher
    for person in ("HS1", "HS2"):
        gate.record(person)
    told(gate, client, {"state": "online"}, "campus/v1/STATE")
    gate._push()
    traces = [body["traceparent"] for _, body, _ in client.sent]
    assert [body["person"] for _, body, _ in client.sent] == ["HS1", "HS2"] and len(set(traces)) == 2
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace) for trace in traces)
    assert [beside.UserProperty for _, _, beside in client.sent] == [[("traceparent", trace)] for trace in traces]


def test_an_answer_goes_where_it_was_asked_for_with_what_it_was_asked_with(publisher: tuple[Publisher, Client]) -> None:
    gate, client = publisher
    gate.record("HS1")
    command = {"id": "c1", "resend": {"from": 1, "to": 1}}
    told(gate, client, command, ResponseTopic="campus/v1/31HP0000001/N1/res/hub-7", CorrelationData=b"\x00\xffq7")
    ((topic, body, properties),) = client.sent
    assert (topic, body) == ("campus/v1/31HP0000001/N1/res/hub-7", {"id": "c1", "code": 0})
    assert properties.CorrelationData == b"\x00\xffq7"


def test_without_them_it_answers_on_its_own_topic(publisher: tuple[Publisher, Client]) -> None:
    gate, client = publisher
    told(gate, client, {"id": "c2", "resend": {"from": 5, "to": 9}})
    told(gate, client, {"id": "c3", "dance": True})
    assert [(topic, body["code"]) for topic, body, _ in client.sent] == [
        ("campus/v1/31HP0000001/N1/res", 2),
        ("campus/v1/31HP0000001/N1/res", 1),
    ]
    assert not any(hasattr(properties, "CorrelationData") for _, _, properties in client.sent)


class OldBroker:
    """A broker of 3.1.1 alone, for one gate: it lets it in, says the hub is there, and takes its events as the hub would. `refuses`: what
    a CONNECT of another version gets before the line is cut."""

    def __init__(self, refuses: bytes) -> None:
        self._refuses = refuses
        self.levels: list[int] = []
        self.events: list[dict[str, Any]] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._server.accept()
                with line, contextlib.suppress(OSError, EOFError):
                    self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        kind, body = _packet(line)
        assert kind == 0x10
        self.levels.append(body[6])
        if body[6] != 4:
            line.sendall(self._refuses)
            return
        line.sendall(b"\x20\x02\x00\x00")
        while True:
            kind, body = _packet(line)
            if kind >> 4 == 8:
                line.sendall(b"\x90\x04" + body[:2] + b"\x01\x01" + _publish("campus/v1/STATE", {"state": "online"}))
            elif kind >> 4 == 3:
                size = int.from_bytes(body[:2])
                line.sendall(b"\x40\x02" + body[2 + size : 4 + size])
                if body[2 : 2 + size].endswith(b"/evt"):
                    event = json.loads(body[4 + size :])
                    self.events.append(event)
                    line.sendall(_publish("campus/v1/31HP0000001/N1/cmd", {"ack": [event["id"]]}))
            elif kind >> 4 == 14:
                return


def _packet(line: socket.socket) -> tuple[int, bytes]:
    def read(count: int) -> bytes:
        found = b""
        while len(found) < count:
            if not (more := line.recv(count - len(found))):
                raise EOFError
            found += more
        return found

    kind, size, shift = read(1)[0], 0, 0
    while True:
        (digit,) = read(1)
        size |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return kind, read(size)


def _publish(topic: str, what: Any) -> bytes:
    body = len(topic).to_bytes(2) + topic.encode() + json.dumps(what).encode()
    assert len(body) < 128
    return bytes([0x30, len(body)]) + body


@pytest.mark.parametrize("refuses", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""], ids=["3.1.1", "5", "hangs-up"])
def test_a_broker_that_only_speaks_3_1_1_is_spoken_to_in_3_1_1(
    refuses: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "ANSWER_S", 0.5)
    broker, stop = OldBroker(refuses), threading.Event()
    gate = Publisher(Queue(str(tmp_path / "queue.db")), "31HP0000001", "N1")
    gate.login("N1", "secret")
    for person in ("HS1", "HS2"):
        gate.record(person)
    running = threading.Thread(target=gate.run, args=("127.0.0.1", broker.port, stop), daemon=True)
    running.start()
    try:
        ends = time.monotonic() + 20
        while gate._queue.waiting(1) and time.monotonic() < ends:
            time.sleep(0.05)
        assert not gate._queue.waiting(1), "every event was acknowledged by the hub's own word"
        assert [event["person"] for event in broker.events] == ["HS1", "HS2"]
        assert broker.levels == [5] * (1 if refuses else 3) + [4], "and it is not offered what it refused again"
    finally:
        stop.set()
        running.join(10)
        broker.close()
