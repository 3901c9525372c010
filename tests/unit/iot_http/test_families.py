"""What the samples cannot show in one step: numbering, clocks, stamps, signatures."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from iot.clock import Estimate
from iot.hanet.decode import FAMILY as HANET
from iot.hikvision.decode import FAMILY as HIKVISION
from iot.web import Ask, Content, Item, is_prompt
from iot.zkteco.decode import FAMILY as ZKTECO

AT = datetime(2026, 11, 20, 0, 0, 5, tzinfo=UTC)
GATE = {"id": "G1", "school": "31000101", "direction": "out"}


def hik(number: Any, front: Any = None, current: Any = True, at: datetime = AT, **device: Any) -> Item:
    inner = {
        "majorEventType": 5,
        "subEventType": 75,
        "employeeNoString": "A",
        "serialNo": number,
        "currentEvent": current,
    }
    if front is not None:
        inner["frontSerialNo"] = front
    tree = {"dateTime": at.isoformat(), "AccessControllerEvent": inner}
    (item,) = HIKVISION.decode(
        Ask(method="POST"), Content(body=b"", is_json=True, tree=tree), AT, {**GATE, **device}
    ).items
    return item


@pytest.mark.parametrize(
    ("last", "serial", "front", "covers", "remembered"),
    [
        (None, 7, 3, [4, 7], 7),
        (6, 7, 6, [7, 7], 7),
        (6, 7, None, [7, 7], 7),
        (6, 9, 8, [9, 9], 9),
        (6, 9, None, [9, 9], 9),
        (6, "9", "6", [7, 9], 9),  # numbers that the device itself skipped
        (6, 6, 5, [6, 6], None),  # again
        (6, 4, 3, [4, 4], None),  # overtaken
        (5000, 3, 2, [3, 3], 3),  # wiped
        (6, -1, None, None, None),
        (6, 2**60, 2**60, None, None),
        (6, 7.5, None, None, None),
        (6, 9, 50, [9, 9], 9),  # a nonsense front number
    ],
)
def test_numbers(last: Any, serial: Any, front: Any, covers: list[int] | None, remembered: int | None) -> None:
    item = hik(serial, front, **({"serial": last} if last is not None else {}))
    assert item.remember.get("covers") == covers and item.remember.get("serial") == remembered
    assert item.remember.get("anew", False) == (last == 5000) and not item.attributes


def test_a_replay_moves_no_number_and_closes_what_is_open_below() -> None:
    for current, at in ((False, AT), ("false", AT), (True, AT - timedelta(hours=3))):
        item = hik(99, 98, current, at, serial=6)
        assert item.decoded.historical and not item.remember
        assert hik(4, 3, current, at, serial=6).remember == {"covers": [4, 4]}
    assert hik(99, 98, False, AT, serial=6).prompt is False, "and teaches no clock"


def test_a_replay_is_the_same_event() -> None:
    assert hik(7, 6).decoded.dedupe == hik("7", 6, False).decoded.dedupe != hik(8, 7).decoded.dedupe


def test_an_event_that_is_no_passage_moves_the_number() -> None:
    tree = {
        "dateTime": AT.isoformat(),
        "AccessControllerEvent": {"majorEventType": 5, "subEventType": 21, "serialNo": 9},
    }
    ask, content = Ask(method="POST"), Content(body=b"", is_json=True, tree=tree)
    (item,) = HIKVISION.decode(ask, content, AT, {**GATE, "serial": 6}).items
    assert item.decoded.advisory is not None and item.remember == {"serial": 9, "covers": [9, 9]}


def test_promptness_by_the_clock_as_known() -> None:
    slow = Estimate(10_800.0, 1.0, 20)
    assert is_prompt(AT - timedelta(seconds=899), AT, None, 900)
    assert not is_prompt(AT - timedelta(seconds=901), AT, None, 900)
    assert is_prompt(AT - timedelta(hours=3, seconds=5), AT, slow, 900)
    assert not is_prompt(AT - timedelta(hours=4), AT, slow, 900)
    assert is_prompt(AT + timedelta(hours=2), AT, None, 900), "a time ahead is a fast clock, not history"
    assert is_prompt(None, AT, None, 900) and is_prompt(datetime(2000, 1, 1, tzinfo=UTC), AT, None, 900)


def attlog(lines: str, stamp: str = "9", **device: Any) -> Any:
    ask = Ask(method="POST", path="cdata", query={"sn": "G1", "table": "attLog", "stamp": stamp})
    return ZKTECO.decode(ask, Content(body=lines.encode()), AT, {**GATE, **device})


@pytest.mark.parametrize(
    ("status", "verify", "direction", "method"),
    [
        ("0", "1", "in", "finger"),
        ("1", "15", "out", "face"),
        ("255", "4", "out", "unknown"),
        ("", "", "out", "unknown"),
        ("x", "9", "out", "unknown"),
    ],
)
def test_words_of_a_line(status: str, verify: str, direction: str, method: str) -> None:
    (item,) = attlog(f"A1\t2026-11-20 07:00:00\t{status}\t{verify}").items
    body = item.decoded.drafts[0].body
    assert (body["direction"], body["method"], body["person_code"]) == (direction, method, "A1")


def test_every_line_is_an_event_of_its_own() -> None:
    lines = [
        "A\t2026-11-20 07:00:00\t0\t1",
        "A\t2026-11-20 07:00:01\t0\t1",
        "B\t2026-11-20 07:00:00\t0\t1",
        "A\t2026-11-20 07:00:00\t1\t1",
    ]
    served = attlog("\n".join([*lines, lines[0]]))
    keys = [item.decoded.dedupe for item in served.items]
    assert len(set(keys)) == 4 and keys[4] == keys[0] and served.answer.body == b"OK: 5"
    other = attlog(lines[0] + "\t7\t\t")
    assert other.items[0].decoded.dedupe == keys[0], "what follows the four is no part of it"


@pytest.mark.parametrize(
    ("stamp", "kept"),
    [("12", "12"), ("0", "0"), ("None", None), ("", None), ("1\r\nX=1", None), ("9" * 30, None), ("١٢", None)],
)
def test_only_numbers_are_remembered_as_stamps(stamp: str, kept: str | None) -> None:
    assert attlog("A\t2026-11-20 07:00:00\t0\t1", stamp).items[0].remember.get("stamp") == kept


def test_the_zone_told_is_the_gates() -> None:
    ask = Ask(method="GET", path="cdata", query={"sn": "G1", "options": "all"})
    told = {
        z: ZKTECO.decode(ask, Content(body=b""), AT, {**GATE, "zone": z}).answer.body
        for z in ("Asia/Tokyo", "no zone", "")
    }
    assert b"TimeZone=9\r\n" in told["Asia/Tokyo"] and all(b"TimeZone=7\r\n" in told[z] for z in ("no zone", ""))


@pytest.mark.parametrize("serial", ["", "a/b", "x" * 65, "G1\r\nX: y", "+", "#"])
def test_serial_numbers_that_are_none(serial: str) -> None:
    assert ZKTECO.named(Ask(method="GET", query={"sn": serial})) is None


def test_tables_that_are_never_read() -> None:
    def kind(table: str, path: str = "cdata") -> str | None:
        return ZKTECO.ignores(Ask(method="POST", path=path, query={"table": table}))

    assert {kind(t) for t in ("ATTPHOTO", "BIODATA", "UserPic", "BIOPHOTO", "OPERLOG", "FACE")} == {"biometric"}
    assert kind("", "fdata") == "biometric" and kind("options") == "other" and kind("") == "other"
    assert kind("ATTLOG") is None and kind("", "devicecmd") is None
    assert ZKTECO.ignores(Ask(method="GET", path="cdata")) is None


def test_the_hash_covers_the_id_with_the_secret() -> None:
    def signed(secret: str, **message: Any) -> bool:
        return HANET.signed(Content(body=b"", is_json=True, tree=message), secret)

    right = hashlib.md5(b"s3cret42").hexdigest()
    assert signed("s3cret", id="42", hash=right) and signed("s3cret", id=42, hash=right.upper())
    assert not signed("s3cret", id="43", hash=right) and not signed("other", id="42", hash=right)
    assert not signed("", id="42", hash=hashlib.md5(b"42").hexdigest()), "no secret, no signature"
    for bad in (
        {},
        {"id": "42"},
        {"hash": right},
        {"id": "42", "hash": 7},
        {"id": ["42"], "hash": right},
        {"id": "42", "hash": "é"},
    ):
        assert not signed("s3cret", **bad)
    assert not HANET.signed(Content(body=b"", is_json=True, tree=[1]), "s")
