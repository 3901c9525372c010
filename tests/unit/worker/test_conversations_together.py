"""Conversations that go on at one moment share calls where their adapter says so; one that cannot go on holds up no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.policy.retry import RetrySettings
from hub.kernel.ledger.shapes import Claimed
from hub.kernel.ports import Call, Outgoing
from hub.worker.conversations import Conversations
from hub.worker.policy import Policy


def claimed(number: int) -> Claimed:
    out = Outgoing(
        delivery=number, record=number, type="t", key=f"k{number}", event="UPDATE", version=1,
        updated_at=datetime(2026, 11, 20, tzinfo=UTC), school=None, body={}, mapped={},
    )  # fmt: skip
    return Claimed(
        id=number, record=number, klass=1, claim=1, attempts=1, flow="f", key=f"k{number}", school=None, order_key=None, outgoing=out,
    )  # fmt: skip


def call(*deliveries: int) -> Call:
    return Call(operation="ask", deliveries=deliveries, body=b"", content_type="", idempotent=True)


class Alone:
    def resume(self, one: Outgoing, state: Mapping[str, str]) -> Call:
        if state.get("broken"):
            raise ValueError("a state nobody can read")
        return call(one.delivery)


class Together(Alone):
    def __init__(self, *calls: Call) -> None:
        self.calls = list(calls)
        self.most: int | None = None

    def resume_many(self, begun: Sequence[tuple[Outgoing, Mapping[str, str]]], most: int) -> list[Call]:
        self.most = most
        if any(state.get("broken") for _, state in begun):
            raise ValueError("a state nobody can read")
        return self.calls


def resumed(adapter: Any, states: dict[int, dict[str, str]]) -> tuple[list[tuple[int, ...]], list[int]]:
    target: Any = SimpleNamespace(adapter=adapter, name="gates", number=1, policy=SimpleNamespace(batch_max=100))
    made = Conversations(SimpleNamespace(), target)  # type: ignore[arg-type]
    made._states = states
    calls, ended = made.resumed([claimed(n) for n in states], lambda d: None)
    for c, first in calls:
        assert c.deliveries[0] == first.id
    return [c.deliveries for c, _ in calls], [c.delivery.id for c in ended]


def test_they_share_a_call() -> None:
    adapter = Together(call(2, 1), call(3))
    assert resumed(adapter, {1: {}, 2: {}, 3: {}}) == ([(2, 1), (3,)], [])
    assert adapter.most == 100


@pytest.mark.parametrize(
    "calls",
    [[call(1)], [call(1, 2), call(2)], [call(1, 2, 9)], []],
    ids=["one left out", "one twice", "a stranger", "none"],
)
def test_where_not_everybody_has_one_next_call_each_goes_on_by_itself(calls: list[Call]) -> None:
    assert resumed(Together(*calls), {1: {}, 2: {}}) == ([(1,), (2,)], [])


def test_one_that_cannot_go_on_holds_up_no_other() -> None:
    assert resumed(Together(), {1: {}, 2: {"broken": "1"}, 3: {}}) == ([(1,), (3,)], [2])


def test_one_alone_and_an_adapter_without_it_go_on_as_ever() -> None:
    assert resumed(Together(), {1: {}}) == ([(1,)], [])
    assert resumed(Alone(), {1: {}, 2: {}}) == ([(1,), (2,)], [])


def test_what_shared_a_call_waits_alike_and_calls_spread() -> None:
    policy = Policy(
        concurrency=1, batch_max=1, timeout_s=1, lease_s=1, settle_after_s=1, absent_gap_s=1, unclear_for_s=1, max_attempts=9,
        retry=RetrySettings(),
    )  # fmt: skip
    for wish in (None, 300.0):
        assert len({policy.wait_s(4, wish, call=77) for _ in range(20)}) == 1
        assert len({policy.wait_s(4, wish, call=n) for n in range(20)}) == 20
        assert len({policy.wait_s(4, wish) for _ in range(20)}) == 20
