"""What a gateway holds of a gate's own numbers: until the ledger has it, and no longer."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.api.gate_numbers import GateNumbers
from hub.kernel.ledger.gate_numbers import Missing as Hole
from hub.kernel.ledger.gate_numbers import Seen, _few


def said(serial: int, first: int | None = None, **more: Any) -> dict[str, Any]:
    return {"serial": serial, "covers": [serial if first is None else first, serial], **more}


def test_its_own_word_holds_until_a_reading_that_began_after_it_was_told() -> None:
    numbers = GateNumbers()
    numbers.saw("H1", said(7))
    assert numbers.over("H1", 5, None, 10.0)["serial"] == 7
    taken = numbers.take(["H1", "other"])
    assert taken == {"H1": Seen(ranges=[(7, 7)])}
    assert numbers.over("H1", 5, None, 11.0)["serial"] == 7, "on its way"
    numbers.told(taken, 12.0)
    assert numbers.over("H1", 5, None, 11.5)["serial"] == 7, "this reading began before"
    assert numbers.over("H1", 9, None, 13.0)["serial"] == 9
    assert numbers.over("H1", 3, None, 14.0)["serial"] == 3, "it was wiped, and told so elsewhere"


def test_what_came_while_it_was_told_is_still_its_own() -> None:
    numbers = GateNumbers()
    numbers.saw("H1", said(7))
    taken = numbers.take(["H1"])
    numbers.saw("H1", said(8))
    numbers.told(taken, 12.0)
    assert numbers.over("H1", 7, None, 13.0)["serial"] == 8


def test_numbers_one_after_the_other_are_one_range() -> None:
    numbers = GateNumbers()
    for n in (*range(1, 50), 60, 61, 55):
        numbers.saw("H1", said(n) if n != 55 else {"covers": [55, 55]})
    assert numbers.take(["H1"])["H1"].ranges == [(1, 49), (60, 61), (55, 55)]
    assert numbers.take(["H1"]) == {}


def test_a_gate_that_counts_anew_leaves_what_was_before() -> None:
    numbers = GateNumbers()
    numbers.saw("H1", said(5000))
    numbers.saw("H1", said(1, anew=True))
    numbers.saw("H1", said(2))
    assert numbers.over("H1", 5000, None, 1.0)["serial"] == 2
    (seen,) = numbers.take(["H1"]).values()
    assert seen == Seen(ranges=[(1, 2)], anew=True)


def test_a_stamp_alone_is_told_and_kept() -> None:
    numbers = GateNumbers()
    numbers.saw("Z1", {"stamp": "9100"})
    numbers.saw("Z1", {})
    assert numbers.over("Z1", None, "17", 1.0) == {"serial": None, "stamp": "9100"}
    assert numbers.take(["Z1"]) == {"Z1": Seen(ranges=[], stamp="9100")}


def test_what_is_not_registered_is_forgotten() -> None:
    numbers = GateNumbers()
    numbers.saw("H1", said(1))
    numbers.forget(["H2"])
    assert numbers.take(["H1"]) == {} and numbers.over("H1", None, None, 0.0)["serial"] is None


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=40))
def test_nothing_is_lost_of_what_could_not_be_told(steps: list[tuple[bool, int]]) -> None:
    """Told or not, in the end the ledger has each number, once or more often."""
    numbers, there = GateNumbers(), set[int]()

    def tell(works: bool) -> None:
        taken = numbers.take(["H1"])
        if works:
            numbers.told(taken, 0.0)
            for seen in taken.values():
                there.update(n for first, last in seen.ranges for n in range(first, last + 1))
        else:
            numbers.untold(taken)

    for works, number in steps:
        numbers.saw("H1", said(number))
        tell(works)
    tell(True)
    assert there == {number for _, number in steps}


def test_a_gate_full_of_holes_has_few_of_them_remembered() -> None:
    few = _few([Hole("H1", "hikvision", n, n) for n in range(1, 1000, 2)])
    assert len(few) == 20 and (few[-1].first, few[-1].last) == (39, 999)
