"""What the reference publisher says in MQTT 5's properties: a trace with every event, and answers where they are asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

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
    made._client = client
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
