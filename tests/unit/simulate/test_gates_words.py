"""What the load of gates says is what the families' decoders understand, and the answers are heard for what they are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.kernel.ports import DeviceFamily
from hub.simulate.gates_fleet import MIX, OWN, SCHOOLS, schools, specs
from hub.simulate.gates_words import LISTED, MQTT, WEB, Event, Spec, signing
from iot.face_http.decode import FAMILY as FACE_HTTP
from iot.face_mqtt.decode import FAMILY as FACE
from iot.hanet.decode import FAMILY as HANET
from iot.hanet.mqtt import MQTT as HANET_AT_BROKER
from iot.hikvision.decode import FAMILY as HIKVISION
from iot.native.decode import FAMILY as NATIVE
from iot.web import Ask, Content, WebFamily
from iot.zkteco.decode import FAMILY as ZKTECO

DECODERS: Mapping[str, DeviceFamily] = {"face_mqtt": FACE, "native": NATIVE, "hanet_mqtt": HANET_AT_BROKER}
LISTENERS: Mapping[str, WebFamily] = {"zkteco": ZKTECO, "hikvision": HIKVISION, "hanet": HANET, "face_http": FACE_HTTP}
PROFILES = {
    "face_mqtt": "push-ack",
    "native": "standard",
    "zkteco": "secret-path",
    "hikvision": "standard",
    "hanet": "",
    "hanet_mqtt": "",
    "face_http": "standard",
}
NOW = datetime.now(UTC)
ROOT = Path(__file__).resolve().parents[3]


def gate(family: str) -> Spec:
    return Spec(device="sim-gate-0007", family=family, school="31SIM0001", number=7, secret="s" * 32)


def entry(spec: Spec) -> dict[str, Any]:
    return {"id": spec.device, "family": spec.family, "profile": PROFILES[spec.family], "school": spec.school, "direction": "in", "zone": ""}  # fmt: skip


def made(spec: Spec, number: int, stored: bool, picture: str = "") -> Event:
    words = {**MQTT, **WEB}[spec.family]
    at = time.time() - (7_200 if stored else 0)
    return words.event(spec, 55, number, at, 0.0, stored, picture)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("family", MQTT)
def test_an_event_at_the_broker_is_one_check_in_and_its_ack_names_it(family: str, stored: bool) -> None:
    spec, words = gate(family), MQTT[family]
    event = made(spec, 12, stored)
    decoded = DECODERS[family].decode(words.publishes(spec), orjson.loads(event.body), NOW, entry(spec))
    (draft,) = decoded.drafts
    assert (draft.body["person_code"], draft.body["device_time_raw"]) == (event.person, event.raw)
    assert decoded.historical is stored
    if words.silent:
        assert decoded.acks == [] and words.hears(spec) == "" and draft.body["quarantine"] == "unregistered"
        return
    assert draft.body["quarantine"] is None
    (ack,) = decoded.acks
    assert ack.topic == words.hears(spec) and list(words.acknowledged(ack.payload)) == [event.name]


def test_every_second_hikvision_terminal_sends_a_form_with_a_picture() -> None:
    words = WEB["hikvision"]
    for number, form in ((6, False), (7, True)):
        spec = Spec(
            device=f"sim-gate-{number:04d}", family="hikvision", school="31SIM0001", number=number, secret="s" * 32
        )
        event = made(spec, 3, False)
        head, _, body = words.request(spec, "h", [event], 1).partition(b"\r\n\r\n")
        content_type = head.lower().split(b"content-type: ")[1].split(b"\r\n")[0].decode()
        ask = Ask(method="POST", path="hikvision", content_type=content_type)
        unpacked = HIKVISION.unpack(ask, body)
        content = Content(body=unpacked.body, is_json=True, tree=orjson.loads(unpacked.body))
        assert (b"\xff\xd8" in body, content_type.startswith("multipart/")) == (form, form)
        served = HIKVISION.decode(ask, content, NOW, entry(spec), spec.device)
        (draft,) = [d for item in served.items for d in item.decoded.drafts]
        assert draft.body["person_code"] == event.person and not unpacked.broken
        assert [cut.reason for cut in unpacked.cuts] == ["image"] * form


@pytest.mark.parametrize("family", WEB)
def test_an_event_over_http_is_one_check_in_and_its_answer_a_yes(family: str) -> None:
    spec, words = gate(family), WEB[family]
    event = made(spec, 12, False)
    request = words.request(spec, "127.0.0.1:1", [event], 1)
    head, _, body = request.partition(b"\r\n\r\n")
    path, _, query = head.split(b" ")[1].decode().partition("?")
    assert path.startswith(f"/gates/{spec.secret}/") and f"Content-Length: {len(body)}".encode() in head
    is_json = family != "zkteco"
    body = LISTENERS[family].unpack(Ask(method="POST"), body).body
    content = Content(body=body, is_json=is_json, tree=orjson.loads(body) if is_json else None)
    asked = {k.lower(): v for k, v in (pair.split("=") for pair in query.split("&") if pair)}
    served = LISTENERS[family].decode(
        Ask(method="POST", path=path.rpartition("/")[2], query=asked), content, NOW, entry(spec), spec.device
    )
    (draft,) = [d for item in served.items for d in item.decoded.drafts]
    assert (draft.body["person_code"], draft.body["device_time_raw"]) == (event.person, event.raw)
    assert draft.body["quarantine"] is None and not draft.body["historical"]
    assert words.yes(served.answer.status, served.answer.body, 1)
    assert not words.yes(503, b"", 1) and not words.yes(403, b"", 1)
    if family == "hanet":
        assert LISTENERS[family].signed(content, signing(spec)) and not LISTENERS[family].signed(content, "another")


def test_nobody_passes_twice_in_one_second() -> None:
    for family in {**MQTT, **WEB}:
        events = [made(gate(family), n, True) for n in range(1, 401)]
        assert len({(e.person, e.raw) for e in events}) == len({e.name for e in events}) == 400


def test_the_mix_has_every_family_that_the_hub_knows() -> None:
    folders = {path.parent.name for path in (ROOT / "iot").glob("*/profile.yaml")}
    spoken = [family for family, _ in MIX]
    assert {"hanet" if family == "hanet_mqtt" else family for family in spoken} == folders and "dahua" in folders
    assert set(spoken) == {*MQTT, *WEB, *LISTED} and len(spoken) == len(MQTT) + len(WEB) + len(LISTED)
    assert sum(share for _, share in MIX) == 100 and all(share > 0 for _, share in MIX)


def test_a_fleet_has_every_family_in_the_mix_and_every_school() -> None:
    fleet = specs(1_700)
    assert len({s.device for s in fleet}) == len({s.secret for s in fleet}) == 1_700
    assert all(OWN.fullmatch(s.device) for s in (*fleet, *specs(20_000)[-1:])) and not OWN.fullmatch(
        "sim-gate-1-cong-2"
    )
    for family, share in MIX:
        assert sum(s.family == family for s in fleet) == share * 17
        assert sum(s.family == family for s in fleet[:100]) == share
    assert {s.school for s in fleet} == {s.code for s in schools()} and len(schools()) == SCHOOLS
