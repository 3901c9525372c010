"""The bridge: commit before any acknowledgement, nothing lost, nothing in between its order."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
import pytest

from hub.kernel.intake import Accepted, Arrival
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.bridge_lanes import is_data_fault
from iot.face_mqtt.decode import FAMILY as FACE
from iot.native.decode import FAMILY as NATIVE

GATES = {
    "F1": {"family": "face_mqtt", "profile": "push-ack", "school": "31000101", "direction": "in"},
    "N1": {"family": "native", "profile": "standard", "school": "31000102", "direction": "in"},
}
IMAGE = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff\xe0" + b"MARK" * 500).decode()


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


class Delivered:
    def __init__(self, topic: str, payload: Any, qos: int = 1, mid: int = 1) -> None:
        self.topic = topic
        self.payload = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        self.qos = qos
        self.mid = mid
        self.generation = 1
        self.received_at = time.time()


class FakeTransport:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delivered] = asyncio.Queue()
        self.log: list[tuple[str, Any]] = []

    async def batch(self, limit: int, linger_s: float = 0.0) -> Sequence[Delivered]:
        taken = [await self.queue.get()]
        await asyncio.sleep(linger_s)
        while len(taken) < limit and not self.queue.empty():
            taken.append(self.queue.get_nowait())
        return taken

    def ack(self, batch: Sequence[Delivered]) -> int:
        self.log += [("puback", d.mid) for d in batch]
        return 0

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> int | None:
        self.log.append(("device", (topic, orjson.loads(payload))))
        return 0

    @property
    def pubacks(self) -> list[int]:
        return [mid for kind, mid in self.log if kind == "puback"]

    @property
    def device_acks(self) -> list[tuple[str, Any]]:
        return [what for kind, what in self.log if kind == "device"]


class Ledger:
    """Keeps what it is given; `faults` are raised first, `refuses` tells which arrivals are poison."""

    def __init__(self, transport: FakeTransport) -> None:
        self.transport = transport
        self.stored: list[Arrival] = []
        self.keys: dict[bytes, int] = {}
        self.faults: list[BaseException] = []
        self.refuses: Callable[[Arrival], bool] = lambda _: False
        self.calls = 0
        self.sizes: dict[bool, list[int]] = {}
        self.gate: dict[bool, asyncio.Event] = {}
        self.acked_before_commit = 0

    async def accept(self, arrivals: list[Arrival]) -> list[Accepted]:
        self.calls += 1
        self.sizes.setdefault(arrivals[0].historical, []).append(len(arrivals))
        before = len(self.transport.log)
        if (held := self.gate.get(arrivals[0].historical)) is not None:
            await held.wait()
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        if any(self.refuses(a) for a in arrivals):
            raise ValueError("cannot be encoded")
        self.acked_before_commit += len(self.transport.log) - before if not self.gate else 0
        answers = []
        for arrival in arrivals:
            assert arrival.key is not None
            duplicate = arrival.key in self.keys
            first = self.keys.setdefault(arrival.key, len(self.keys) + 1)
            if not duplicate:
                self.stored.append(arrival)
            answers.append(Accepted(message=first, duplicate=duplicate))
        return answers


class Rig:
    def __init__(self, gates: Mapping[str, Any] = GATES, **options: Any) -> None:
        self.transport = FakeTransport()
        self.ledger = Ledger(self.transport)
        self.registry: dict[str, Any] = dict(gates)
        self.loads: list[BaseException] = []
        self.told: list[dict[str, dict[str, Any]]] = []
        settings = {"linger_s": 0.001, "backoff_s": 0.01, "touch_s": 0.01, "refresh_gap_s": 0.0, **options}
        self.bridge = Bridge(
            self.transport,
            self.ledger.accept,
            {"face_mqtt": FACE, "native": NATIVE},
            self.load,
            hasher,
            self.touch,
            BridgeOptions(**settings),
        )

    async def load(self) -> Mapping[str, Any]:
        if self.loads:
            raise self.loads.pop(0)
        return dict(self.registry)

    async def touch(self, news: dict[str, dict[str, Any]]) -> None:
        self.told.append(news)

    def send(self, *delivered: Delivered) -> None:
        for one in delivered:
            self.transport.queue.put_nowait(one)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)


def play(scenario: Callable[[Rig], Awaitable[None]], rig: Callable[[], Rig] = Rig) -> Rig:
    async def main() -> Rig:
        made = rig()
        task = asyncio.create_task(made.bridge.run())
        try:
            await scenario(made)
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return made

    return asyncio.run(main())


def face(record: int, mid: int, *, live: bool = True, device: str = "F1", qos: int = 1, **info: Any) -> Delivered:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 7 * 3600))
    content = {
        "customId": f"HS{record:04d}",
        "RecordID": record,
        "VerifyStatus": 1,
        "Sendintime": int(live),
        "time": moment,
        "pic": IMAGE,
        **info,
    }
    return Delivered(f"mqtt/face/{device}/Rec", {"operator": "RecPush", "info": content}, qos, mid)


def native(number: int, mid: int) -> Delivered:
    event = {"id": f"N1-{number}", "seq": number, "time": round(time.time() * 1000), "person": f"HS{number:04d}"}
    return Delivered("campus/v1/31000102/N1/evt", event, 1, mid)


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


def test_a_strange_topic_of_any_length_costs_no_memory_and_is_kept_as_invalid() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(*(Delivered("x" * 60_000 + str(i), {"a": i}, 1, i) for i in range(1, 6)))
        await rig.until(lambda: len(rig.transport.pubacks) == 5)
        assert not rig.bridge._gates._routes

    stored = play(scenario).ledger.stored
    assert {a.invalid.code for a in stored if a.invalid} == {"unknown_topic"} and len(
        stored[0].attributes["topic"]
    ) == 500


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
    assert facts["F1"]["state"] == "online" and facts["F1"]["strangers"] == 1
    assert facts["F1"]["events"] == 1 and facts["F1"]["images"] == 1
    assert facts["N1"]["state_trusted"] is True and facts["N1"]["firmware"] == "2.0"
    assert [topic for topic, _ in rig.transport.device_acks] == ["mqtt/face/F1"] * 3
    assert facts["F1"]["offset_uncertainty_s"] >= 1


def test_a_shared_topic_is_only_a_hint() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(Delivered("mqtt/face/basic", {"operator": "Offline", "info": {"facesluiceId": "F1"}}, 1, 1))
        await rig.until(lambda: bool(rig.told))

    (news,) = play(scenario).told[:1]
    assert news["F1"]["state"] == "offline" and news["F1"]["state_trusted"] is False


def test_counts_are_of_what_was_stored() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(face(1, 1), face(1, 2), face(2, 3, VerifyStatus=2), face(3, 4, RecordID=""))
        await rig.until(lambda: len(rig.transport.pubacks) == 4)
        await asyncio.sleep(0.05)

    rig = play(scenario)
    totals: dict[str, int] = {}
    for news in rig.told:
        for name in ("events", "quarantined", "images", "invalid"):
            totals[name] = totals.get(name, 0) + news["F1"].get(name, 0)
    assert totals == {"events": 2, "quarantined": 1, "images": 3, "invalid": 1}


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
