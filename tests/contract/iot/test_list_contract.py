"""What every family that can be asked for its list must hold: `iot/<family>/listing.py` and its `listed/<case>`."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.kernel.firewall_devices import clean_device
from hub.kernel.ports import Numbers, Reply
from hub.worker.catchup import LISTERS
from iot.listing import Listed, NumberLister, Span
from mappings.canonical.models import CheckIn

IOT = Path(__file__).resolve().parents[3] / "iot"
FAMILIES = sorted(p.parent.name for p in IOT.glob("*/listing.py"))
CASES = sorted((p.parts[-4], p.parts[-2]) for p in IOT.glob("*/listed/*/input.json"))
SPAN = Span(datetime(2026, 11, 19, 17, tzinfo=UTC), datetime(2026, 11, 20, 2, tzinfo=UTC))
AT = datetime(2026, 11, 20, 2, 0, 5, tzinfo=UTC)


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


def load(family: str, case: str) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads((IOT / family / "listed" / case / "input.json").read_text("utf-8"))
    if (each := sample.pop("each", None)) is not None:
        # A full page: one entry after another, from a pattern.
        made = [each["pattern"].replace("<n>", str(n)) for n in range(each["count"])]
        sample |= (
            {"text": sample["text"] + "".join(made)}
            if "text" in sample
            else {"json": {**sample["json"], each["into"]: [json.loads(one) for one in made]}}
        )
    return sample


def run(family: str, sample: dict[str, Any], body: bytes | None = None) -> Listed:
    """Through the firewall and the reader, as the worker does it."""
    if body is None:
        body = json.dumps(sample["json"], ensure_ascii=False).encode() if "json" in sample else sample["text"].encode()
    cleaned = clean_device(body, hasher)
    reply = Reply(status=sample.get("status", 200), body=cleaned.body)
    owner = sample["device"]
    tree = cleaned.tree if cleaned.is_json else None
    place, lister, known = sample.get("place"), LISTERS[family], {owner["id"]: owner}
    if (numbers := sample.get("numbers")) is not None:
        assert isinstance(lister, NumberLister)
        return lister.read_numbers(owner, Numbers(*numbers), place, reply, tree, AT, known)
    return lister.read(owner, SPAN, place, reply, tree, AT, known)


def plain(listed: Listed) -> Any:
    made = msgspec.to_builtins(listed)
    for (_, item), (_, told) in zip(listed.items, made["items"], strict=True):
        told["body"] = (item.body or b"").decode()
        if told["decoded"]["number"] is None:
            del told["decoded"]["number"]  # these families' own numbers stand in the attributes
        del told["decoded"]["trace"]
        if told["decoded"]["sighting"] is None:
            del told["decoded"]["sighting"]  # pushed and listed by the same name
    made["count"], made["items"] = len(made["items"]), made["items"][:4]
    return json.loads(json.dumps(made))


def test_every_family_that_lists_is_asked_and_has_samples() -> None:
    assert sorted(LISTERS) == FAMILIES
    for family in FAMILIES:
        assert {"page", "refused"} <= {case for f, case in CASES if f == family}
        for name in ("profile.yaml", "simulator.py", "README.md"):
            assert (IOT / family / name).is_file()


@pytest.mark.parametrize(("family", "case"), CASES)
def test_sample_to_golden(family: str, case: str) -> None:
    listed = run(family, load(family, case))
    assert plain(listed) == json.loads((IOT / family / "listed" / case / "golden.json").read_text("utf-8"))
    for name, item in listed.items:
        (draft,) = item.decoded.drafts
        msgspec.convert(draft.body, CheckIn)
        assert draft.key == f"{name}/{item.decoded.dedupe}" and draft.body["historical"] and not item.prompt
    shown = json.dumps(plain(listed))
    assert "mat-khau" not in shown and "Mẫu" not in shown
    assert ("http" in shown) == (case == "credentials"), "a link that is no picture's stays, without its password"


@pytest.mark.parametrize("family", FAMILIES)
def test_questions_are_harmless_and_the_same_again(family: str) -> None:
    lister, owner = LISTERS[family], load(family, "page")["device"]
    call = lister.ask(owner, SPAN, None)
    assert call == lister.ask(owner, SPAN, None) and call.idempotent and call.deliveries == ()
    assert b'"picEnable":true' not in call.body and "@" not in call.path
    assert lister.ask(owner, SPAN, run(family, load(family, "more")).next) != call


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_page_again_is_a_circle(family: str) -> None:
    sample = load(family, "more")
    first = run(family, sample)
    assert first.next is not None and first.fault is None
    again = run(family, {**sample, "place": first.next})
    assert again.fault is not None and again.fault.kind == "circle"


PAGES = {"hikvision": "serialNo", "hanet": "personID"}
"""Families that go on by position, and the name of an entry there."""


@pytest.mark.parametrize("family", sorted(PAGES))
@pytest.mark.parametrize("length", [1, 2, 3, 7, 24])
def test_a_circle_of_many_pages_is_found(family: str, length: int) -> None:
    """A device that gives so many pages in turn, for ever; the run ends before the third time round."""
    sample, place, read = load(family, "more"), None, 0
    body = json.dumps(sample["json"]).replace('"totalMatches"', '"total"')
    while read <= length * 3 + 2:
        told = json.loads(body)
        for entry in told.get("data") or told["AcsEvent"]["InfoList"]:
            entry[PAGES[family]] = 100_000 + read % length * 1000
        listed = run(family, {**sample, "place": place}, json.dumps(told).encode())
        if listed.fault is not None:
            assert listed.fault.kind == "circle" and read >= length
            return
        place = listed.next
        assert place is not None and len(json.dumps(place)) < 250
        read += 1
    pytest.fail("it went on")


def test_a_terminal_with_more_than_it_says_it_has_is_stopped() -> None:
    sample = load("hikvision", "more")
    entries = len(sample["json"]["AcsEvent"]["InfoList"])
    sample["json"]["AcsEvent"]["totalMatches"] = entries
    assert run("hikvision", sample).fault is None, "just as many: the next page says that it was the last"
    sample["json"]["AcsEvent"]["totalMatches"] = entries - 1
    fault = run("hikvision", sample).fault
    assert fault is not None and fault.kind == "circle"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_answer_makes_a_reader_fail(family: str, data: st.DataObject) -> None:
    sample = load(family, data.draw(st.sampled_from([c for f, c in CASES if f == family])))
    sample["status"] = data.draw(st.sampled_from([200, 200, 200, 204, 401, 500]))
    sample["place"] = data.draw(
        st.none()
        | st.dictionaries(st.sampled_from(["position", "page", "last"]), JSON)
        | st.fixed_dictionaries(
            {
                "stretches": JSON | st.lists(st.lists(st.integers(), min_size=2, max_size=2)),
                "crowded": JSON | st.just([]),
            }
        )
    )
    how = data.draw(st.sampled_from(["json", "twisted", "bytes", "cut"]))
    body = json.dumps(sample["json"]).encode() if "json" in sample else sample["text"].encode()
    if how == "json":
        body = json.dumps(data.draw(JSON)).encode()
    elif how == "bytes":
        body = data.draw(st.binary(max_size=300))
    elif how == "cut":
        body = body[: data.draw(st.integers(0, len(body)))]
    elif "json" in sample:
        holder: Any = sample["json"]
        for _ in range(4):
            inner = [
                v for v in (holder.values() if isinstance(holder, dict) else holder) if isinstance(v, dict | list) and v
            ]
            if not inner:
                break
            holder = data.draw(st.sampled_from(inner))
        if isinstance(holder, dict):
            holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(JSON)
        body = json.dumps(sample["json"]).encode()
    listed = run(family, sample, body)
    for name, item in listed.items:
        assert name == sample["device"]["id"] and item.body is not None
        assert bool(item.decoded.drafts) != (item.decoded.invalid is not None)
