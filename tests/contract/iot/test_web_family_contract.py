"""What every device family on HTTP must hold, through the very code the gateway's listeners use."""

from __future__ import annotations

import base64
import copy
import hmac
import importlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.api.devices import FAMILIES as SERVED
from hub.api.devices import Door, Prepared
from hub.kernel.firewall import MARK
from hub.keys import Keys
from iot.clock import Estimate
from iot.web import Ask, Content
from mappings.canonical.models import CheckIn

IOT = Path(__file__).resolve().parents[3] / "iot"
FAMILIES = sorted(
    p.parent.name
    for p in IOT.glob("*/decode.py")
    if not hasattr(importlib.import_module(f"iot.{p.parent.name}.decode").FAMILY, "subscriptions")
)
SAMPLES = sorted((f, p.parent.name) for f in FAMILIES for p in (IOT / f / "samples").glob("*/input.json"))
PICTURE = "MARK-in-the-picture"
REFUSALS = {"unknown_device", "device_mismatch", "bad_signature"}


def jpeg(seed: int) -> bytes:
    noise = random.Random(seed).randbytes(900)
    return b"\xff\xd8\xff\xe0" + b"".join(PICTURE.encode() + noise[i : i + 30] for i in range(0, 900, 30)) + b"\xff\xd9"


def image(seed: int) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(seed)).decode()


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


def load(family: str, case: str) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads((IOT / family / "samples" / case / "input.json").read_text(encoding="utf-8"))
    if sample["device"] and "clock" in sample["device"]:
        sample["device"]["clock"] = msgspec.convert(sample["device"]["clock"], Estimate)
    return sample


def bytes_of(body: dict[str, Any], seed: int) -> bytes:
    """A sample's body as it goes over the wire."""
    if "multipart" in body:
        spec = body["multipart"]
        line = b"--" + spec["boundary"].encode()
        out = b""
        for part in spec["parts"]:
            head = "".join(f"{name}: {value}\r\n" for name, value in part["headers"].items()).encode()
            out += line + b"\r\n" + head + b"\r\n" + bytes_of(part, seed) + b"\r\n"
        return out + (line + b"--\r\n" if spec.get("close", True) else b"")
    if body.get("jpeg"):
        return jpeg(seed)
    text = json.dumps(body["json"], ensure_ascii=False) if "json" in body else body["text"]
    return str(text).encode().replace(b"{{image}}", image(seed).encode())


def ask_of(sample: dict[str, Any]) -> Ask:
    return msgspec.convert(sample["request"], Ask)


def door(sample: dict[str, Any], family: str) -> Door:
    """A door with the sample's registry and without a database behind it."""
    hub: Any = SimpleNamespace(core=SimpleNamespace(hasher=hasher), keys=Keys(bytes(32)), redis=None)
    made = Door(hub, None)
    device = sample["device"]
    made.gates._entries = {device["id"]: {**device, "family": family}, **sample.get("cameras", {})} if device else {}
    made.gates._signing = dict.fromkeys(made.gates._entries, sample.get("signing", ""))
    return made


def run(family: str, sample: dict[str, Any], *, seed: int = 1, raw: bytes | None = None) -> Prepared:
    """As the listener does it, up to the ledger."""
    body = bytes_of(sample["body"], seed) if raw is None else raw
    at = datetime.fromisoformat(sample["received_at"])
    if sample["device"] is None:
        # The listener turns strangers away before it looks at a body; a family says the same if it is asked.
        served = SERVED[family].decode(ask_of(sample), Content(body=b""), at, None, "nobody")
        return Prepared(served, None, [(item, None) for item in served.items])
    return door(sample, family).prepare(SERVED[family], ask_of(sample), body, at, sample["device"])


def plain(prepared: Prepared) -> Any:
    """What a request came to, as JSON: what is made of it, what would be stored, and the answer."""
    items = []
    for item, arrival in prepared.pairs:
        made = {k: v for k, v in msgspec.to_builtins(item).items() if k != "body"}
        if made["decoded"]["number"] is None:
            del made["decoded"]["number"]  # these families' own numbers stand in the attributes
        del made["decoded"]["trace"]
        if made["decoded"]["sighting"] is None:
            del made["decoded"]["sighting"]  # pushed and listed by the same name
        if arrival is not None:
            made["stored"] = {
                "source": arrival.source.name,
                "content_type": arrival.content_type,
                "body": arrival.body.decode("utf-8", "replace"),
                "removed": [[r.pointer, r.reason] for r in arrival.removed],
                "attributes": arrival.attributes,
            }
        items.append(made)
    answer = prepared.served.answer
    told = {"status": answer.status, "body": answer.body.decode().splitlines(), "content_type": answer.content_type}
    return json.loads(json.dumps({"items": items, "answer": told}))


def test_every_family_is_served() -> None:
    assert sorted(SERVED) == FAMILIES


@pytest.mark.parametrize(("family", "case"), SAMPLES)
def test_sample_to_golden(family: str, case: str) -> None:
    golden = json.loads((IOT / family / "samples" / case / "golden.json").read_text(encoding="utf-8"))
    assert plain(run(family, load(family, case))) == golden


def check(prepared: Prepared) -> None:
    """What holds for every request whatever."""
    for item, arrival in prepared.pairs:
        decoded = item.decoded
        assert [bool(decoded.drafts), decoded.invalid is not None, decoded.advisory is not None].count(True) == 1
        for draft in decoded.drafts:
            msgspec.convert(draft.body, CheckIn)
            assert draft.key.startswith(draft.body["device"] + "/") and draft.school == draft.body["school_code"]
            assert decoded.dedupe and draft.updated_at.tzinfo is not None and len(decoded.drafts) == 1
        if decoded.invalid is not None:
            assert decoded.invalid.message.vi and decoded.invalid.message.en
            assert (decoded.invalid.code in REFUSALS) == (prepared.served.answer.status == 403)
        if arrival is not None:
            assert arrival.key is not None and len(arrival.key) == 16
            assert all("\x00" not in value for value in arrival.attributes.values())
    shown = json.dumps(plain(prepared))
    traces = [PICTURE, *(base64.b64encode(b"\0" * shift + PICTURE.encode())[4:22].decode() for shift in range(3))]
    assert not any(trace in shown for trace in traces), "a part of a picture is left"
    for _, arrival in prepared.pairs:
        assert arrival is None or not any(trace.encode() in arrival.body for trace in traces)


@pytest.mark.parametrize(("family", "case"), SAMPLES)
def test_one_meaning_and_nothing_of_a_picture(family: str, case: str) -> None:
    sample = load(family, case)
    prepared = run(family, sample)
    check(prepared)
    for item, _ in prepared.pairs:
        for draft in item.decoded.drafts:
            assert MARK not in json.dumps(draft.body)
    assert "mat-khau" not in json.dumps(plain(prepared))


@pytest.mark.parametrize(("family", "case"), SAMPLES)
def test_the_same_request_again_is_the_same_event(family: str, case: str) -> None:
    sample = load(family, case)
    first = run(family, sample)
    again = copy.deepcopy(sample)
    again["received_at"] = "2026-11-20T00:09:00+00:00"
    second = run(family, again, seed=2)
    for (item, arrival), (other, repeated) in zip(first.pairs, second.pairs, strict=True):
        if item.decoded.drafts and arrival and repeated:
            assert arrival.key == repeated.key and item.decoded.drafts[0].key == other.decoded.drafts[0].key


@pytest.mark.parametrize("family", FAMILIES)
def test_every_profile_has_a_sample(family: str) -> None:
    profiles = importlib.import_module(f"iot.{family}.decode").PROFILES
    used = {(load(f, c)["device"] or {}).get("profile") for f, c in SAMPLES if f == family}
    assert set(profiles.names) <= used


@pytest.mark.parametrize("family", FAMILIES)
def test_strangers_and_liars_get_no_yes(family: str) -> None:
    codes = set()
    for f, case in SAMPLES:
        if f == family and (case == "unknown-device" or "mismatch" in case):
            served = run(family, load(family, case)).served
            (item,) = served.items
            assert item.decoded.invalid is not None and served.answer.status == 403 and served.answer.body == b""
            codes.add(item.decoded.invalid.code)
    assert codes == {"unknown_device", "device_mismatch"}


PLACES = [
    b"%s", b"text %s text", b'{"a":"%s"}', b'{"data_type":"log","id":"%s"}', b"--x\r\n\r\n%s", b"<a>%s</a>", b"<a b='%s'>",
    b"--x\r\nContent-Type: image/jpeg\r\n\r\n%s\r\n--x--\r\n", b'--x\r\n\r\n{"a":1}\r\n--x\r\n\r\n%s', b"%%PDF-1.7\n%s",
    b"HS1\t2026-11-20 07:00:02\t%s\t15", b"HS1\t2026-11-20 07:00:02\t0\t15\t%s\nHS2\t%s", b'{"picture":"%s', b"PK\x03\x04%s",
    b"--x\n\n%s\n--x--\n", b'{"AccessControllerEvent":{"subEventType":"%s"}}', b"<?xml version='1.0'?><!DOCTYPE %s>",
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("place", PLACES)
def test_no_mark_survives_wherever_it_stands(family: str, place: bytes) -> None:
    sample = load(family, "live")
    lines = "\r\n".join(image(3)[i : i + 76] for i in range(0, 900, 76))
    for picture in (jpeg(3), image(3).encode(), image(3).split(",")[1].encode(), lines.encode(), jpeg(3)[:500]):
        check(run(family, sample, raw=place.replace(b"%s", picture).replace(b"%%", b"%")))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
DEVICE = st.fixed_dictionaries(
    {"id": st.just("G1"), "school": st.just("31000101")},
    optional=dict.fromkeys(("profile", "entrance", "direction", "zone", "clock", "stamp", "serial", "command"), JSON),
)


@pytest.mark.parametrize("stray", [b"\t", b'"', b" ", b"\n", b"\x00", b"<", b",", b"'"])
def test_a_stray_byte_anywhere_in_a_picture_leaves_nothing_of_it(stray: bytes) -> None:
    sample = load("face_http", "cut-off")
    sample["signing"] = ""
    raw = bytes_of(sample["body"], 1)
    for at in range(len(raw) // 4, len(raw), 3):
        check(run("face_http", sample, raw=raw[:at] + stray + raw[at + 1 :]))


@pytest.mark.parametrize("sign", [b"\xfe\xff", b"\xff\xfe", b"\xff\xfe\0\0", b"\0a\0a", b"a\0a\0", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("instead", [0, 1])
def test_what_says_that_it_is_wide_and_is_not_hides_no_picture(sign: bytes, instead: int) -> None:
    sample = load("face_http", "cut-off")
    sample["signing"] = ""
    raw = bytes_of(sample["body"], 1)
    wide = json.dumps({"operator": "VerifyPush"}).encode("utf-16-le")
    for body in (raw, raw + b" ", raw + wide, wide + raw):
        check(run("face_http", sample, raw=sign + body[instead:]))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_nothing_makes_a_family_fail(family: str, data: st.DataObject) -> None:
    sample = load(family, data.draw(st.sampled_from([c for f, c in SAMPLES if f == family and c != "unknown-device"])))
    sample["device"] = data.draw(st.just(sample["device"]) | DEVICE)
    sample["signing"] = ""
    served = SERVED[family]
    raw = bytes_of(sample["body"], 1)
    how = data.draw(st.sampled_from(["cut", "noise", "json", "bytes"]))
    if how == "cut":
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    elif how == "noise" and raw:
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + data.draw(st.binary(max_size=12)) + raw[at + 1 :]
    elif how == "json":
        raw = json.dumps(data.draw(JSON)).encode()
    else:
        raw = data.draw(st.binary(max_size=400))
    texts = st.text(max_size=20)
    request = sample["request"]
    if data.draw(st.booleans()):
        request["query"] = {
            **request.get("query", {}),
            **data.draw(st.dictionaries(st.sampled_from(["sn", "stamp"]), texts)),
        }
        request["content_type"] = data.draw(st.sampled_from(["", "multipart/form-data; boundary="]) | texts)
    if family == "hanet":
        # Behind the signature, where the words are read.
        content = Content(body=raw, is_json=True, tree=data.draw(JSON | st.just(load(family, "live")["body"]["json"])))
        at = data.draw(st.datetimes(timezones=st.just(UTC)))
        result = served.decode(ask_of(sample), content, at, sample["device"], "owner")
        check(Prepared(result, None, [(item, None) for item in result.items]))
    served.named(ask_of(sample)), served.polls(ask_of(sample)), served.plain(sample["device"])
    check(run(family, sample, raw=raw))
