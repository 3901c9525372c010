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
from hub.kernel.ports import Call, InProgress, NeedsPerson, Outcome, Outgoing, Receipt, Reply, TryLater, Unknown

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


def together(ones: list[Outgoing], outcomes: dict[int, Outcome], most: int = 1_000) -> list[Call]:
    """The next calls of those whose conversations go on."""
    states = [(one, o.state) for one in ones if isinstance(o := outcomes[one.delivery], InProgress)]
    return gate().resume_many(states, most)


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


def test_the_questions_of_many_are_one_question() -> None:
    ones, outcomes = leavers(1_500), begun(1_500)
    assert {o.after_s for o in outcomes.values() if isinstance(o, InProgress)} == {PROFILE["drain_ask_s"]}
    operations, told = [], outcomes
    for code in ("468", "468", "200"):
        (call,) = together(ones, told)
        operations.append(call.operation)
        assert call.deliveries == tuple(range(1_500)) and "HS0" not in call.body.decode()
        told = gate().read(call, said(code, call)).outcomes
    assert operations == ["drained"] * 3
    deletions = together(ones, told)
    assert [len(call.deliveries) for call in deletions] == [200] * 7 + [100]
    assert {call.operation for call in deletions} == {"delete_persons"}
    named = [
        (d, p) for c in deletions for d, p in zip(c.deliveries, orjson.loads(c.body)["info"]["customId"], strict=True)
    ]
    assert named == [(n, f"HS{n:05d}") for n in range(1_500)], "each once, and by name"
    for call in deletions:
        assert all(isinstance(o, Receipt) for o in gate().read(call, said("200", call)).outcomes.values())


def test_after_a_break_a_gate_is_asked_once_for_the_records_of_all_who_leave() -> None:
    ones = [replace(one, attempt=2) for one in leavers(1_500)]
    (call,) = together(ones, begun(1_500))
    assert call.operation == "drain" and len(call.deliveries) == 1_500
    (call,) = together(ones, gate().read(call, said("200", call)).outcomes)
    assert call.operation == "drained", "and then whether it sent them"


def test_who_has_not_come_as_far_does_not_share_the_others_proof() -> None:
    """Number 0 was broken off, 1 waits for its question to be taken, 2 is at another gate, 3 may be deleted, 4 only alone."""
    ones = leavers(6)
    ones[0] = replace(ones[0], attempt=2)
    ones[2] = replace(ones[2], body=ones[2].body | {"device": "F2"})
    asked = {"drained": "F1", "proof": "asked", "asks": "0", "attempt": "1"}
    states = {0: asked, 1: asked, 2: asked | {"drained": "F2"}, 3: {"proof": "free", "attempt": "1"}}
    states |= {4: {"proof": "alone", "attempt": "1"}, 5: asked}
    calls = gate().resume_many([(one, states[one.delivery]) for one in ones], 100)
    found = {(call.operation, call.meta["device"], call.deliveries) for call in calls}
    assert found == {
        ("drain", "F1", (0,)), ("drained", "F1", (1, 5)), ("drained", "F2", (2,)), ("delete_persons", "F1", (3,)),
        ("delete_persons", "F1", (4,)),
    }  # fmt: skip


def test_a_deletion_of_many_carries_no_more_than_the_connector_may() -> None:
    ones = leavers(25)
    calls = gate().resume_many([(one, {"proof": "free"}) for one in ones], 10)
    assert [len(call.deliveries) for call in calls] == [10, 10, 5]


@pytest.mark.parametrize(
    ("code", "info"),
    [("404", {}), ("478", {}), ("200", {"DelErrNum": "1"}), ("200", {"DelErrInfo": [{"customId": "HS00001"}]})],
)
def test_where_the_answer_leaves_open_whom_it_took_each_is_told_alone(code: str, info: dict[str, Any]) -> None:
    ones = leavers(3)
    (call,) = gate().resume_many([(one, {"proof": "free"}) for one in ones], 100)
    reply = Reply(status=200, body=orjson.dumps({"operator": "DeletePersons-Ack", "code": code, "info": info}))
    told = gate().read(call, reply).outcomes
    assert all(isinstance(o, InProgress) for o in told.values()), "nobody counts as gone"
    waits = sorted(o.after_s for o in told.values() if isinstance(o, InProgress))
    assert all(round(b - a, 6) >= 1 for a, b in pairwise(waits)), "one after the other"
    alone = together(ones, told)
    assert [c.deliveries for c in alone] == [(0,), (1,), (2,)]
    assert [type(gate().read(c, said("200", c)).outcomes[n]) for n, c in enumerate(alone)] == [Receipt] * 3


@pytest.mark.parametrize(
    "body", [b'{"operator":"DeletePersons-Ack","co', b"", b'{"operator":"EditPerson-Ack","code":"200"}']
)
def test_an_answer_that_is_cut_or_anothers_deletes_nobody(body: bytes) -> None:
    (call,) = gate().resume_many([(one, {"proof": "free"}) for one in leavers(3)], 100)
    elsewhere = orjson.dumps({"operator": "DeletePersons-Ack", "code": "200", "info": {"facesluiceId": "F2"}})
    for given in (body, elsewhere):
        assert {type(o) for o in gate().read(call, Reply(status=200, body=given)).outcomes.values()} == {Unknown}


def test_a_late_answer_is_no_answer_to_a_later_command() -> None:
    """Each command has a name of its own: for whom it is, and which try."""
    ones = leavers(3)
    free = {"proof": "free"}

    def name(*told: tuple[Outgoing, dict[str, str]]) -> str:
        (call,) = gate().resume_many(list(told), 100)
        assert orjson.loads(call.body)["messageId"] == call.headers["reply-value"]
        return call.headers["reply-value"]

    asked = {"proof": "asked", "asks": "0", "attempt": "1"}
    again = replace(ones[0], attempt=2)
    names = [
        name((ones[0], free), (ones[1], free)), name((ones[0], free), (ones[2], free)), name((ones[0], free)), name((again, free)),
        name((ones[0], asked)), name((ones[0], asked | {"asks": "1"})), name((again, asked)),
        name((replace(again, attempt=3), asked)),
    ]  # fmt: skip
    assert len(set(names)) == len(names)


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
