"""From outcomes to conclusions: what each kind of answer makes of a delivery. Pure.

It must never talk to anyone: it decides, the ledger writes.
"""

from __future__ import annotations

from typing import Any

from hub.kernel.ledger.operations import code_subject
from hub.kernel.ledger.shapes import Claimed, Conclusion, TaskSpec
from hub.kernel.lifecycle import State
from hub.kernel.ports import (
    Call,
    InProgress,
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
from hub.worker.policy import Policy

_EXHAUSTED = Text(
    "Đã thử gửi nhiều lần mà đối tác vẫn chưa nhận; cần người xem xét.",
    "Tried as often as the policy allows and still not taken; a person must look.",
)
_UNSETTLED = Text(
    "Không rõ đối tác đã nhận hay chưa và không hỏi lại được; hãy kiểm tra ở hệ thống đối tác rồi chọn cách xử lý.",
    "Whether the counterparty took it is not known and it cannot be asked; look there, then decide.",
)


def of_error(error: Exception, call: Call) -> Outcome:
    """What a failed send means: nothing left (try later), or it may have (unknown)."""
    reason = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, NotSent):
        return TryLater(reason=reason)
    assert isinstance(error, MaybeSent)
    return Unknown(reason=reason)


def conclude_outcome(
    delivery: Claimed,
    outcome: Outcome,
    policy: Policy,
    connector: int,
    *,
    idempotent: bool,
    call: int | None,
    elapsed_ms: float | None,
) -> Conclusion:
    """The move an outcome makes. `NeedsPerson` for the whole connector gives the delivery back to the queue."""

    def move(target: State, cause: str, **more: Any) -> Conclusion:
        return Conclusion(
            delivery=delivery,
            target=target,
            cause=cause,
            outcome=type(outcome).__name__,
            call=call,
            elapsed_ms=elapsed_ms,
            **more,
        )

    exhausted = delivery.attempts >= policy.max_attempts
    match outcome:
        case Receipt():
            return move(State.DELIVERED, "receipt", reference=outcome.reference, detail=outcome.detail)
        case InProgress():
            return move(
                State.WAITING, "in_progress", conversation=outcome.state, after_s=outcome.after_s, reference=outcome.reference
            )  # fmt: skip
        case NeverTry():
            return move(
                State.DEAD, "never", reason=outcome.reason, detail=f"{outcome.message.vi} / {outcome.message.en}"
            )
        case NeedsPerson(scope="connector"):
            return move(State.READY, "released", reason=f"{outcome.cause}: {outcome.subject}")
        case NeedsPerson():
            task = TaskSpec(connector=connector, cause=outcome.cause, subject=outcome.subject, text=outcome.message)
            return move(State.PARKED, "needs_person", reason=f"{outcome.cause}: {outcome.subject}", task=task)
        case Unknown() if not idempotent:
            after = max(policy.settle_after_s, outcome.after_s or 0.0)
            return move(State.UNCERTAIN, "unknown", reason=outcome.reason, after_s=after)
        case TryLater() | Unknown() if exhausted:
            task = TaskSpec(
                connector=connector, cause="retries_exhausted", subject=outcome.reason[:100], text=_EXHAUSTED
            )
            return move(State.PARKED, "needs_person", reason=outcome.reason, task=task)
        case Unknown():
            after = policy.wait_s(delivery.attempts, outcome.after_s, call)
            return move(State.WAITING, "harmless", reason=outcome.reason, after_s=after)
        case TryLater():
            after = policy.wait_s(delivery.attempts, outcome.after_s, call)
            return move(State.WAITING, "try_later", reason=outcome.reason, after_s=after)
    raise AssertionError(outcome)


def conclude_unmapped(delivery: Claimed, connector: int, unmapped: Any, how: str) -> Conclusion:
    """A code the flow needs has no meaning at the target: wait for a person, or give up where the flow says so."""
    title = unmapped.field_title
    text = Text(
        f"Mã “{unmapped.code}” ({unmapped.system}) chưa có trong bảng {unmapped.target_system}; cần cho trường {title.vi}.",
        f"Code “{unmapped.code}” ({unmapped.system}) has no match in {unmapped.target_system}; needed for {title.en}.",
    )
    reason = f"unmapped {unmapped.system}:{unmapped.code} → {unmapped.target_system}"
    if how == "reject":
        detail = f"{text.vi} / {text.en}"
        return Conclusion(
            delivery=delivery, target=State.DEAD, cause="never", outcome="Unmapped", reason=reason, detail=detail
        )
    task = TaskSpec(
        connector=connector,
        cause="unmapped_code",
        subject=code_subject(unmapped.system, unmapped.code, unmapped.target_system),
        text=text,
        data={
            "source_system": unmapped.system,
            "code": unmapped.code,
            "target_system": unmapped.target_system,
            "candidates": list(unmapped.candidates),
        },
    )
    return Conclusion(
        delivery=delivery, target=State.PARKED, cause="needs_person", outcome="Unmapped", reason=reason, task=task
    )


def conclude_stale(delivery: Claimed) -> Conclusion:
    """What happened is too long ago for this flow: nothing is sent."""
    return Conclusion(delivery=delivery, target=State.CANCELLED, cause="stale", outcome="Stale", reason="too long ago")


def conclude_not_theirs(delivery: Claimed) -> Conclusion:
    """A passage of somebody this receiver is told nothing about: nothing is sent."""
    why = "a member of staff"
    return Conclusion(delivery=delivery, target=State.CANCELLED, cause="not_theirs", outcome="NotTheirs", reason=why)


def conclude_unrenderable(delivery: Claimed, connector: int, error: Exception) -> Conclusion:
    """A record its adapter or field map cannot turn into a message: one task per kind of fault, others go on."""
    text = Text(
        f"Không dựng được thông điệp từ bản ghi: {error}", f"The record cannot be turned into a message: {error}"
    )
    task = TaskSpec(
        connector=connector, cause="cannot_render", subject=f"{type(error).__name__}: {error}"[:100], text=text
    )
    return Conclusion(
        delivery=delivery,
        target=State.PARKED,
        cause="needs_person",
        outcome="CannotRender",
        reason=str(error)[:300],
        task=task,
    )


def conclude_settlement(
    delivery: Claimed,
    settlement: Settlement | None,
    reason: str,
    policy: Policy,
    connector: int,
    *,
    call: int | None,
    elapsed_ms: float | None,
    after_s: float | None = None,
) -> Conclusion:
    """What an inquiry makes of an uncertain delivery. `settlement` None: the inquiry itself failed, ask again later, and not before
    `after_s`."""
    verdict = settlement.verdict if settlement else "unanswered"

    def move(target: State, cause: str, **more: Any) -> Conclusion:
        return Conclusion(
            delivery=delivery,
            target=target,
            cause=cause,
            outcome=verdict,
            kind="inquire",
            reason=reason,
            call=call,
            elapsed_ms=elapsed_ms,
            **more,
        )

    if settlement is not None and settlement.verdict == "present" and settlement.going_on is not None:
        on = settlement.going_on
        return move(State.WAITING, "in_progress", conversation=on.state, after_s=on.after_s, reference=on.reference)
    if settlement is not None and settlement.verdict == "present":
        return move(State.DELIVERED, "present", reference=settlement.reference, detail=settlement.detail)
    if settlement is not None and settlement.verdict == "absent":
        if delivery.absent >= 1 and delivery.attempts >= policy.max_attempts:
            task = TaskSpec(connector=connector, cause="retries_exhausted", subject=reason[:100], text=_EXHAUSTED)
            return move(State.PARKED, "unsettled", task=task)
        if delivery.absent >= 1:
            return move(State.READY, "absent_twice", resend=delivery.intent, absent=0)
        return move(State.UNCERTAIN, "unknown", absent=1, after_s=policy.absent_gap_s, stay=True)
    if settlement is not None and delivery.age_s > policy.unclear_for_s:
        return move(State.PARKED, "unsettled", task=unsettled_task(connector, delivery))
    after = max(policy.settle_after_s, after_s or 0.0)
    return move(State.UNCERTAIN, "unknown", absent=delivery.absent, after_s=after, stay=True)


def unsettled_task(connector: int, delivery: Claimed) -> TaskSpec:
    """One task per delivery: a person has to look for this very one at the counterparty."""
    return TaskSpec(connector=connector, cause="unsettled", subject=delivery.key, text=_UNSETTLED)


def conclude_unaskable(delivery: Claimed, connector: int) -> Conclusion:
    """The counterparty offers neither deduplication nor inquiry: one try, then a person."""
    return Conclusion(
        delivery=delivery,
        target=State.PARKED,
        cause="unsettled",
        outcome="unaskable",
        kind="inquire",
        task=unsettled_task(connector, delivery),
    )
