"""What each kind of answer makes of a delivery: the whole table, held against the lifecycle."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from connectors.policy.retry import RetrySettings
from hub.kernel.ledger.shapes import Claimed
from hub.kernel.lifecycle import State, check
from hub.kernel.ports import (
    Call,
    MaybeSent,
    NeedsPerson,
    NeverTry,
    NotSent,
    Outcome,
    Receipt,
    Settlement,
    Text,
    TryLater,
    Unknown,
)
from hub.worker import judge
from hub.worker.policy import Policy

POLICY = Policy(
    concurrency=1, batch_max=1, timeout_s=1, lease_s=2, settle_after_s=7, absent_gap_s=9, unclear_for_s=70, max_attempts=3, retry=RetrySettings(),
    per_second=50,
)  # fmt: skip
T = Text("v", "e")


def claimed(**more: object) -> Claimed:
    base: dict[str, object] = {
        "id": 1,
        "record": 1,
        "klass": 2,
        "claim": 5,
        "attempts": 1,
        "flow": "f",
        "key": "k",
        "school": None,
        "order_key": None,
    }
    return Claimed(**(base | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "idempotent", "attempts", "target", "cause"),
    [
        (Receipt(reference="r"), False, 1, State.DELIVERED, "receipt"),
        (NeverTry(reason="x", message=T), False, 1, State.DEAD, "never"),
        (NeedsPerson(cause="c", subject="s", message=T), False, 1, State.PARKED, "needs_person"),
        (NeedsPerson(cause="c", subject="s", message=T, scope="connector"), False, 1, State.READY, "released"),
        (TryLater(reason="x"), False, 1, State.WAITING, "try_later"),
        (TryLater(reason="x"), True, 3, State.PARKED, "needs_person"),
        (Unknown(reason="x"), True, 1, State.WAITING, "harmless"),
        (Unknown(reason="x"), True, 3, State.PARKED, "needs_person"),
        (Unknown(reason="x"), False, 1, State.UNCERTAIN, "unknown"),
        (Unknown(reason="x"), False, 99, State.UNCERTAIN, "unknown"),
    ],
)
def test_outcomes(outcome: Outcome, idempotent: bool, attempts: int, target: State, cause: str) -> None:
    c = judge.conclude_outcome(
        claimed(attempts=attempts), outcome, POLICY, 1, idempotent=idempotent, call=4, elapsed_ms=1.0
    )
    assert (c.target, c.cause) == (target, cause)
    check(State.SENDING, c.target, c.cause)
    assert (c.task is not None) == (target is State.PARKED)
    assert (c.after_s is not None) == (target in (State.WAITING, State.UNCERTAIN))


def test_the_counterpartys_wish_is_kept() -> None:
    c = judge.conclude_outcome(
        claimed(), TryLater(reason="x", after_s=30), POLICY, 1, idempotent=True, call=None, elapsed_ms=None
    )
    assert c.after_s is not None and 30 <= c.after_s <= 37


@pytest.mark.parametrize(
    ("settlement", "absent", "age", "target", "cause", "stays"),
    [
        (Settlement(verdict="present"), 0, 0, State.DELIVERED, "present", False),
        (Settlement(verdict="absent"), 0, 0, State.UNCERTAIN, "unknown", True),
        (Settlement(verdict="absent"), 1, 0, State.READY, "absent_twice", False),
        (Settlement(verdict="unclear"), 0, 0, State.UNCERTAIN, "unknown", True),
        (Settlement(verdict="unclear"), 0, 100, State.PARKED, "unsettled", False),
        (None, 0, 1000, State.UNCERTAIN, "unknown", True),
    ],
)
def test_settlements(
    settlement: Settlement | None, absent: int, age: float, target: State, cause: str, stays: bool
) -> None:
    d = claimed(state=State.UNCERTAIN, intent=77, absent=absent, age_s=age)
    c = judge.conclude_settlement(d, settlement, "r", POLICY, 1, call=None, elapsed_ms=None)
    assert (c.target, c.cause, c.stay) == (target, cause, stays)
    if not stays:
        check(State.UNCERTAIN, c.target, c.cause)
    assert c.resend == (77 if cause == "absent_twice" else None)


def test_what_never_arrives_is_a_persons_in_the_end() -> None:
    """Sent as often as the policy allows, and each time two inquiries found nothing: somebody in between takes it out."""
    d = claimed(state=State.UNCERTAIN, intent=77, absent=1, attempts=POLICY.max_attempts)
    c = judge.conclude_settlement(d, Settlement(verdict="absent"), "r", POLICY, 1, call=None, elapsed_ms=None)
    assert (c.target, c.cause) == (State.PARKED, "unsettled") and c.task is not None
    assert c.task.cause == "retries_exhausted" and c.resend is None
    check(State.UNCERTAIN, c.target, c.cause)


def test_nobody_is_asked_before_the_time_the_counterparty_named() -> None:
    later = judge.conclude_outcome(
        claimed(), Unknown(reason="HTTP 503", after_s=3600.0), POLICY, 1, idempotent=False, call=None, elapsed_ms=None
    )
    assert (later.target, later.after_s) == (State.UNCERTAIN, 3600.0)
    asked = claimed(state=State.UNCERTAIN, intent=77)
    again = judge.conclude_settlement(asked, None, "HTTP 429", POLICY, 1, call=None, elapsed_ms=None, after_s=3600.0)
    assert again.stay and again.after_s == 3600.0


def test_an_inquiry_that_fails_never_counts_as_absent() -> None:
    c = judge.conclude_settlement(
        claimed(state=State.UNCERTAIN, absent=1), None, "r", POLICY, 1, call=None, elapsed_ms=None
    )
    assert c.absent == 1 and c.stay


def test_errors() -> None:
    call = Call(operation="x", deliveries=(1,), body=b"", content_type="", idempotent=False)
    assert isinstance(judge.of_error(NotSent("a"), call), TryLater)
    assert isinstance(judge.of_error(MaybeSent("a"), call), Unknown)


def test_an_unmapped_code_parks_or_ends_as_the_flow_says() -> None:
    unmapped = SimpleNamespace(
        system="s", code="c", target_system="t", candidates=("1", "2"), field_title=Text("Xã", "Ward")
    )
    parked = judge.conclude_unmapped(claimed(), 1, unmapped, "park")
    assert parked.target is State.PARKED and parked.task is not None and parked.task.subject == "s:c→t"
    dead = judge.conclude_unmapped(claimed(), 1, unmapped, "reject")
    assert dead.target is State.DEAD and dead.task is None
