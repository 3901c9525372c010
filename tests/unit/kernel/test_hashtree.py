"""Leaves add up to nothing over two sides exactly when both hold the same, in whatever order."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.hashtree import leaf

RECORDS = st.dictionaries(st.text(max_size=80), st.binary(min_size=16, max_size=16), max_size=12)


def _sum(*sides: dict[str, bytes]) -> tuple[int, int]:
    leaves = [leaf(k, c) for side in sides for k, c in side.items()]
    return reduce(lambda a, b: (a[0] ^ b[0], a[1] ^ b[1]), leaves, (0, 0))


@given(RECORDS, RECORDS)
def test_two_sides_add_up_to_nothing_exactly_when_they_are_the_same(
    one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    assert (_sum(one, other) == (0, 0)) == (one == other)


@given(RECORDS)
def test_order_does_not_matter_and_halves_fit_the_database(one: dict[str, bytes]) -> None:
    assert _sum(one) == _sum(dict(reversed(one.items())))
    assert all(-(2**63) <= half < 2**63 for half in _sum(one))


def test_contents_exchanged_between_two_keys_are_seen() -> None:
    a, b = b"a" * 16, b"b" * 16
    assert _sum({"1": a, "2": b}) != _sum({"1": b, "2": a})
