"""The lifecycle of a delivery: its states, what may move it, and nothing else.

Pure: no database, no clock. The ledger asks `check` before it writes a transition; the table in docs/ARCHITECTURE.md is
drawn from `TRANSITIONS` by `hub docs`. It must never hold a rule that depends on anything but the two states and the cause.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class State(IntEnum):
    """Where a delivery stands. The numbers are stored: never renumber."""

    HELD = 1
    READY = 2
    SENDING = 3
    WAITING = 4
    PARKED = 5
    UNCERTAIN = 6
    DELIVERED = 7
    DEAD = 8
    CANCELLED = 9

    @property
    def word(self) -> str:
        """The state's name as people and the API see it."""
        return self.name.lower()


FINAL = frozenset({State.DELIVERED, State.DEAD, State.CANCELLED})
"""States only a replay leaves; deliveries in them live in the closed history."""

OPEN = frozenset(State) - FINAL


class Transition(NamedTuple):
    """One allowed move. `by` is who makes it, `needs_claim` whether it must carry the claim's token."""

    source: State | None
    target: State
    cause: str
    by: str
    needs_claim: bool
    meaning: str


_S = State
TRANSITIONS: tuple[Transition, ...] = (
    Transition(None, _S.READY, "routed", "ledger", False, "no earlier open delivery holds its order key"),
    Transition(None, _S.HELD, "routed_behind", "ledger", False, "an earlier open delivery holds its order key"),
    Transition(None, _S.READY, "replayed", "operator", False, "a new delivery of a record already sent or given up"),
    Transition(None, _S.READY, "compared", "ledger", False, "a comparison found that the counterparty lacks it"),
    Transition(None, _S.HELD, "replayed_behind", "operator", False, "a replay queued behind an open delivery"),
    Transition(_S.HELD, _S.READY, "promoted", "ledger", False, "the delivery before it ended, or stepped aside"),
    Transition(_S.HELD, _S.CANCELLED, "superseded", "ledger", False, "the flow keeps only the latest version"),
    Transition(_S.HELD, _S.CANCELLED, "cancelled", "operator", False, "a person withdrew it"),
    Transition(_S.READY, _S.SENDING, "claimed", "worker", False, "a worker took it with a lease"),
    Transition(_S.READY, _S.CANCELLED, "superseded", "ledger", False, "the flow keeps only the latest version"),
    Transition(_S.READY, _S.CANCELLED, "cancelled", "operator", False, "a person withdrew it"),
    Transition(_S.SENDING, _S.DELIVERED, "receipt", "worker", True, "the counterparty has it"),
    Transition(
        _S.SENDING, _S.DELIVERED, "unchanged", "worker", True, "the counterparty has all of it: nothing was sent"
    ),
    Transition(_S.SENDING, _S.WAITING, "prerequisite", "worker", True, "what it leans on is not delivered there yet"),
    Transition(_S.SENDING, _S.WAITING, "try_later", "worker", True, "certainly not taken; due again later"),
    Transition(_S.SENDING, _S.WAITING, "harmless", "worker", True, "may have been taken, but a repeat does no harm"),
    Transition(_S.SENDING, _S.WAITING, "in_progress", "worker", True, "taken up there; asked again when due"),
    Transition(_S.SENDING, _S.READY, "released", "worker", True, "given back unsent (shutdown, pause, quota, breaker)"),
    Transition(_S.SENDING, _S.READY, "lease_lost", "ticker", False, "the lease ended and nothing had been sent"),
    Transition(_S.SENDING, _S.UNCERTAIN, "lease_lost_intent", "ticker", False, "the lease ended after an intent"),
    Transition(_S.SENDING, _S.UNCERTAIN, "unknown", "worker", True, "it may have been taken"),
    Transition(_S.SENDING, _S.PARKED, "needs_person", "worker", True, "a person must act first"),
    Transition(_S.SENDING, _S.DEAD, "never", "worker", True, "the counterparty will never take it"),
    Transition(_S.SENDING, _S.CANCELLED, "stale", "worker", True, "too long ago to be told: nothing was sent"),
    Transition(
        _S.SENDING,
        _S.CANCELLED,
        "not_theirs",
        "worker",
        True,
        "it is about nobody this receiver is told about: nothing was sent",
    ),
    Transition(_S.WAITING, _S.READY, "due", "recovery", False, "recovery released it"),
    Transition(_S.WAITING, _S.READY, "prerequisite_met", "ledger", False, "what it waited for was delivered"),
    Transition(_S.WAITING, _S.READY, "sent_anyway", "operator", False, "a person had it sent without"),
    Transition(_S.WAITING, _S.CANCELLED, "cancelled", "operator", False, "a person withdrew it"),
    Transition(_S.PARKED, _S.READY, "resolved", "operator", False, "the task it waited for was resolved"),
    Transition(
        _S.PARKED, _S.HELD, "resolved_behind", "operator", False, "resolved, while a later one of its key is on its way"
    ),
    Transition(_S.PARKED, _S.DELIVERED, "settled_by_person", "operator", False, "a person saw it at the counterparty"),
    Transition(_S.PARKED, _S.DEAD, "given_up", "operator", False, "a person gave it up"),
    Transition(_S.PARKED, _S.CANCELLED, "cancelled", "operator", False, "a person withdrew it"),
    Transition(_S.UNCERTAIN, _S.DELIVERED, "present", "worker", False, "the inquiry, or a late reply, found it"),
    Transition(_S.UNCERTAIN, _S.WAITING, "in_progress", "worker", False, "the inquiry found it taken up there"),
    Transition(
        _S.UNCERTAIN,
        _S.READY,
        "absent_twice",
        "worker",
        False,
        "two inquiries apart found nothing: resend the same bytes",
    ),
    Transition(
        _S.UNCERTAIN,
        _S.PARKED,
        "unsettled",
        "worker",
        False,
        "no inquiry could settle it, or it was sent as often as may be",
    ),
)

_BY_MOVE = {(t.source, t.target, t.cause): t for t in TRANSITIONS}


class ForbiddenTransition(Exception):
    """Chuyển trạng thái không được phép. / A delivery was asked to make a move its lifecycle does not have."""


def check(source: State | None, target: State, cause: str) -> Transition:
    """Return the transition, or raise `ForbiddenTransition`."""
    try:
        return _BY_MOVE[(source, target, cause)]
    except KeyError:
        raise ForbiddenTransition(f"{source and source.word} → {target.word} ({cause})") from None


def table() -> str:
    """The transitions as a Markdown table, for the documentation."""
    lines = ["| from | to | cause | by | claim token | meaning |", "|---|---|---|---|---|---|"]
    for t in TRANSITIONS:
        source = t.source.word if t.source else "–"
        lines.append(
            f"| {source} | {t.target.word} | `{t.cause}` | {t.by} | {'yes' if t.needs_claim else ''} | {t.meaning} |"
        )
    return "\n".join(lines)
