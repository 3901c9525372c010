"""A gate that is asked whether it sent everything: it is not asked without end, nor faster than it can answer."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import orjson
import pytest

from adapters.face_gates.adapter import FaceGates
from adapters.face_gates.simulator import PROFILE
from hub.kernel.ports import Call, InProgress, NeedsPerson, Outcome, Outgoing, Reply

AT = datetime(2026, 11, 20, tzinfo=UTC)


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
