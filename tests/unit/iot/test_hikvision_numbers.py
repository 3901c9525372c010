"""A Hikvision terminal asked by its own serial numbers: whatever its clock said, and what it answers when it cannot."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from hub.kernel.ports import Call, Numbers, Reply
from iot.dahua.listing import LIST as DAHUA
from iot.hanet.listing import LIST as HANET
from iot.hikvision.listing import LIST
from iot.hikvision.simulator import HikvisionStore
from iot.listing import Fault, Listed, NumberLister, Span
from iot.simulator import Stored

OWNER = {"id": "DS-1", "family": "hikvision", "school": "31000101", "direction": "in", "zone": "Asia/Ho_Chi_Minh"}
BEGIN = datetime(2026, 11, 19, 23, tzinfo=UTC)
AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
SPAN = Span(BEGIN - timedelta(hours=1), AT)


def memory(count: int) -> list[Stored]:
    return [Stored(number=100 + n, person=f"HS{n:05d}", at=BEGIN + timedelta(seconds=30 * n)) for n in range(count)]


def answered(store: HikvisionStore, call: Call) -> tuple[Reply, Any]:
    status, _, body = store.answer(call.method, "/" + call.path.partition("?")[0], {}, call.body)
    return Reply(status=status, body=body), json.loads(body)


def by_numbers(store: HikvisionStore, numbers: Numbers) -> tuple[list[str], list[str], Fault | None]:
    """Serials and keys of everything that came, page after page, and the fault."""
    serials, keys, place = [], [], None
    for _ in range(50):
        reply, tree = answered(store, LIST.ask_numbers(OWNER, numbers, place))
        page = LIST.read_numbers(OWNER, numbers, place, reply, tree, AT, {})
        serials += [item.attributes["serial"] for _, item in page.items]
        keys += [d.key for _, item in page.items for d in item.decoded.drafts]
        if page.next is None:
            return serials, keys, page.fault
        place = json.loads(json.dumps(page.next))
    raise AssertionError("it goes on and on")


def test_the_ability_is_told_by_the_lister() -> None:
    assert isinstance(LIST, NumberLister)
    assert not isinstance(DAHUA, NumberLister) and not isinstance(HANET, NumberLister)


def test_a_hole_is_read_by_its_numbers_page_after_page_and_by_the_same_names() -> None:
    store = HikvisionStore(memory(40), size=7)
    serials, keys, fault = by_numbers(store, Numbers(110, 127))
    assert fault is None and serials == [str(n) for n in range(110, 128)]
    asked = store.bodies
    assert {(b["beginSerialNo"], b["endSerialNo"]) for b in asked} == {(110, 127)}
    assert len({b["searchID"] for b in asked}) == 1 and [b["searchResultPosition"] for b in asked] == [0, 7, 14]
    assert all(not b["picEnable"] for b in asked)
    whole = HikvisionStore(memory(40), size=50)
    reply, tree = answered(whole, LIST.ask(OWNER, SPAN, None))
    assert "beginSerialNo" not in whole.bodies[0], "a list by time has no numbers in its question"
    listed: Listed = LIST.read(OWNER, SPAN, None, reply, tree, AT, {})
    named = {item.attributes["serial"]: item.decoded.drafts[0].key for _, item in listed.items}
    assert keys == [named[s] for s in serials]


def test_numbers_are_found_wherever_the_clock_was() -> None:
    lost = [
        msgspec.structs.replace(s, at=datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=n))
        for n, s in enumerate(memory(5))
    ]
    serials, _, fault = by_numbers(HikvisionStore(lost), Numbers(101, 103))
    assert fault is None and serials == ["101", "102", "103"]


def test_numbers_it_does_not_hold_are_no_fault() -> None:
    serials, _, fault = by_numbers(HikvisionStore(memory(5)), Numbers(7_000, 7_001))
    assert (serials, fault) == ([], None)


@pytest.mark.parametrize("size", [3, 50])
def test_firmware_that_does_not_know_the_numbers_is_found_out(size: int) -> None:
    store = HikvisionStore(memory(40), size=size, numbers=False)
    serials, _, fault = by_numbers(store, Numbers(900, 905))
    assert serials == [] and fault is not None and fault.kind == "person" and len(store.bodies) == 1
    # By chance some of what was meant stands among what comes: it is taken, and nothing else.
    serials, _, _ = by_numbers(HikvisionStore(memory(40), size=size, numbers=False), Numbers(101, 102))
    assert serials == ["101", "102"]


def test_refusals_and_rubbish_are_faults() -> None:
    for status, tree, kind in (
        (401, None, "person"),
        (503, None, "later"),
        (200, {"x": 1}, "later"),
        (200, None, "later"),
    ):
        page = LIST.read_numbers(OWNER, Numbers(1, 2), None, Reply(status=status, body=b""), tree, AT, {})
        assert page.fault is not None and page.fault.kind == kind
