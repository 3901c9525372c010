"""A gate that is asked whether it sent everything: it is not asked without end, nor faster than it can answer."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from adapters.face_gates.adapter import FaceGates
from adapters.face_gates.simulator import PROFILE
from hub.kernel.ports import Call, InProgress, NeedsPerson, Outcome, Outgoing, Reply, TryLater, Unknown

AT = datetime(2026, 11, 20, tzinfo=UTC)


SILENCE = Reply(status=200, body=b"", headers={"x-no-answer": "1"})


def leavers(count: int) -> list[Outgoing]:
    return [
        Outgoing(
            delivery=n, record=n, type="gate_person", key=f"F1/HS{n:05d}", event="CANCEL", version=1, updated_at=AT, school=None,
            body={"device": "F1", "person_code": f"HS{n:05d}"}, mapped={"customId": f"HS{n:05d}", "name": "Mẫu"},
        )
        for n in range(count)
    ]  # fmt: skip


def gate() -> FaceGates:
    return FaceGates({"allow_photo_url": False, "drain_first": True}, PROFILE)


def said(code: str, call: Call) -> Reply:
    return Reply(status=200, body=orjson.dumps({"operator": f"{call.meta['operator']}-Ack", "code": code, "info": {}}))


def begun(count: int) -> dict[int, Outcome]:
    (call,) = gate().render(leavers(count))
    return gate().read(call, said("200", call)).outcomes


def refusals(outcome: Any, one: Outgoing) -> tuple[float, Outcome]:
    """For how long the gate is asked that refuses for ever, and how it ends."""
    waited = 0.0
    while isinstance(outcome, InProgress):
        waited += outcome.after_s
        assert waited < 100_000, "it is asked without end"
        call = gate().resume(one, outcome.state)
        assert call.operation == "drained"
        outcome = gate().read(call, said("468", call)).outcomes[one.delivery]
    return waited, outcome


@pytest.mark.parametrize("count", [1, 3, 200])
def test_a_gate_that_never_ends_sending_becomes_a_task(count: int) -> None:
    longest = PROFILE["drain_give_up_s"]
    ends = [refusals(outcome, leavers(count)[n]) for n, outcome in begun(count).items()]
    assert len(ends) == count
    for waited, outcome in ends:
        assert isinstance(outcome, NeedsPerson) and (outcome.cause, outcome.subject) == ("gate_still_sending", "F1")
        assert 0.8 * longest <= waited <= 1.5 * longest


def test_the_questions_of_many_leave_the_gate_time_to_answer() -> None:
    outcomes = begun(200)
    firsts = sorted(o.after_s for o in outcomes.values() if isinstance(o, InProgress))
    assert len(firsts) == 200 and firsts[0] == PROFILE["drain_ask_s"]
    assert all(round(b - a, 6) >= 1 for a, b in pairwise(firsts)), "no two at once"
    later = outcomes[7]
    assert isinstance(later, InProgress)
    call = gate().resume(leavers(8)[7], later.state)
    again = gate().read(call, said("468", call)).outcomes[7]
    # By then everybody else's question has had its turn: the order stays.
    assert isinstance(again, InProgress) and again.after_s >= firsts[-1] - firsts[0]


def test_the_one_question_it_takes_ends_it() -> None:
    outcome: Any = begun(1)[0]
    call = gate().resume(leavers(1)[0], outcome.state)
    free: Any = gate().read(call, said("200", call)).outcomes[0]
    assert gate().resume(leavers(1)[0], free.state).operation == "delete_persons"


def parked(one: Outgoing) -> dict[str, str]:
    """Where the conversation stands when its gate has refused for an hour."""
    outcome: Any = begun(1)[0]
    while isinstance(outcome, InProgress):
        state = outcome.state
        call = gate().resume(one, state)
        outcome = gate().read(call, said("468", call)).outcomes[one.delivery]
    assert isinstance(outcome, NeedsPerson)
    return state


def after(state: dict[str, str], one: Outgoing, *codes: str) -> tuple[list[str], Any]:
    """What the gate is told, step by step, when it answers so; and what the last answer leaves."""
    told, outcome = [], None
    for code in codes:
        call = gate().resume(one, state)
        told.append(call.operation)
        outcome = gate().read(call, said(code, call)).outcomes[one.delivery]
        if isinstance(outcome, InProgress):
            state = outcome.state
    return [*told, gate().resume(one, state).operation], outcome


def test_a_gate_that_was_restarted_for_a_task_is_asked_for_its_records_again() -> None:
    (one,) = leavers(1)
    released = replace(one, attempt=one.attempt + 1)
    assert after(parked(one), released, "200", "200")[0] == ["drain", "drained", "delete_persons"]


def test_a_gate_still_busy_after_the_release_has_its_hour_again() -> None:
    (one,) = leavers(1)
    released = replace(one, attempt=one.attempt + 1)
    told, outcome = after(parked(one), released, "468", "468", "200", "468", "200")
    assert told == ["drain", "drain", "drain", "drained", "drained", "delete_persons"]
    told, outcome = after(parked(one), released, *["468"] * 360)
    assert set(told) == {"drain"} and isinstance(outcome, NeedsPerson) and outcome.cause == "gate_still_sending"


@pytest.mark.parametrize("broken", ["silent", "unreadable", "never told"])
def test_a_question_without_its_answer_is_no_link_of_the_proof(broken: str) -> None:
    (one,) = leavers(1)
    asked: Any = begun(1)[0]
    call = gate().resume(one, asked.state)
    replies = {"silent": SILENCE, "unreadable": Reply(status=200, body=b"?")}
    if broken in replies:
        outcome = gate().read(call, replies[broken]).outcomes[0]
        assert isinstance(outcome, TryLater | Unknown), "a try, so that the next one is told apart"
    assert after(asked.state, replace(one, attempt=2), "200", "200")[0] == ["drain", "drained", "delete_persons"]


def test_people_whose_tries_differ_are_asked_about_each_by_its_own() -> None:
    """One may have waited for its gate before, and another is new."""
    ones = [replace(one, attempt=one.delivery + 1) for one in leavers(3)]
    (call,) = gate().render(ones)
    outcomes: dict[int, Any] = gate().read(call, said("200", call)).outcomes
    assert [gate().resume(one, outcomes[one.delivery].state).operation for one in ones] == ["drained"] * 3
