"""The tree campus/v1: its AsyncAPI document holds what the decoder takes and the hub says; numbers, births and deaths."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from connectors.transports import mqtt_packets as packets
from hub.gate_topics import gate_topics
from hub.kernel.ledger.gate_memory import Numbers
from hub.kernel.ports import Decoded, Publication
from hub.worker.bridge_registry import Gates
from hub.worker.gate_gaps import Gaps
from iot.native.decode import FAMILY
from iot.native.host import STATE_TOPIC, HostState, resend

HOME = Path(__file__).resolve().parents[3] / "iot" / "native"
DOCUMENT = yaml.safe_load((HOME / "asyncapi.yaml").read_text(encoding="utf-8"))
CHANNEL_OF = {"evt": "event", "state": "state", "res": "result"}


def resolved(node: Any) -> Any:
    """The document with every reference followed. Raises for one that leads nowhere."""
    if isinstance(node, list):
        return [resolved(n) for n in node]
    if not isinstance(node, dict):
        return node
    if isinstance(to := node.get("$ref"), str) and len(node) == 1:
        if to.startswith("./"):
            return json.loads((HOME / to).read_text(encoding="utf-8"))
        found = DOCUMENT
        for part in to.removeprefix("#/").split("/"):
            found = found[part]
        return resolved(found)
    return {k: resolved(v) for k, v in node.items()}


def payload(message: str) -> Any:
    return resolved(DOCUMENT["components"]["messages"][message])["payload"]


def valid(message: str, value: Any) -> bool:
    schema = payload(message)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def test_the_document_is_whole_and_names_every_topic() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0" and resolved(DOCUMENT)
    for name in DOCUMENT["components"]["messages"]:
        jsonschema.Draft202012Validator.check_schema(payload(name))
    addresses = {c["address"] for c in DOCUMENT["channels"].values()}
    assert {a.replace("{school}", "+").replace("{device}", "+") for a in addresses} >= set(FAMILY.subscriptions)
    told = gate_topics("G1", "native", "S1")
    assert told is not None
    assert {a.format(school="S1", device="G1") for a in addresses} == {*told[0], *told[1]}
    used = {o["channel"]["$ref"].rpartition("/")[2] for o in DOCUMENT["operations"].values()}
    assert used == set(DOCUMENT["channels"])


@pytest.mark.parametrize("case", sorted(p.parent.name for p in (HOME / "samples").glob("*/input.json")))
def test_samples_follow_the_document_as_far_as_the_decoder_takes_them(case: str) -> None:
    sample = json.loads((HOME / "samples" / case / "input.json").read_text(encoding="utf-8"))
    golden = json.loads((HOME / "samples" / case / "golden.json").read_text(encoding="utf-8"))
    message = CHANNEL_OF[sample["topic"].rpartition("/")[2]]
    refused = (golden.get("invalid") or {}).get("code") == "schema"
    assert valid(message, sample["payload"]) is not refused


def test_what_the_hub_says_follows_the_document() -> None:
    said = resend("S1", "G1", "r1", 4, 9)
    assert said.topic == "campus/v1/S1/G1/cmd" and valid("resend", orjson.loads(said.payload))
    state = HostState(1000)
    first = orjson.loads(state.will())
    assert first == {"state": "offline", "bd": 1001} and orjson.loads(state.birth()) == {"state": "online", "bd": 1001}
    assert orjson.loads(state.will())["bd"] == 1002, "each session has a number of its own"
    assert valid("hostState", first) and DOCUMENT["channels"]["host"]["address"] == STATE_TOPIC
    event = {"id": "E1", "seq": 1, "time": 1795305511000, "person": "HS1"}
    gate = {"family": "native", "school": "S1", "profile": "standard"}
    decoded = FAMILY.decode("campus/v1/S1/G1/evt", event, datetime.now(UTC), gate)
    assert decoded.number == 1 and valid("acknowledgement", orjson.loads(decoded.acks[0].payload))


def test_the_will_and_the_retained_birth_on_the_wire() -> None:
    assert packets.connect("c", 30, False, None, None, ("t", b"{}")) == (
        b"\x10\x14\x00\x04MQTT\x04\x2c\x00\x1e\x00\x01c\x00\x01t\x00\x02{}"
    )
    assert packets.publish("t", b"x", retain=True)[0] == 0x31 and packets.publish("t", b"x", 1, 7)[0] == 0x32


def test_holes_are_asked_for_and_given_up_in_the_end() -> None:
    said: list[Publication] = []
    gaps = Gaps(lambda p: said.append(p) is None, grace_s=0.0, again_s=0.0)
    for number in (5, 6, 9, 7):
        gaps.seen("G1", "S1", number)
    gaps.ask()
    assert [orjson.loads(p.payload)["resend"] for p in said] == [{"from": 8, "to": 8}]
    gaps.seen("G1", "S1", 8)
    gaps.ask()
    assert len(said) == 1, "it came"
    gaps.hinted("native", {"device": "G1", "seq": 20}, {"school": "S1"})
    gaps.seen("G1", "S1", 15)
    gaps.ask()
    assert [orjson.loads(p.payload)["resend"] for p in said[1:]] == [{"from": 10, "to": 14}, {"from": 16, "to": 20}]
    for _ in range(10):
        gaps.ask()
    assert len(said) == 1 + 2 * 3 and not gaps._waiting
    gaps.hinted("native", {"device": "G1", "seq": 2}, {"school": "S1"})
    gaps.seen("G1", "S1", 3)
    gaps.ask()
    assert len(said) == 7, "a gate that counts anew has no hole"


def test_many_gates_with_holes_are_asked_a_few_at_a_time() -> None:
    said: list[Publication] = []
    gaps = Gaps(lambda p: said.append(p) is None, grace_s=0.0)
    for gate in range(50):
        for number in range(0, 20, 2):
            gaps.seen(f"G{gate}", "S1", number)
    gaps.ask()
    assert len(said) == 100
    for _ in range(10):
        gaps.ask()
    assert len(said) == len({(p.topic, p.payload) for p in said}) == 50 * 9, "everybody in the end, nobody twice"


def test_a_gate_that_skips_and_skips_has_no_more_open_than_one_may() -> None:
    gaps = Gaps(lambda _p: True, grace_s=60.0)
    gaps.seen("G1", "S1", 0)
    for number in range(1, 300):
        gaps.seen("G1", "S1", 100_000 * number)
        gaps.seen("G2", "S1", 2 * number)
    (told, other) = gaps.changed()
    assert sum(last - first + 1 for first, last, _ in told.holes) == 10 * 99_999 and len(other.holes) == 100
    assert (told.highest, told.beyond, other.beyond) == (29_900_000, 289 * 99_999, 0), (
        "what is not asked for is counted"
    )
    again = Gaps(lambda _p: True, grace_s=60.0)
    again.restore([told])
    again.seen("G1", "S1", 29_900_002)
    (after,) = again.changed()
    assert after.beyond == told.beyond and after.holes[-1] == (29_900_001, 29_900_001, 0), "there is room for one more"


def test_a_birth_that_was_overtaken_forgets_no_hole() -> None:
    """It came after an event with a higher number, or again, to the bridge after the one that had heard it."""
    said: list[Publication] = []
    gaps = Gaps(lambda p: said.append(p) is None, grace_s=0.0)
    gaps.restore([Numbers("G1", "S1", 6, [(2, 2, 0)])])
    gaps.hinted("native", {"device": "G1", "seq": 5}, {"school": "S1"})
    gaps.seen("G1", "S1", 6)
    gaps.ask()
    assert [orjson.loads(p.payload)["resend"] for p in said] == [{"from": 2, "to": 2}]
    gaps.seen("G1", "S1", 2)
    assert gaps.changed() == [Numbers("G1", "S1", 6, [])]


def test_events_that_overtake_each_other_leave_no_hole_in_any_order() -> None:
    for order in permutations(range(1, 6)):
        gaps = Gaps(lambda _p: True, grace_s=60.0)
        gaps.seen("G1", "S1", 0)
        for number in order:
            gaps.seen("G1", "S1", number)
        assert gaps.changed() == [Numbers("G1", "S1", 5, [])], order


def test_a_late_event_is_no_hole() -> None:
    said: list[Publication] = []
    gaps = Gaps(lambda p: said.append(p) is None, grace_s=60.0)
    gaps.seen("G1", "S1", 1)
    gaps.seen("G1", "S1", 3)
    gaps.ask()
    assert said == []


def test_the_death_of_an_earlier_session_is_passed_over() -> None:
    gates = Gates({"native": FAMILY}, _nothing, _nothing, 5.0)  # type: ignore[arg-type]
    gates._entries = {"G1": {"family": "native", "school": "S1"}}
    at = datetime.fromtimestamp(time.time(), UTC)

    def tell(state: str, number: int) -> Any:
        topic = "campus/v1/S1/G1/state"
        decoded: Decoded = FAMILY.decode(topic, {"state": state, "bd": number}, at, gates.entry("G1", "native"))
        gates.advise("native", decoded)
        return gates._news["G1"].get("state")

    assert tell("birth", 1) == "online" and tell("birth", 2) == "online"
    assert tell("death", 1) == "online", "the broker was late with it"
    assert tell("death", 2) == "offline"


async def _nothing(*_: Any) -> dict[str, Any]:
    return {}
