"""The expectation agrees with itself, and the comparison finds each kind of difference."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hub.simulate import city as generator
from hub.simulate.expect import Expectation, compare, expect

AT = datetime(2026, 11, 20, 6, 45, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))


@pytest.fixture(scope="module")
def wanted() -> Expectation:
    return expect(generator.build(7, 3, AT))


def test_the_numbers_of_a_morning(wanted: Expectation) -> None:
    tables: dict[str, int] = {}
    for (table, *_), times in wanted.ministry.items():
        tables[table] = tables.get(table, 0) + times
    assert tables == {"truong": 3, "lophoc": 30, "hocsinh": 1200 - 12 - 15, "diemdanh": 2400}
    assert wanted.population.total() == len(wanted.population) == 1188 == wanted.valid_learners
    assert wanted.portal.total() == len(wanted.portal) == 40
    assert sorted(len(r) for r in wanted.rejects.values()) == [0, 0, 12]
    assert len(wanted.parked) == 15
    assert len(set(wanted.parked.values())) == 5
    assert (wanted.checkins, wanted.quarantined, wanted.publications) == (2400, 200, 2520)
    assert wanted.sent_learners == 1200


def _entry(effect: tuple[str, ...], number: int) -> dict[str, Any]:
    if effect[0] == "diemdanh":
        return {
            "type": effect[0],
            "key": f"{effect[1]}/{number}",
            "version": 1,
            "content": {"ma": effect[2], "matruong": effect[3]},
        }
    if effect[0] == "lookup":
        return {"type": effect[0], "key": f"request-{number}", "version": 1, "content": {"number": effect[1]}}
    return {"type": effect[0], "key": effect[1], "version": int(effect[2]), "content": {}}


def _books(wanted: Expectation, system: str) -> list[dict[str, Any]]:
    effects = getattr(wanted, {"public_service": "portal"}.get(system, system)).elements()
    return [_entry(e, n) for n, e in enumerate(effects)]


@pytest.mark.parametrize("system", ["ministry", "population", "public_service"])
def test_books_as_expected_pass_and_each_difference_is_found(wanted: Expectation, system: str) -> None:
    expected = getattr(wanted, {"public_service": "portal"}.get(system, system))
    books = _books(wanted, system)
    right = compare(system, wanted.run, expected, books)
    assert right.ok
    assert right.found == right.expected == len(books)
    assert right.told() == []

    lost = compare(system, wanted.run, expected, books[1:])
    assert len(lost.missing) == 1
    assert not lost.ok

    doubled = compare(system, wanted.run, expected, [*books, books[-1]])
    assert len(doubled.doubled) == 1
    assert not doubled.ok

    stranger = {
        "type": "lookup" if system == "population" else "x",
        "key": "other",
        "version": 1,
        "content": {"number": "00"},
    }
    unexpected = compare(system, wanted.run, expected, [*books, stranger])
    assert len(unexpected.unexpected) == 1
    assert not unexpected.ok
    assert len(unexpected.told()) == 1


def test_one_passage_doubled_and_one_lost_do_not_cancel_out(wanted: Expectation) -> None:
    books = _books(wanted, "ministry")
    twice = next(e for e, n in wanted.ministry.items() if e[0] == "diemdanh" and n > 1)
    places = [
        i
        for i, b in enumerate(books)
        if b["type"] == "diemdanh" and b["key"].startswith(f"{twice[1]}/") and b["content"]["ma"] == twice[2]
    ]
    books[places[1]] = dict(books[places[0]])
    found = compare("ministry", wanted.run, wanted.ministry, books)
    assert found.found == found.expected
    assert found.doubled == [twice]


def test_what_an_interrupted_run_left_is_no_fault_of_this_one(wanted: Expectation) -> None:
    before = expect(generator.build(7, 2, AT))
    for system in ("ministry", "public_service"):
        expected = getattr(wanted, {"public_service": "portal"}.get(system, system))
        late = _books(before, system)
        found = compare(system, wanted.run, expected, [*_books(wanted, system), *late])
        assert found.ok
        assert found.earlier == len(late)
    hashes = frozenset(e[1] for e in before.population)
    found = compare(
        "population",
        wanted.run,
        wanted.population,
        [*_books(wanted, "population"), *_books(before, "population")],
        hashes,
    )
    assert found.ok
    assert found.earlier == 1188
