"""Too much, too often, and calm again; and where a gate stood when something happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.ports import Decoded, Draft, Reject, Text
from hub.worker.gate_guard import FLAPPING, FLOOD, Guard, GuardOptions, alarms_of
from hub.worker.gate_places import decode_where, place_at, put_where
from iot.clock import CLOCK


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def guarded(**more: Any) -> tuple[Guard, Clock]:
    clock = Clock()
    return Guard(GuardOptions(**more), clock), clock


def test_a_flood_is_held_back_alone_and_let_go_by_itself() -> None:
    guard, clock = guarded(per_s=10, burst=20, calm_s=60)
    held = [guard.sent("bad", True) for _ in range(50)]
    assert held == [False] * 20 + [True] * 30
    assert not guard.sent("good", True)
    assert guard.standing() == {FLOOD: ["bad"], FLAPPING: []}
    clock.now = 59
    assert guard.sent("bad", True)  # calm for a while is not calm for long enough
    clock.now = 61
    assert not guard.sent("bad", True)
    assert guard.standing()[FLOOD] == []


@given(st.lists(st.floats(0, 5), max_size=60))
def test_no_more_than_rate_and_burst_go_live(gaps: list[float]) -> None:
    guard, clock = guarded(per_s=2, burst=5, calm_s=1)
    live = 0
    for gap in gaps:
        clock.now += gap
        live += not guard.sent("g", True)
        assert live <= 5 + clock.now * 2 + 1e-6


def test_history_is_no_flood() -> None:
    guard, _ = guarded(per_s=1, burst=2)
    assert not any(guard.sent("g", False) for _ in range(1000))


def test_history_without_end_is_one() -> None:
    guard, clock = guarded(history_per_s=2, history_burst=10, calm_s=60)
    assert [guard.sent("g", False) for _ in range(12)] == [False] * 10 + [True] * 2
    assert guard.standing()[FLOOD] == ["g"] and guard.sent("g", True), "its events of now wait behind those of others"
    clock.now = 70
    assert not guard.sent("g", True)


def test_too_much_besides_events_is_a_flood_too() -> None:
    guard, clock = guarded(chatter_per_s=2, chatter_burst=10, calm_s=60)
    for _ in range(10):
        guard.heard("g")
    assert guard.standing()[FLOOD] == [] and not guard.sent("g", True)
    guard.heard("g")
    assert guard.standing()[FLOOD] == ["g"] and guard.sent("g", True)
    for _ in range(100):  # at the pace of heartbeats it is none
        clock.now += 1
        guard.heard("calm")
    assert guard.standing()[FLOOD] == []


def test_what_others_could_have_said_raises_the_alarm_and_holds_nobody_back() -> None:
    guard, clock = guarded(flaps=4, flap_window_s=60, calm_s=100)
    for n in range(8):
        clock.now += 1
        guard.presence("g", n % 2 == 0, claimed=True)
    assert guard.standing() == {FLOOD: [], FLAPPING: ["g"]} and not guard.sent("g", True)
    # Nor does a word of its own beside them.
    guard.presence("g", False)
    guard.presence("g", True)
    assert not guard.sent("g", True)
    clock.now += 101
    assert guard.standing()[FLAPPING] == []


def test_coming_and_going_is_one_alarm() -> None:
    guard, clock = guarded(flaps=4, flap_window_s=60, calm_s=100)
    for n in range(8):
        clock.now += 1
        guard.presence("g", n % 2 == 0)
        guard.presence("g", n % 2 == 0)  # said twice is said once
    assert guard.standing() == {FLOOD: [], FLAPPING: ["g"]}
    assert [a.subject for a in alarms_of(guard.standing())[FLAPPING]] == ["g"]
    clock.now += 101
    assert guard.standing()[FLAPPING] == []
    for _ in range(10):  # a gate that restarts once in a while is none
        clock.now += 50
        guard.presence("slow", True)
        guard.presence("slow", False)
    assert guard.standing()[FLAPPING] == []
    guard.forget(lambda d: d != "g")
    assert guard.sent("g", True) is False


NOW = datetime(2026, 11, 20, 1, tzinfo=UTC)
MOVED = NOW - timedelta(hours=1)
ENTRY = {
    "id": "g", "school": "S2", "entrance": "B", "direction": "out",
    "places": [
        {"since": 0, "school": "S1", "entrance": "A", "direction": "in"},
        {"since": MOVED.timestamp(), "school": "S2", "entrance": "B", "direction": "out"},
        {"since": (NOW + timedelta(days=1)).timestamp(), "school": "S3", "entrance": "C", "direction": "in"},
    ],
}  # fmt: skip


def said(entry: Any, at: datetime, quarantine: str | None = None, topic: str | None = None) -> Decoded:
    if topic not in (None, entry["school"]):
        return Decoded(invalid=Reject(pointer="", code="device_mismatch", message=Text("a", "b")))
    body = {
        "school_code": entry["school"],
        "entrance": entry["entrance"],
        "direction": entry["direction"],
        "quarantine": quarantine,
    }
    return Decoded(drafts=[Draft(type="checkin", key="k", body=body, updated_at=at, school=entry["school"])])


def where(at: datetime, **more: Any) -> tuple[Any, ...]:
    found = decode_where(lambda e: said(e, at, **more), ENTRY, NOW)
    if found.invalid:
        return (found.invalid.code,)
    (draft,) = found.drafts
    assert draft.school == draft.body["school_code"]
    return draft.school, draft.body["entrance"], draft.body["direction"]


def test_an_event_belongs_to_where_the_gate_stood_then() -> None:
    assert where(NOW) == ("S2", "B", "out")
    assert where(MOVED) == ("S2", "B", "out")
    assert where(MOVED - timedelta(seconds=1)) == ("S1", "A", "in")
    assert where(NOW - timedelta(days=400)) == ("S1", "A", "in")
    assert where(NOW - timedelta(days=3650), quarantine=CLOCK) == ("S2", "B", "out")  # a wrong clock decides nothing
    assert place_at({"places": None}, NOW) is None


def test_a_topic_of_the_old_school_is_taken_for_its_time_only() -> None:
    assert where(NOW - timedelta(hours=3), topic="S1") == ("S1", "A", "in")
    assert where(NOW, topic="S1") == ("device_mismatch",)
    assert where(NOW, topic="S3") == ("device_mismatch",)
    assert where(NOW - timedelta(hours=3), topic="S2") == ("S1", "A", "in")


def test_the_gates_own_direction_is_never_overwritten() -> None:
    """A gate that says itself which way somebody went: the registry's word for the time does not count, even where the
    gate's word happens to be the registry's of today."""

    def told(entry: Any, own: str | None) -> Decoded:
        made = said(entry, NOW - timedelta(hours=3))
        if own is not None:
            made.drafts[0].body["direction"] = own
        return made

    for own, expected in (("out", "out"), ("in", "in"), (None, "in")):
        (draft,) = decode_where(lambda e, own=own: told(e, own), ENTRY, NOW).drafts
        assert (draft.school, draft.body["direction"]) == ("S1", expected)
        made = told(ENTRY, own)
        put_where(ENTRY, made, NOW, lambda way, own=own: told({**ENTRY, "direction": way}, own))
        assert (made.drafts[0].school, made.drafts[0].body["direction"]) == ("S1", expected)


def test_a_gate_that_never_moved_is_left_alone() -> None:
    entry = {**ENTRY, "places": None}
    decoded = said(entry, NOW)
    assert decode_where(lambda e: decoded, entry, NOW) is decoded
    assert decoded.drafts[0].school == "S2"
