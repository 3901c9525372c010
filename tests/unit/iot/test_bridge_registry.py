"""What the bridge knows of its gates and tells about them: presence, counts, clocks; and how fast its core is."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from hub.api.gate_numbers import GRACE_S
from hub.worker.bridge_lanes import is_data_fault
from hub.worker.bridge_registry import PART, Gates
from tests.unit.iot.rig import IMAGE, Delivered, Rig, face, native, play


def test_presence_and_strangers_touch_the_registry_only() -> None:
    async def scenario(rig: Rig) -> None:
        basic = {"operator": "Online", "info": {"facesluiceId": "F1"}}
        rig.send(
            Delivered("mqtt/face/basic", basic, 0, 0),
            Delivered("mqtt/face/basic", {"operator": "Online", "info": {"facesluiceId": "N1"}}, 0, 0),
            Delivered("mqtt/face/basic", {"operator": "Online", "info": {"facesluiceId": "X9"}}, 0, 0),
            Delivered("mqtt/face/F1/Snap", {"operator": "StrSnapPush", "info": {"SnapID": 4, "pic": IMAGE}}, 1, 1),
            Delivered("campus/v1/31000102/N1/state", {"state": "birth", "bd": 1, "firmware": "2.0"}, 1, 2),
            face(1, 3),
        )
        await rig.until(lambda: len(rig.transport.pubacks) == 3 and "events" in merged(rig).get("F1", {}))

    def merged(rig: Rig) -> dict[str, dict[str, Any]]:
        facts: dict[str, dict[str, Any]] = {}
        for news in rig.told:
            for device, said in news.items():
                facts.setdefault(device, {}).update(said)
        return facts

    rig = play(scenario)
    assert len(rig.ledger.stored) == 1
    facts = merged(rig)
    assert set(facts) == {"F1", "N1"}
    assert facts["F1"]["state"] == "online"
    assert facts["F1"]["events"] == 1 and facts["F1"]["images"] == 1
    assert facts["N1"]["state"] == "online"
    assert [topic for topic, _ in rig.transport.device_acks] == ["mqtt/face/F1"] * 3
    assert abs(facts["F1"]["offset_s"]) < 60


@pytest.mark.parametrize("word", ["Online", "Offline"])
def test_on_a_shared_topic_nobody_says_whether_a_gate_is_there(word: str) -> None:
    """Any gate may publish there in another's name: that the other was heard of is all that comes of it."""

    async def scenario(rig: Rig) -> None:
        rig.send(Delivered("mqtt/face/basic", {"operator": word, "info": {"facesluiceId": "F1"}}, 1, 1))
        await rig.until(lambda: bool(rig.told))

    (news,) = play(scenario).told[:1]
    assert news == {"F1": {}}


def test_a_whole_city_is_told_of_in_parts_and_the_more_seldom_the_longer_it_takes() -> None:
    told: list[dict[str, dict[str, Any]]] = []
    broken = True

    async def touch(news: dict[str, dict[str, Any]]) -> None:
        if broken:
            raise OSError
        told.append(news)

    async def load() -> dict[str, dict[str, Any]]:
        return {}

    async def go() -> None:
        nonlocal broken
        gates = Gates({}, load, touch, 5.0)
        assert gates.pause(2.0) == 2.0
        gates._news = {f"G{n}": {"events": 1} for n in range(2 * PART + 10)}
        await gates.tell(PART)
        assert len(gates._news) == 2 * PART + 10, "what could not be told stays"
        assert gates.pause(3.0) == 1.0, "each of three parts in its share of the time"
        broken = False
        await gates.tell(PART)
        assert [len(t) for t in told] == [PART] and len(gates._news) == PART + 10
        assert not told[0].keys() & gates._news.keys()
        await gates.tell()
        assert [len(t) for t in told] == [PART, PART + 10] and not gates._news
        gates._told_s = 0.125
        assert gates.pause(2.0) == 3.125
        gates._told_s = 60.0
        assert gates.pause(2.0) == 4.0 < GRACE_S, "but each has its turn"

    asyncio.run(go())


def test_counts_are_of_what_was_stored() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(face(1, 1), face(1, 2), face(2, 3, VerifyStatus=2), face(3, 4, RecordID=""))
        await rig.until(lambda: len(rig.transport.pubacks) == 4)
        await asyncio.sleep(0.05)

    rig = play(scenario)
    totals: dict[str, int] = {}
    for news in rig.told:
        for name in ("events", "quarantined", "images"):
            totals[name] = totals.get(name, 0) + news["F1"].get(name, 0)
    assert totals == {"events": 2, "quarantined": 1, "images": 3}


def test_experience_with_a_clock_reaches_the_decoder() -> None:
    async def scenario(rig: Rig) -> None:
        for record in (1, 2):
            slow = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 7 * 3600 - 7200))
            rig.send(face(record, record, time=slow))
            await rig.until(lambda record=record: record in rig.transport.pubacks)
        slow = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 7 * 3600 - 7200 - 600))
        rig.send(face(3, 3, time=slow, live=False))
        await rig.until(lambda: 3 in rig.transport.pubacks)

    last = play(scenario).ledger.stored[-1]
    assert last.drafts and last.historical
    assert last.drafts[0].body["estimated_offset_s"] == pytest.approx(-7200, abs=2)
    assert (time.time() - last.drafts[0].updated_at.timestamp()) == pytest.approx(600, abs=5)


def test_what_counts_as_a_fault_of_the_content() -> None:
    class Sql(Exception):
        def __init__(self, sqlstate: str) -> None:
            self.sqlstate = sqlstate

    assert is_data_fault(Sql("22P02")) and is_data_fault(Sql("23505")) and is_data_fault(ValueError())
    assert not any(map(is_data_fault, (Sql("08006"), Sql("40001"), Sql("57P01"), OSError(), TimeoutError())))


def test_throughput_of_the_core() -> None:
    """Cleaning, decoding and bookkeeping of 2,000 small events: about 60 ms here; only a change of kind fails."""

    async def scenario(rig: Rig) -> None:
        started = time.perf_counter()
        rig.send(*(native(i, i) for i in range(1, 2001)))
        await rig.until(lambda: len(rig.transport.pubacks) == 2000, 20)
        assert time.perf_counter() - started < 5

    assert len(play(scenario).ledger.stored) == 2000
