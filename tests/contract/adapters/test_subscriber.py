"""What a subscriber may hold the hub to: every event fits the contract, and its simulator forgives nothing."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import jsonschema
import orjson
import pytest
from standardwebhooks import Webhook

from adapters import manifest as manifests
from adapters.samples import samples
from adapters.subscriber.simulator import SECRET, TOLERANCE_S, Simulator
from adapters.twin import Ask, Say
from hub.kernel.ports import Call

MANIFEST = manifests.load("subscriber")
SCHEMA = json.loads((MANIFEST.folder / "contract" / "event.schema.json").read_text("utf-8"))["$defs"]["event"]
RENDERED = {s.name: s.adapter().render(s.outgoing()) for s in samples(MANIFEST) if s.case.what == "render"}
ARRIVAL = RENDERED["arrival"][0]
OTHER = "00000000-0000-5000-8000-000000000000"


def ask(twin: Simulator, call: Call, body: bytes | None = None, **headers: str) -> Say:
    named, signed = twin.authorised("", dict(call.headers), call.body if body is None else body)
    return twin.answer(Ask("POST", "/", {}, {"Content-Type": call.content_type} | named | headers, signed, "/"))


def changed(call: Call, **members: Any) -> bytes:
    return orjson.dumps(orjson.loads(call.body) | members)


def test_every_event_obeys_the_contract_under_its_own_id() -> None:
    for call in (call for calls in RENDERED.values() for call in calls):
        event = orjson.loads(call.body)
        jsonschema.Draft202012Validator(SCHEMA).validate(event)
        assert event["id"] == call.headers["webhook-id"] == call.meta["id"]
        outside = orjson.dumps({k: v for k, v in event.items() if k != "data"})
        assert event["data"]["learner"].encode() not in outside, "no person in the envelope"


def test_versions_of_a_passage_share_the_subject_and_never_the_id() -> None:
    told = [orjson.loads(RENDERED[n][0].body) for n in ("arrival", "correction-and-another", "withdrawal")]
    assert len({e["subject"] for e in told}) == 1
    assert len({e["id"] for e in told}) == 3
    assert [e["data"]["change"] for e in told] == ["new", "corrected", "withdrawn"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (None, {"webhook-signature": "v1,AAAA"}, 401),
        (None, {"webhook-signature": ""}, 401),
        (None, {"webhook-timestamp": str(int(time.time()) - TOLERANCE_S - 60)}, 401),
        (None, {"webhook-timestamp": "now"}, 401),
        (None, {"webhook-id": OTHER}, 401),
        (None, {"Content-Type": "application/json"}, 400),
        (changed(ARRIVAL, id=OTHER), {}, 400),
        (changed(ARRIVAL, specversion="0.3"), {}, 400),
        (changed(ARRIVAL, time="2026-09-07T06:58:12"), {}, 400),
        (changed(ARRIVAL, data={**orjson.loads(ARRIVAL.body)["data"], "similarity": 97.5}), {}, 400),
    ],
)
def test_what_is_not_signed_or_not_the_contract_is_refused(
    body: bytes | None, headers: dict[str, str], status: int
) -> None:
    twin = Simulator()
    assert ask(twin, ARRIVAL, body, **headers).status == status
    assert not twin.books.effects
    assert sum(twin.books.refusals.values()) == 1


@pytest.mark.parametrize(("conflict", "status"), [(False, 200), (True, 409)])
def test_a_known_id_is_taken_once_and_never_with_other_content(conflict: bool, status: int) -> None:
    twin = Simulator()
    twin.conflict = conflict
    assert ask(twin, ARRIVAL).status == 202
    assert ask(twin, ARRIVAL).status == status
    assert ask(twin, ARRIVAL, changed(ARRIVAL, source="urn:another")).status == 400
    assert len(twin.books.effects) == twin.books.repeats == 1


def test_it_takes_the_librarys_signature_beside_one_of_a_key_being_replaced() -> None:
    twin, now = Simulator(), datetime.now(UTC).replace(microsecond=0)
    right = Webhook(SECRET).sign(msg_id=ARRIVAL.meta["id"], timestamp=now, data=ARRIVAL.body.decode())
    both = {"webhook-timestamp": str(int(now.timestamp())), "webhook-signature": f"v1,b3RoZXI= {right}"}
    assert ask(twin, ARRIVAL, **both).status == 202
