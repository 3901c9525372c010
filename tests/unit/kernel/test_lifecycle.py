"""The lifecycle's table, held against what it promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.lifecycle import FINAL, OPEN, TRANSITIONS, ForbiddenTransition, State, check, table


def test_every_open_state_can_be_reached_and_left() -> None:
    entered = {t.target for t in TRANSITIONS}
    assert entered == set(State)
    assert {t.source for t in TRANSITIONS if t.source} == OPEN


def test_nothing_leaves_a_final_state() -> None:
    assert not [t for t in TRANSITIONS if t.source in FINAL]


def test_from_everywhere_an_end_can_be_reached() -> None:
    ends = set(FINAL)
    while True:
        more = {t.source for t in TRANSITIONS if t.target in ends and t.source} - ends
        if not more:
            break
        ends |= more
    assert ends == set(State)


def test_what_leaves_sending_by_a_worker_carries_the_claim() -> None:
    for t in TRANSITIONS:
        if t.source is State.SENDING:
            assert t.needs_claim == (t.by == "worker"), t


def test_uncertain_is_never_resent_without_two_absent_answers() -> None:
    assert {t.cause for t in TRANSITIONS if t.source is State.UNCERTAIN and t.target is State.READY} == {"absent_twice"}


@given(
    st.sampled_from([None, *State]),
    st.sampled_from(list(State)),
    st.sampled_from([t.cause for t in TRANSITIONS] + ["x"]),
)
def test_check_allows_exactly_the_table(source: State | None, target: State, cause: str) -> None:
    allowed = any((t.source, t.target, t.cause) == (source, target, cause) for t in TRANSITIONS)
    if allowed:
        assert check(source, target, cause).cause == cause
    else:
        with pytest.raises(ForbiddenTransition):
            check(source, target, cause)


def test_the_drawn_table_has_every_transition() -> None:
    assert table().count("\n") == len(TRANSITIONS) + 1
