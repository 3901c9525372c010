"""Topics that all gates share: a flood there is counted, told and put behind, and costs no honest gate anything."""

from __future__ import annotations

from typing import Any

import pytest

from hub.kernel.ports import Decoded, Draft
from hub.worker import bridge_metrics as metrics
from hub.worker.gate_guard import FLAPPING, FLOOD, Guard, GuardOptions, alarms_of
from iot.face_mqtt.decode import FAMILY as FACE
from iot.face_mqtt.decode import PROFILES
from tests.unit.iot.rig import GATES, Delivered, Rig, face, play

BASIC, BEAT = "mqtt/face/basic", "mqtt/face/heartbeat"


def said(word: str, device: str, mid: int, topic: str = BASIC) -> Delivered:
    return Delivered(topic, {"operator": word, "info": {"facesluiceId": device}}, 1, mid)


def city(count: int) -> dict[str, Any]:
    return {f"F{n}": {**GATES["F1"]} for n in range(count)}


def test_a_flood_of_nonsense_leaves_twenty_rows_and_one_alarm() -> None:
    before = metrics.NOT_KEPT.labels("unknown_presence")._value.get()

    async def scenario(rig: Rig) -> None:
        rig.send(*(Delivered(BASIC, {"n": i}, 1, i) for i in range(1, 2001)))
        rig.send(face(1, 2001))
        await rig.until(lambda: len(rig.transport.pubacks) == 2001, 30)
        assert rig.bridge.guard.standing() == {FLOOD: [BASIC], FLAPPING: []}

    rig = play(scenario)
    assert sorted(rig.transport.pubacks) == list(range(1, 2002)), "each is acknowledged to the broker"
    refused = [a for a in rig.ledger.stored if a.invalid is not None]
    assert len(refused) == 20 and {a.invalid.code for a in refused if a.invalid} == {"unknown_presence"}
    assert metrics.NOT_KEPT.labels("unknown_presence")._value.get() - before == 1980, "none is dropped in silence"
    assert len(rig.ledger.stored) == 21 and rig.ledger.sizes[False], "a gate's own event came as ever"


def test_of_each_reason_some_are_kept_and_again_in_the_next_hour() -> None:
    now = [0.0]
    guard = Guard(GuardOptions(refused_kept=3), lambda: now[0])
    guard.shared(BASIC, 1, True)
    assert [guard.keeps(BASIC, "a") for _ in range(5)] == [True] * 3 + [False] * 2
    assert guard.keeps(BASIC, "b")
    now[0] = 3599.0
    assert not guard.keeps(BASIC, "a")
    now[0] = 3600.0
    assert guard.keeps(BASIC, "a")


def test_hundreds_of_honest_gates_are_not_held_back() -> None:
    """Power comes back: all say that they are there, twice, and their hearts beat."""
    gates = city(400)

    async def scenario(rig: Rig) -> None:
        mid = 0
        for _ in range(2):
            for name in gates:
                rig.send(
                    said("Offline", name, mid + 1),
                    said("Online", name, mid + 2),
                    said("HeartBeat", name, mid + 3, BEAT),
                )
                mid += 3  # fmt: skip
        await rig.until(lambda: len(rig.transport.pubacks) == mid, 30)
        assert rig.bridge.guard.standing()[FLOOD] == []

    rig = play(scenario, lambda: Rig(gates=gates))
    answered = [topic for topic, what in rig.transport.device_acks if what["operator"] == "Online-Ack"]
    assert sorted(answered) == sorted(f"mqtt/face/{name}" for name in gates for _ in range(2))


def test_heartbeats_without_end_are_a_flood_and_honest_words_are_heard_in_it() -> None:
    before = metrics.REPEATED._value.get()
    gates = city(50)

    def rig() -> Rig:
        return Rig(gates=gates, guard=GuardOptions(chatter_burst=100, share_burst=2, chatter_per_s=0, share_per_s=0))

    async def scenario(made: Rig) -> None:
        made.send(*(said("HeartBeat", "F1", n) for n in range(1, 1001)))
        await made.until(lambda: len(made.transport.pubacks) == 1000, 30)
        assert made.bridge.guard.standing()[FLOOD] == [BASIC]
        made.send(*(said("Online", f"F{n}", 1001 + n) for n in range(50)))
        made.send(*(said("Online", "F7", 1051 + n) for n in range(50)))
        await made.until(lambda: len(made.transport.pubacks) == 1100, 30)

    made = play(scenario, rig)
    assert len(made.transport.device_acks) == 50, "each gate was answered, and none again and again"
    assert metrics.REPEATED._value.get() - before == 800 - 1 + 50


class Told:
    """A family whose gates tell their passages on a topic they share."""

    subscriptions = ("shared/events",)

    def device_of(self, topic: str) -> str | None:
        return None

    def decode(self, topic: str, payload: Any, received_at: Any, device: Any, properties: Any = None) -> Decoded:
        body = {"quarantine": None, "historical": False, "estimated_offset_s": None}
        key = f"{payload['gate']}/{payload['n']}"
        draft = Draft(type="checkin", key=key, body=body, event="NEW", updated_at=received_at, school="31000101")
        return Decoded(drafts=[draft], dedupe=key)


@pytest.mark.parametrize("many", [False, True])
def test_a_passage_that_comes_by_a_shared_topic_is_never_dropped(many: bool) -> None:
    count = 600

    def rig() -> Rig:
        made = Rig(gates={f"T{n}": {"family": "told", "school": "31000101"} for n in range(300 if many else 1)},
                   guard=GuardOptions(chatter_burst=100, chatter_per_s=0))  # fmt: skip
        made.bridge._gates.__init__(  # type: ignore[misc]
            {"told": Told(), "face_mqtt": FACE}, made.load, made.touch, 0.0
        )
        return made

    async def scenario(made: Rig) -> None:
        made.send(*(Delivered("shared/events", {"gate": f"T{n % 300}", "n": n}, 1, n + 1) for n in range(count)))
        await made.until(lambda: len(made.transport.pubacks) == count, 30)
        assert made.bridge.guard.standing()[FLOOD] == ([] if many else ["shared/events"])

    made = play(scenario, rig)
    assert len(made.ledger.stored) == count and len(made.transport.pubacks) == count


def test_what_a_stranger_sends_on_a_topic_of_its_own_is_all_kept_behind() -> None:
    """It may be a gate's that is registered tomorrow."""

    async def scenario(rig: Rig) -> None:
        rig.send(*(face(n, n, device="X9") for n in range(1, 301)))
        await rig.until(lambda: len(rig.transport.pubacks) == 300, 30)
        assert rig.bridge.guard.standing()[FLOOD] == ["mqtt/face/+/Rec"]

    rig = play(scenario)
    assert {a.invalid.code for a in rig.ledger.stored if a.invalid} == {"unknown_device"}
    assert len(rig.ledger.stored) == 300


def test_the_alarm_says_that_it_is_a_topic() -> None:
    (one, other) = alarms_of({FLOOD: [BASIC, "F1"]})[FLOOD]
    assert one.subject == "F1" and "The gate" in one.text.en
    assert other.subject == BASIC and "no known gate" in other.text.en and "không rõ" in other.text.vi


def test_a_topic_is_let_go_by_itself() -> None:
    now = [0.0]
    guard = Guard(GuardOptions(per_s=1, burst=2, calm_s=60), lambda: now[0])
    assert [guard.shared(BASIC, 5, True) for _ in range(4)] == [False, False, True, True]
    assert guard.repeats(BASIC, "F1 online") is False and guard.repeats(BASIC, "F1 online") is True
    now[0] = 61.0
    assert not guard.shared(BASIC, 5, False) and guard.standing()[FLOOD] == []


@pytest.mark.parametrize(("profile", "word"), [("push-ack", "ok"), ("of-another-model", "success"), (None, "ok")])
def test_a_gate_is_answered_by_its_own_profile(profile: str | None, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = PROFILES.get("push-ack")
    other = type(default)(
        family=default.family, name="of-another-model", version="1", person_ids=default.person_ids, assumed=(),
        settings={**default.settings, "online_ack_result": "success"},
    )  # fmt: skip
    monkeypatch.setitem(PROFILES._profiles, "of-another-model", other)
    gates = {"F1": {**GATES["F1"], "profile": profile}}

    async def scenario(rig: Rig) -> None:
        rig.send(said("Online", "F1", 1))
        await rig.until(lambda: rig.transport.pubacks == [1])

    rig = play(scenario, lambda: Rig(gates=gates))
    ((topic, told),) = rig.transport.device_acks
    assert topic == "mqtt/face/F1" and told["info"] == {"facesluiceId": "F1", "result": word}
