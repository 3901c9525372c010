"""The generator: the same twice, exact numbers, every valid item readable, every faulty one refused where it says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from adapters.population.simulator import Person
from hub.kernel.ports import Draft
from hub.simulate import city as generator
from hub.simulate.city import City
from hub.simulate.faults import FAULTS
from hub.simulate.places import places
from mappings.canonical.parse import parse_item
from mappings.canonical.registry import TYPES
from mappings.engine import Catalogue

AT = datetime(2026, 11, 20, 6, 45, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))


@pytest.fixture(scope="module")
def city() -> City:
    return generator.build(7, 1, AT)


def test_the_same_seed_run_and_hour_give_the_same_city(city: City) -> None:
    assert generator.build(7, 1, AT) == city
    assert generator.build(8, 1, AT) != city


def test_runs_share_no_key(city: City) -> None:
    other = generator.build(7, 2, AT)
    for keys in (
        lambda c: {s.code for s in c.schools},
        lambda c: {p.code for s in c.schools for p in s.roster},
        lambda c: {g.device for g in c.gates},
        lambda c: {f["data"]["file_number"] for f in c.filings},
    ):
        assert not keys(city) & keys(other)


@pytest.mark.parametrize("run", [0, 1000])
def test_a_run_whose_numbers_would_not_fit_is_refused(run: int) -> None:
    with pytest.raises(ValueError, match="run"):
        generator.build(7, run, AT)


def test_rosters(city: City) -> None:
    assert [len(s.roster) for s in city.schools] == [400, 400, 400]
    learners = [p for s in city.schools for p in s.roster]
    assert len({p.code for p in learners}) == len({p.person.number for p in learners}) == 1200
    assert [sum(p.fault is not None for p in s.roster) for s in city.schools] == [12, 0, 0]
    assert len({p.fault.name for p in learners if p.fault}) == len(FAULTS) == 12
    split = [p for p in city.schools[2].roster if p.split_ward]
    assert len(split) == 15
    assert sorted(Counter(p.split_ward for p in split).values()) == [3] * 5
    assert not any(p.split_ward for s in city.schools[:2] for p in s.roster)
    levels = [{int(p.item["data"]["grade"]) for p in s.roster} for s in city.schools]
    assert levels == [set(range(1, 6)), set(range(6, 10)), set(range(10, 13))]


def test_gates(city: City) -> None:
    assert Counter(g.family for g in city.gates) == {"face_mqtt": 3, "native": 3}
    events = [(g, p) for g in city.gates for p in g.plan]
    assert len(events) == 2400
    assert sum(not p.live for _, p in events) == 200
    assert sum(p.copies - 1 for _, p in events) == 120
    (wrong,) = [g for g in city.gates if g.wrong_clock]
    assert len(wrong.plan) == 200
    shown = AT + timedelta(seconds=wrong.clock_error_s)
    assert shown.year == 2009, "a battery's end, not a drift: no device of ours existed then"
    assert all(p.live and p.copies == 1 for p in wrong.plan), (
        "a copy would race its original for the verdict on its time"
    )
    for gate in city.gates:
        mine = {p.code for s in city.schools if s.code == gate.school for p in s.roster if p.fault is None}
        assert {p.person for p in gate.plan} <= mine
        assert all(a.at_s <= b.at_s for a, b in pairwise(gate.plan))


def test_every_valid_item_is_taken_and_every_faulty_one_refused_at_its_place(city: City) -> None:
    now = AT.astimezone(UTC)
    pushed = [("school", s.item) for s in city.schools] + [("class", c) for s in city.schools for c in s.classes]
    pushed += [("filing", f) for f in city.filings]
    for type_, item in pushed:
        assert isinstance(parse_item(type_, msgspec.json.encode(item), "", now), Draft), item
    schools = {s.code for s in city.schools}
    for school in city.schools:
        for place, learner in enumerate(school.roster):
            found = parse_item("learner", msgspec.json.encode(learner.item), f"/{place}", now)
            fault = learner.fault
            if fault is None:
                assert isinstance(found, Draft), found
                assert found.key == learner.code
            elif fault.at_ledger:
                assert isinstance(found, Draft)
                assert found.school not in schools
                assert found.pointer == f"/{place}{fault.place}"
            else:
                assert isinstance(found, list)
                assert [(r.pointer, r.code) for r in found] == [(f"/{place}{fault.place}", fault.code)]


def test_exactly_the_split_wards_have_no_canonical_code(city: City) -> None:
    catalogue = Catalogue.load()
    for school in city.schools:
        for learner in school.roster:
            found = parse_item("learner", msgspec.json.encode(learner.item), "", AT)
            if not isinstance(found, Draft):
                continue
            catalogue.standardise_record(TYPES["learner"], found.body, found.updated_at.date())
            unmapped = [
                (value["system"], value["code"])
                for _, value, _ in TYPES["learner"].codes_of(found.body)
                if value["canonical"] is None
            ]
            assert unmapped == ([("vn-ward-2024", learner.split_ward)] if learner.split_ward else [])


def test_places_are_the_real_ones() -> None:
    known = places()
    assert len(known.wards) == 114
    assert len(known.whole) == 303
    assert len(known.split) == 71


def test_the_people_file_is_the_population_simulators(city: City, tmp_path: Path) -> None:
    assert generator.people_file(city, tmp_path / "x" / "people.json") == 1200
    people = msgspec.json.decode((tmp_path / "x" / "people.json").read_bytes(), type=list[Person])
    assert {p.number for p in people} == {p.person.number for s in city.schools for p in s.roster}
