"""HANET cameras on the hub's own broker: both date forms, person types as numbers, and nobody in another's name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from iot.hanet.mqtt import MQTT

AT = datetime(2026, 11, 20, 0, 0, 3, tzinfo=UTC)
CAMERA = {"family": "hanet", "profile": "camera", "school": "31000101", "direction": "in", "zone": "Asia/Ho_Chi_Minh"}
SEEN = {"msg_id": "m-1", "camera_id": "C1", "person_id": "HS1", "person_type": 0, "date_time": 1795132802}


def decoded(payload: Any, topic: str = "/topic/detected/C1", device: Any = CAMERA) -> Any:
    return MQTT.decode(topic, payload, AT, device)


@pytest.mark.parametrize("when", [1795132802, "1795132802", "1795132802000", "20112026070002"])
@pytest.mark.parametrize("kind", [0, "0", 1])
def test_both_date_forms_and_numbers_in_any_type(when: Any, kind: Any) -> None:
    made = decoded({**SEEN, "date_time": when, "person_type": kind})
    (draft,) = made.drafts
    assert draft.body["corrected_time"] == "2026-11-20T00:00:02+00:00" and draft.body["device"] == "C1"
    assert not made.historical and made.acks == [] and draft.body["quarantine"] == "unregistered", "a vendor's number"


def test_the_same_message_is_the_same_event_and_without_a_name_person_and_second_tell() -> None:
    assert decoded(SEEN).dedupe == decoded({**SEEN, "date_time": "20112026070002"}).dedupe
    bare = {k: v for k, v in SEEN.items() if k != "msg_id"}
    assert decoded(bare).dedupe == decoded(dict(bare)).dedupe != decoded({**bare, "person_id": "HS2"}).dedupe


def test_strangers_liars_and_nonsense() -> None:
    assert decoded({**SEEN, "person_type": 3}).advisory["kind"] == "stranger"
    assert decoded({**SEEN, "camera_id": "C2"}).invalid.code == "device_mismatch"
    assert decoded(SEEN, device=None).invalid.code == "unknown_device"
    assert decoded(SEEN, device={**CAMERA, "school": ""}).invalid.code == "no_school"
    assert decoded([1]).invalid.code == "not_an_object"
    assert decoded({**SEEN, "date_time": "99992026000000"}).drafts[0].body["quarantine"] == "clock"
    assert MQTT.device_of("/topic/detected/C1") == "C1"
    assert all(MQTT.device_of(t) is None for t in ("topic/detected/C1", "/topic/detected/", "/topic/detected/a/b", ""))
