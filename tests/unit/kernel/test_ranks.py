"""Fair shares: a school that pushes much does not keep the others waiting."""

from __future__ import annotations

from hub.kernel.ledger.core import Ranks


def test_a_greedy_school_is_interleaved_with_a_modest_one() -> None:
    ranks = Ranks(cost_us=1000)
    queue = sorted(
        [(ranks.next(1, "greedy", 0), "g") for _ in range(10_000)]
        + [(ranks.next(1, "modest", 0), "m") for _ in range(10)]
    )
    last_modest = max(place for place, (_, who) in enumerate(queue) if who == "m")
    # Strictly after the greedy ones it would stand at 10,000; how far in front depends on how long the pushing took.
    assert last_modest < 5_000


def test_within_a_school_the_order_of_arrival_stays() -> None:
    ranks = Ranks()
    given = [ranks.next(1, "a", 0) for _ in range(1000)]
    assert given == sorted(given) and len(set(given)) == 1000


def test_priority_is_a_head_start_not_a_right_of_way() -> None:
    ranks = Ranks()
    low = ranks.next(1, "a", 600)
    high = ranks.next(1, "b", -600)
    assert high < low and (low - high) / 1e6 < 1300
