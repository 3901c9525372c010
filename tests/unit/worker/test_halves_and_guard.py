"""When a batch is halved and at what price; when a share rests, when the connector."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connectors.errors import SettingsInvalid
from connectors.policy.guard import GuardSettings
from connectors.settings import validate
from hub.kernel.ledger import guards
from hub.kernel.ledger.shapes import Claimed, Conclusion, Exchange, TaskSpec
from hub.kernel.lifecycle import State
from hub.kernel.ports import Call, NeedsPerson, NeverTry, Reading, Receipt, Reply, Text, TryLater, Unknown
from hub.worker.guard import Guard, Window
from hub.worker.halves import allowance, refused_whole
from hub.worker.target import InHand

T = Text("v", "e")
REFUSED = NeedsPerson(cause="contract_refused", subject="HTTP 422", message=T)


def exchange(status: int | None, deliveries: tuple[int, ...] = (1, 2)) -> Exchange:
    call = Call(operation="push", deliveries=deliveries, body=b"", content_type="", idempotent=True)
    reply = Reply(status=status, body=b"") if status is not None else None
    return Exchange(id=1, klass=2, connector=1, call=call, mapping="m", reply=reply)


@pytest.mark.parametrize(
    ("status", "outcomes", "halve"),
    [
        (422, {1: REFUSED, 2: REFUSED}, True),
        (413, {1: NeverTry(reason="x", message=T), 2: NeverTry(reason="x", message=T)}, True),
        (400, {1: REFUSED, 2: REFUSED}, True),
        (409, {1: REFUSED, 2: REFUSED}, False),
        (200, {1: REFUSED, 2: REFUSED}, False),
        (422, {1: REFUSED, 2: Receipt()}, False),
        (422, {1: REFUSED}, False),
        (422, {1: REFUSED, 2: NeedsPerson(cause="contract_refused", subject="another", message=T)}, False),
        (422, {1: Unknown(reason="x"), 2: Unknown(reason="x")}, False),
        (422, {1: TryLater(reason="x"), 2: TryLater(reason="x")}, False),
        (422, {d: NeedsPerson(cause="c", subject="s", message=T, scope="connector") for d in (1, 2)}, False),
        (None, {1: REFUSED, 2: REFUSED}, False),
    ],
)  # fmt: skip
def test_only_a_batch_refused_as_one_is_halved(status: int | None, outcomes: Any, halve: bool) -> None:
    assert refused_whole(exchange(status), Reading(outcomes=outcomes)) is halve
    assert not refused_whole(exchange(status, (1,)), Reading(outcomes=outcomes))


def test_the_price_of_the_search_is_bounded_and_enough_for_a_few() -> None:
    def calls(guilty: set[int], records: list[int]) -> int:
        """Calls of halving without a bound."""
        if not guilty & set(records) or len(records) == 1:
            return 1
        middle = (len(records) + 1) // 2
        return 1 + calls(guilty, records[:middle]) + calls(guilty, records[middle:])

    assert allowance(1) == 0
    for size in (2, 10, 100, 1000):
        assert calls({size // 3}, list(range(size))) - 1 <= allowance(size)
        assert calls({0, size - 1}, list(range(size))) - 1 <= allowance(size)
        assert allowance(size) <= 4 * size


def concluded(
    school: str | None, outcome: str, cause: str = "contract_refused", target: State | None = None
) -> Conclusion:
    d = Claimed(id=1, record=1, klass=2, claim=5, attempts=1, flow="f", key="k", school=school, order_key=None)
    states = {
        "Receipt": State.DELIVERED,
        "NeedsPerson": State.PARKED,
        "NeverTry": State.DEAD,
        "TryLater": State.WAITING,
    }
    task = TaskSpec(connector=1, cause=cause, subject="s", text=T) if outcome == "NeedsPerson" else None
    return Conclusion(
        delivery=d, target=target or states[outcome], cause="x", outcome=outcome, reason=cause, task=task, call=7
    )


class Seen:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: int) -> None:
        self.shares: list[tuple[str | None, str]] = []
        self.connector: list[str] = []

        async def pause_share(_core: Any, _connector: int, school: str | None, cause: str, _text: Text) -> bool:
            self.shares.append((school, cause))
            return True

        async def pause(cause: str, _text: Text) -> None:
            self.connector.append(cause)

        monkeypatch.setattr(guards, "pause_share", pause_share)
        self.guard = Guard(None, 1, "ministry", GuardSettings(**({"refused": 10, "of_last": 20} | settings)), pause)  # type: ignore[arg-type]

    def note(self, *conclusions: Conclusion) -> None:
        asyncio.run(self.guard.note(list(conclusions)))


def test_bad_data_rests_that_schools_share_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch)
    bad, good = concluded("A", "NeedsPerson"), concluded("B", "Receipt")
    seen.note(*[bad, good] * 10)
    assert not seen.shares, "not more than ten"
    seen.note(bad)
    assert seen.shares == [("A", "contract_refused")] and not seen.connector
    held = {1: InHand(bad.delivery, 0.0), 2: InHand(good.delivery, 0.0)}
    assert seen.guard.bars(exchange(200, (1,)), held) and not seen.guard.bars(exchange(200, (2,)), held)
    assert not seen.guard.bars(exchange(200, (1, 2)), held), "others of the same call are not held up"
    seen.guard.claimed([bad.delivery])
    assert not seen.guard.bars(exchange(200, (1,)), held), "what is claimed was resumed"


def test_one_cause_at_several_schools_pauses_the_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch)
    seen.note(*[concluded(s, "NeverTry", "no such field") for s in "ABC" * 4])
    assert seen.connector == ["mass_refusal"] and not seen.shares


def test_two_schools_with_bad_data_rest_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch)
    seen.note(*[concluded(s, "NeedsPerson") for s in "AB" * 11])
    assert seen.shares == [("A", "contract_refused"), ("B", "contract_refused")] and not seen.connector


def test_what_is_taken_between_and_other_causes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch)
    seen.note(*[concluded("A", "NeedsPerson", f"cause {n % 5}") for n in range(40)])
    seen.note(*[concluded("A", o) for o in ("NeedsPerson", "Receipt") * 30])
    seen.note(*[concluded("A", "TryLater")] * 50)
    seen.note(*[concluded("A", "TryLater", target=State.PARKED)] * 50)
    assert not seen.shares and not seen.connector


def test_a_window_forgets_and_is_empty_when_all_refusals_are_forgotten() -> None:
    window = Window(5)
    assert not window
    for n in range(5):
        assert window.refused("c", "A") == (n + 1, 1)
    assert window.refused("c", "B") == (5, 2)
    for _ in range(5):
        assert window
        window.taken()
    assert not window


def test_the_guards_settings_must_leave_something_to_look_at() -> None:
    with pytest.raises(SettingsInvalid) as wrong:
        validate(
            {
                "name": "a", "system": "ministry", "transport": {"kind": "rest", "base_url": "https://a.example"},
                "policy": {"guard": {"refused": 100, "of_last": 100}},
            }
        )  # fmt: skip
    assert [e.pointer for e in wrong.value.errors] == ["/policy/guard"]
