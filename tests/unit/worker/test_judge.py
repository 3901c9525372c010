"""What outcomes make of deliveries, where nobody can be asked: one try, then a person."""

from __future__ import annotations

from hub.kernel.ledger.shapes import Claimed
from hub.kernel.lifecycle import State, check
from hub.worker.judge import conclude_unaskable


def test_what_cannot_be_asked_about_is_a_persons_and_is_never_sent_again_by_itself() -> None:
    uncertain = Claimed(
        id=7, record=8, klass=2, claim=9, attempts=1, flow="f", key="000.00.12.H24-261122-0001", school=None, order_key=None,
        state=State.UNCERTAIN, intent=11,
    )  # fmt: skip
    found = conclude_unaskable(uncertain, 3)
    check(uncertain.state, found.target, found.cause)
    assert (found.target, found.cause, found.kind) == (State.PARKED, "unsettled", "inquire")
    assert found.resend is None and not found.stay and found.after_s is None
    assert found.task is not None
    assert (found.task.connector, found.task.cause, found.task.subject) == (3, "unsettled", uncertain.key)
    assert found.task.text.vi and found.task.text.en
