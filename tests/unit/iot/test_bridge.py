"""The bridge: commit before any acknowledgement, nothing lost, nothing in between its order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from hub.worker.bridge import Bridge, BridgeOptions
from iot.face_mqtt.decode import FAMILY as FACE
from iot.native.decode import FAMILY as NATIVE
from tests.unit.iot.rig import GATES, Delivered, Rig, face, hasher, native, play


def test_commit_then_device_ack_then_puback() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(*(face(i, i) for i in range(1, 6)), *(native(i, i) for i in range(6, 11)))
        await rig.until(lambda: len(rig.transport.pubacks) == 10)

    rig = play(scenario)
    assert rig.ledger.acked_before_commit == 0
    assert rig.transport.pubacks == list(range(1, 11))
    kinds = [kind for kind, _ in rig.transport.log]
    assert kinds.index("puback") >= 1 and len(rig.transport.device_acks) == 10
    stored = rig.ledger.stored
    assert [a.source.name for a in stored] == ["F1"] * 5 + ["N1"] * 5
    for arrival in stored:
        assert b"data:image" not in arrival.body and b"MARK" not in arrival.body and len(arrival.digest) == 32
        assert arrival.drafts and arrival.drafts[0].body["images_removed"] == len(arrival.removed)
        assert arrival.school == GATES[arrival.source.name]["school"]
    assert [len(a.removed) for a in stored] == [1] * 5 + [0] * 5


def test_a_failing_ledger_gets_the_same_batch_again_and_nobody_hears_before() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.faults = [ConnectionError("down"), OSError("down"), RuntimeError("down")]
        rig.send(face(1, 1), face(2, 2))
        await rig.until(lambda: rig.ledger.calls == 3)
        assert rig.transport.log == []
        await rig.until(lambda: len(rig.transport.pubacks) == 2)

    rig = play(scenario)
    assert len(rig.ledger.stored) == 2 and len(rig.transport.device_acks) == 2


def test_poison_is_isolated_and_stored_as_invalid() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.refuses = lambda a: a.drafts is not None and a.drafts[0].body["person_code"] == "HS0007"
        rig.send(*(face(i, i) for i in range(1, 17)))
        await rig.until(lambda: len(rig.transport.pubacks) == 16)

    rig = play(scenario)
    bad = [a for a in rig.ledger.stored if a.invalid is not None]
    assert [a.invalid.code for a in bad if a.invalid] == ["unstorable"]
    assert len(rig.ledger.stored) == 16 and sorted(rig.transport.pubacks) == list(range(1, 17))


def test_poison_in_the_body_goes_without_its_body() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.refuses = lambda a: b"HS0002" in a.body
        rig.send(face(1, 1), face(2, 2))
        await rig.until(lambda: len(rig.transport.pubacks) == 2)

    rig = play(scenario)
    bad = next(a for a in rig.ledger.stored if a.invalid is not None)
    assert bad.body == b"" and bad.digest


UNREADABLE = [
    (b"\xff\xfe not json", "mqtt/face/F1/Rec", "invalid_json"),
    (b'{"operator":', "campus/v1/31000102/N1/evt", "invalid_json"),
    (b"[]", "mqtt/face/F1/Rec", "not_an_object"),
    (b"{}", "elsewhere/x", "unknown_topic"),
    (b"{}", "mqtt/face/basic", "unknown_presence"),
    (b"[" * 5000, "mqtt/face/F1/Rec", "invalid_json"),
]


@pytest.mark.parametrize(("payload", "topic", "code"), UNREADABLE)
def test_the_unreadable_is_stored_as_invalid_and_pubacked(payload: bytes, topic: str, code: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(Delivered(topic, payload, 1, 9), face(1, 10))
        await rig.until(lambda: len(rig.transport.pubacks) == 2)

    rig = play(scenario)
    assert [a.invalid.code for a in rig.ledger.stored if a.invalid] == [code]
    assert len(rig.transport.device_acks) == 1, "only the good one"


def test_strangers_and_liars() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(face(1, 1, device="X9"), face(2, 2, facesluiceId="F2"), face(3, 3, device="N1"))
        await rig.until(lambda: len(rig.transport.pubacks) == 3)

    rig = play(scenario)
    assert [a.invalid.code for a in rig.ledger.stored if a.invalid] == [
        "unknown_device",
        "device_mismatch",
        "unknown_device",
    ]
    assert [a.source.name for a in rig.ledger.stored] == ["unregistered", "F1", "unregistered"]
    assert rig.transport.device_acks == []


def test_a_gate_registered_a_moment_ago_is_known() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(face(1, 1, device="F7"))
        await rig.until(lambda: len(rig.transport.pubacks) == 1)
        rig.registry["F7"] = GATES["F1"]
        rig.send(face(1, 2, device="F7"))
        await rig.until(lambda: len(rig.transport.pubacks) == 2)

    rig = play(scenario)
    assert [bool(a.drafts) for a in rig.ledger.stored] == [False, True]


def test_nothing_is_read_before_the_registry_was_loaded() -> None:
    async def scenario(rig: Rig) -> None:
        rig.loads = [ConnectionError(), ConnectionError()]
        rig.send(face(1, 1))
        await rig.until(lambda: len(rig.transport.pubacks) == 1)

    assert play(scenario).ledger.stored[0].drafts


def test_a_duplicate_is_acknowledged_again() -> None:
    async def scenario(rig: Rig) -> None:
        first = face(1, 1)
        again = Delivered(first.topic, first.payload.replace(b'"Sendintime":1', b'"Sendintime":0'), 1, 2)
        rig.send(first)
        await rig.until(lambda: len(rig.transport.pubacks) == 1)
        rig.send(again)
        await rig.until(lambda: len(rig.transport.pubacks) == 2)

    rig = play(scenario)
    assert len(rig.ledger.stored) == 1 and len(rig.transport.device_acks) == 2


def test_history_does_not_delay_live_events() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.gate[True] = asyncio.Event()
        rig.send(*(face(i, i, live=False) for i in range(1, 200)), face(500, 500))
        await rig.until(lambda: 500 in rig.transport.pubacks)
        assert rig.transport.pubacks == [500]
        rig.ledger.gate[True].set()
        await rig.until(lambda: len(rig.transport.pubacks) == 200)

    rig = play(scenario)
    assert len(rig.ledger.stored) == 200


def test_a_full_lane_holds_up_the_reader_and_loses_nothing() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.gate[False] = asyncio.Event()
        rig.send(*(face(i, i) for i in range(1, 151)))
        await asyncio.sleep(0.1)
        assert rig.bridge.depth["live"] < 40 and rig.transport.queue.qsize() > 40
        rig.ledger.gate[False].set()
        await rig.until(lambda: len(rig.transport.pubacks) == 150)

    rig = play(scenario, lambda: Rig(batch_max=10, read_max=10, live_capacity=20))
    assert rig.transport.pubacks == list(range(1, 151))


def test_history_beyond_its_lane_is_left_to_its_gates_while_live_events_come() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.gate[True] = asyncio.Event()
        for i in range(1, 31):  # more of it than the lane holds, at any time beside something live
            rig.send(face(500 + i, 500 + i), *(face(10 * i + k, 10 * i + k, live=False) for k in range(5)))
            await rig.until(lambda i=i: 500 + i in rig.transport.pubacks)  # type: ignore[misc]
        assert rig.bridge.depth["history"] <= 20
        left = [mid for mid in rig.transport.pubacks if mid < 500]
        assert len(left) > 100 and len(rig.transport.device_acks) == 30, "the broker is answered, the gates are not"
        rig.ledger.gate[True].set()
        await rig.until(lambda: len(rig.transport.pubacks) == 180)
        assert len(rig.ledger.stored) == 180 - len(left)
        await asyncio.sleep(1.1)  # nothing live comes any more
        rig.send(*(face(mid, mid, live=False) for mid in left))  # as gates do that wait in vain
        await rig.until(lambda: len(rig.transport.pubacks) == 180 + len(left))

    rig = play(scenario, lambda: Rig(batch_max=10, read_max=6, history_capacity=20))
    assert len(rig.ledger.stored) == 180 == len(rig.transport.device_acks)


def test_full_history_waits_at_the_broker_where_nothing_live_comes() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.gate[True] = asyncio.Event()
        rig.send(*(face(i, i, live=False) for i in range(1, 151)))
        await asyncio.sleep(0.1)
        assert rig.transport.pubacks == [] and rig.transport.queue.qsize() > 40
        rig.ledger.gate[True].set()
        await rig.until(lambda: len(rig.transport.pubacks) == 150)

    rig = play(scenario, lambda: Rig(batch_max=10, read_max=10, history_capacity=20))
    assert len(rig.ledger.stored) == 150


def test_history_goes_in_small_batches_while_live_events_come_and_in_large_ones_otherwise() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.gate[True] = asyncio.Event()
        rig.send(face(1, 1), *(face(i, i, live=False) for i in range(2, 62)))
        await rig.until(lambda: 1 in rig.transport.pubacks and rig.bridge.depth["history"] > 0)
        rig.ledger.gate[True].set()
        await rig.until(lambda: len(rig.transport.pubacks) == 61)
        during = max(rig.ledger.sizes[True])
        rig.ledger.sizes[True].clear()
        await asyncio.sleep(0.15)
        rig.send(*(face(i, i, live=False) for i in range(62, 122)))
        await rig.until(lambda: len(rig.transport.pubacks) == 121)
        assert during <= 10 and max(rig.ledger.sizes[True]) > 10

    play(scenario, lambda: Rig(history_batch=10, live_within_s=0.1, commit_gap_s=0.02))


def test_history_gives_way_to_live_events_but_does_not_starve() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.gate[False] = asyncio.Event()  # the live lane stays busy
        rig.send(*(face(i, i) for i in range(1, 10)))
        await rig.until(lambda: rig.bridge.depth["live"] > 0)
        rig.send(face(100, 100, live=False))
        await rig.until(lambda: 100 in rig.transport.pubacks)
        assert rig.transport.pubacks == [100]

    play(scenario, lambda: Rig(batch_max=2, read_max=2, history_patience_s=0.05))


@pytest.mark.parametrize(("strained", "least", "most"), [(True, 0.3, 1.0), (False, 0.0, 0.25)])
def test_history_waits_longer_while_live_commits_take_too_long_and_does_not_starve(
    strained: bool, least: float, most: float
) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(50 * strained):
            rig.bridge._gap.took(1.0)
        rig.ledger.gate[False] = asyncio.Event()  # a live event is on its way
        rig.send(face(1, 1))
        await rig.until(lambda: rig.ledger.calls == 1)
        began = asyncio.get_running_loop().time()
        rig.send(face(100, 100, live=False))
        await rig.until(lambda: 100 in rig.transport.pubacks)
        assert least <= asyncio.get_running_loop().time() - began < most

    play(scenario, lambda: Rig(history_patience_s=0.01, history_strained_s=0.3))


def test_a_second_commit_begins_only_with_a_full_batch() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.gate[False] = asyncio.Event()
        rig.send(*(face(i, i) for i in range(1, 10)))
        await asyncio.sleep(0.05)
        assert rig.ledger.calls == 1
        rig.send(*(face(i, i) for i in range(10, 41)))
        await rig.until(lambda: rig.ledger.calls == 2)
        await asyncio.sleep(0.05)
        assert rig.ledger.calls == 2 and rig.transport.pubacks == []
        rig.ledger.gate[False].set()
        await rig.until(lambda: len(rig.transport.pubacks) == 40)

    assert len(play(scenario, lambda: Rig(batch_max=20)).ledger.stored) == 40


def test_what_piled_up_goes_side_by_side_in_batches_as_small_as_will_do() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.gate[False] = asyncio.Event()
        rig.send(face(1, 1))
        await rig.until(lambda: rig.ledger.calls == 1)
        rig.send(*(face(i, i) for i in range(2, 20)))
        await rig.until(lambda: rig.ledger.calls == 2)
        await asyncio.sleep(0.05)
        assert rig.ledger.calls == 2 and rig.bridge.depth["live"] == 8, "too few for one more beside the others"
        rig.send(*(face(i, i) for i in range(20, 120)))
        await rig.until(lambda: rig.ledger.calls == 3)
        await rig.until(lambda: rig.transport.queue.empty())
        rig.ledger.gate[False].set()
        await rig.until(lambda: len(rig.transport.pubacks) == 119)
        sizes = rig.ledger.sizes[False]
        assert sorted(sizes)[0] == 1 and 10 in sizes and 10 < max(sizes) <= 54, "half of what waits, where that is much"

    rig = play(scenario, lambda: Rig(batch_max=100, live_batch=10))
    assert rig.transport.pubacks == list(range(1, 120)) and rig.ledger.acked_before_commit == 0


def test_a_strange_topic_of_any_length_costs_no_memory_and_is_kept_as_invalid() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(*(Delivered("x" * 60_000 + str(i), {"a": i}, 1, i) for i in range(1, 6)))
        await rig.until(lambda: len(rig.transport.pubacks) == 5)
        assert not rig.bridge._gates._routes

    stored = play(scenario).ledger.stored
    assert {a.invalid.code for a in stored if a.invalid} == {"unknown_topic"}
    assert len(stored[0].attributes["topic"]) < 60


def test_a_passage_is_judged_by_the_time_of_day_it_was_given_not_by_this_host() -> None:
    """The host is a day ahead, the database is not: the gate's clock, which is right, is found right."""
    day = timedelta(days=1)

    def skewed() -> Rig:
        rig = Rig()
        rig.bridge = Bridge(
            rig.transport, rig.ledger.accept, {"face_mqtt": FACE, "native": NATIVE}, rig.load, hasher, rig.touch,
            BridgeOptions(linger_s=0.001, backoff_s=0.01, refresh_gap_s=0.0),
            moment=lambda at: datetime.fromtimestamp(at, UTC) - day,
        )  # fmt: skip
        return rig

    async def scenario(rig: Rig) -> None:
        event = native(1, 1)
        event.received_at += day.total_seconds()
        rig.send(event)
        await rig.until(lambda: len(rig.ledger.stored) == 1)

    (arrival,) = play(scenario, skewed).ledger.stored
    body = arrival.drafts[0].body
    assert abs(datetime.fromisoformat(body["received_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
