"""What every device family must hold, checked for each folder of `iot/` that has a decoder: first what holds whatever
the transport, then what a family on MQTT must hold. Families on HTTP go on in `test_web_family_contract`."""

from __future__ import annotations

import ast
import base64
import copy
import hmac
import importlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.kernel.firewall_devices import clean_device
from hub.kernel.ports import Decoded
from iot.clock import Estimate
from mappings.canonical.models import CheckIn

IOT = Path(__file__).resolve().parents[3] / "iot"
EVERY_FAMILY = sorted(p.parent.name for p in IOT.glob("*/decode.py"))
FAMILIES = [f for f in EVERY_FAMILY if hasattr(importlib.import_module(f"iot.{f}.decode").FAMILY, "subscriptions")]
"""Whose one form is MQTT; `FORMS` adds those that speak it beside HTTP."""
SECOND = {f"{p.parent.name}/mqtt": p.parent / "published" for p in IOT.glob("*/mqtt.py")}
FORMS = [*FAMILIES, *sorted(SECOND)]
SILENT = {"hanet/mqtt"}
"""Forms that know no acknowledgement, and no word for what was stored and sent later."""
ALL_SAMPLES = sorted((p.parts[-4], p.parts[-2]) for p in IOT.glob("*/samples/*/input.json"))
SAMPLES = [(f, case) for f, case in ALL_SAMPLES if f in FAMILIES] + sorted(
    (form, p.parent.name) for form, folder in SECOND.items() for p in folder.glob("*/input.json")
)
MARK = "MARK-in-the-picture"


def module(family: str) -> Any:
    return importlib.import_module(f"iot.{family}.decode")


def decoder(form: str) -> Any:
    """What decodes a form's publications."""
    return importlib.import_module(f"iot.{form.replace('/', '.')}").MQTT if form in SECOND else module(form).FAMILY


def folder_of(form: str, case: str) -> Path:
    return SECOND.get(form, IOT / form / "samples") / case


def image(seed: int) -> str:
    noise = random.Random(seed).randbytes(900)
    body = b"".join(MARK.encode() + noise[i : i + 30] for i in range(0, 900, 30))
    return "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff\xe0" + body).decode()


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


def load(family: str, case: str) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads((folder_of(family, case) / "input.json").read_text(encoding="utf-8"))
    if sample["device"] and "clock" in sample["device"]:
        sample["device"]["clock"] = msgspec.convert(sample["device"]["clock"], Estimate)
    return sample


def run(family: str, sample: dict[str, Any], *, seed: int = 1, **changed: Any) -> Decoded:
    """Through the firewall and the decoder, as in the bridge."""
    body = orjson.dumps(sample["payload"]).replace(b"{{image}}", image(seed).encode())
    cleaned = clean_device(body, hasher)
    assert cleaned.is_json
    sample = {**sample, **changed}
    received_at = datetime.fromisoformat(sample["received_at"])
    decoded: Decoded = decoder(family).decode(sample["topic"], cleaned.tree, received_at, sample["device"])
    return decoded


def plain(decoded: Decoded) -> Any:
    """A decoding as JSON, acknowledgement payloads parsed."""
    tree = msgspec.to_builtins(decoded)
    for made, ack in zip(tree["acks"], decoded.acks, strict=True):
        made["payload"] = json.loads(ack.payload)
    if tree["number"] is None:
        del tree["number"]  # most families do not count
    if tree["trace"] is None:
        del tree["trace"]
    if tree["sighting"] is None:
        del tree["sighting"]
    return json.loads(json.dumps(tree))


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_the_folder_is_complete(family: str) -> None:
    folder = IOT / family
    for name in ("decode.py", "profile.yaml", "simulator.py", "README.md"):
        assert (folder / name).is_file(), f"{family} lacks {name}"
    names = {case for f, case in ALL_SAMPLES if f == family}
    assert {"live", "unknown-device"} <= names
    assert any("mismatch" in name for name in names)
    for case in names:
        assert (folder / "samples" / case / "golden.json").is_file(), case


@pytest.mark.parametrize(("family", "case"), SAMPLES)
def test_sample_to_golden(family: str, case: str) -> None:
    golden = json.loads((folder_of(family, case) / "golden.json").read_text(encoding="utf-8"))
    assert plain(run(family, load(family, case))) == golden


@pytest.mark.parametrize(("family", "case"), SAMPLES)
def test_one_meaning_and_nothing_of_a_picture(family: str, case: str) -> None:
    decoded = run(family, load(family, case))
    assert [bool(decoded.drafts), decoded.invalid is not None, decoded.advisory is not None].count(True) == 1
    shown = json.dumps(plain(decoded))
    assert MARK not in shown and base64.b64encode(MARK.encode())[:20].decode() not in shown
    assert "biometric-removed" not in shown
    for draft in decoded.drafts:
        msgspec.convert(draft.body, CheckIn)
        assert draft.key.startswith(draft.body["device"] + "/") and draft.school == draft.body["school_code"]
        assert decoded.dedupe and bool(decoded.acks) == (family not in SILENT)


@pytest.mark.parametrize("form", SECOND)
def test_a_second_form_has_what_a_first_one_has(form: str) -> None:
    names = {case for f, case in SAMPLES if f == form}
    assert {"live", "unknown-device", "picture"} <= names and any("mismatch" in name for name in names)
    assert decoder(form).subscriptions and not hasattr(module(form.partition("/")[0]).FAMILY, "subscriptions")
    for case in names:
        assert (folder_of(form, case) / "golden.json").is_file(), case
        sample = load(form, case)
        assert decoder(form).device_of(sample["topic"]) == (sample["device"] or {}).get("id", "C21284M000042")


@pytest.mark.parametrize("family", FORMS)
def test_every_profile_has_a_sample(family: str) -> None:
    profiles = module(family.partition("/")[0]).PROFILES
    used = {(load(f, c)["device"] or {}).get("profile") for f, c in SAMPLES if f == family}
    assert set(profiles.names) <= used
    live = load(family, "live")
    told = [run(family, live, device={**live["device"], "profile": name}) for name in profiles.names]
    sent = {json.dumps(plain(decoded)["acks"]) for decoded in told}
    assert len(sent) == len({profiles.get(p).settings.get("ack") for p in profiles.names}), "each dialect its own ack"


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_assumptions_are_labelled(family: str) -> None:
    profiles = module(family).PROFILES
    for name in profiles.names:
        profile = profiles.get(name)
        assert profile.family == family and profile.version
        assert all(a.why.strip() and a.setting in profile.settings for a in profile.assumed)
    assert profiles.get("no such profile") is profiles.get(None)


@pytest.mark.parametrize(("family", "case"), SAMPLES)
def test_the_same_event_again(family: str, case: str) -> None:
    sample = load(family, case)
    first = run(family, sample)
    if not first.drafts:
        return
    again = copy.deepcopy(sample)
    for holder in (again["payload"], again["payload"].get("info", {})):
        for name in {"Sendintime", "realtime"} & holder.keys():
            holder[name] = 1 - int(holder[name])
        if "is_historical" in holder:
            holder["is_historical"] = not holder["is_historical"]
    # A form without a word for it tells history by how late it comes.
    later = "2026-11-20T03:00:00+00:00" if family in SILENT else "2026-11-20T00:09:00+00:00"
    second = run(family, again, seed=2, received_at=later)
    assert (second.dedupe, second.drafts[0].key) == (first.dedupe, first.drafts[0].key)
    told = second.historical if family in SILENT else second.historical != first.historical
    assert told or second.drafts[0].body["quarantine"] == "clock"
    other = copy.deepcopy(sample)
    other["payload"].get("info", other["payload"]).update(
        {"RecordID": "777", "id": "another-777", "sequence_no": 777, "msg_id": "another-777"}
    )
    assert run(family, other).dedupe != first.dedupe


@pytest.mark.parametrize("family", FORMS)
def test_strangers_and_liars_get_no_acknowledgement(family: str) -> None:
    for f, case in SAMPLES:
        if f == family and (case == "unknown-device" or "mismatch" in case):
            decoded = run(family, load(family, case))
            assert decoded.invalid is not None and decoded.acks == [] and decoded.drafts == []
            assert decoded.invalid.code == ("unknown_device" if case == "unknown-device" else "device_mismatch")
            assert decoded.invalid.message.vi and decoded.invalid.message.en


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
DEVICES = st.none() | st.dictionaries(
    st.sampled_from(["family", "profile", "school", "entrance", "direction", "zone", "clock"]), JSON, max_size=7
)


@pytest.mark.parametrize("family", FORMS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_decoding_never_raises(family: str, data: st.DataObject) -> None:
    cases = [c for f, c in SAMPLES if f == family]
    sample = load(family, data.draw(st.sampled_from(cases)))
    payload = copy.deepcopy(sample["payload"])
    if isinstance(payload, dict) and data.draw(st.booleans()):
        holder = payload["info"] if isinstance(payload.get("info"), dict) and payload["info"] else payload
        for name in data.draw(st.sets(st.sampled_from(sorted(holder)), max_size=4)):
            holder[name] = data.draw(JSON)
    else:
        payload = data.draw(JSON)
    topic = data.draw(
        st.sampled_from([sample["topic"], "mqtt/face/é/Rec", "campus/v1/a/b/evt", "/topic/detected/", ""]) | st.text()
    )
    device = data.draw(st.just(sample["device"]) | DEVICES)
    received_at = data.draw(st.datetimes(timezones=st.just(UTC)))
    decoded = decoder(family).decode(topic, payload, received_at, device)
    assert [bool(decoded.drafts), decoded.invalid is not None, decoded.advisory is not None].count(True) == 1
    plain(decoded)
    for draft in decoded.drafts:
        assert draft.updated_at.tzinfo is not None
        # Neither is the device's word: both come from the registry, which takes no others.
        msgspec.convert({**draft.body, "school_code": "31000101", "device": "G1"}, CheckIn)
    for ack in decoded.acks:
        assert "+" not in ack.topic and "#" not in ack.topic and ack.topic.isprintable()


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_no_sockets_and_no_clock_in_the_decoder(family: str) -> None:
    pure = [p for p in (IOT / family).glob("*.py") if p.name not in ("simulator.py", "publisher.py")]
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in pure]
    names = {n.attr for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not names & {"now", "utcnow", "today", "time_ns", "monotonic"}


EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["G5-1", "", "-", "a\n", "x" * 61]) | st.integers(0, 3),
        "seq": st.sampled_from([0, -1, 2**53 - 1, 2**53, "1", None]),
        "time": st.sampled_from([1795132802000, -5, "x", None, 2**53]),
        "person": st.sampled_from(["HS1", None, "", 5, "Trần"]),
        "is_historical": st.sampled_from([True, False, None, 1]),
        "direction": st.sampled_from(["in", "out", "unknown", "255", None]),
        "method": st.sampled_from(["face", "qr"]),
        "similarity": st.sampled_from([None, 0, 100, 97.5, 101, "97"]),
        "verify": st.sampled_from(["none", "allowed", "refused", "unregistered", "x"]),
        "traceparent": JSON,
        "more": JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_native_schema_and_decoder_agree(event: dict[str, Any]) -> None:
    schema = json.loads((IOT / "native" / "evt.schema.json").read_text(encoding="utf-8"))
    valid = jsonschema.Draft202012Validator(schema).is_valid(event)
    sample = load("native", "live")
    received_at = datetime(2026, 11, 20, tzinfo=UTC)
    decoded = module("native").FAMILY.decode(sample["topic"], event, received_at, sample["device"])
    assert bool(decoded.drafts) == valid, decoded.invalid


@pytest.mark.parametrize("case", [c for f, c in SAMPLES if f == "native"])
def test_native_samples_follow_their_schema(case: str) -> None:
    sample = load("native", case)
    channel = sample["topic"].rpartition("/")[2]
    path = IOT / "native" / f"{channel}.schema.json"
    if path.is_file():
        valid = jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8"))).is_valid(
            sample["payload"]
        )
        assert valid == (case not in ("no-id", "wrong-type"))
