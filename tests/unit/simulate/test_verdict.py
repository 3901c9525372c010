"""A perfect morning passes; whatever one thing goes wrong in it, the verdict says so."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from hub.simulate import city as generator
from hub.simulate import summary
from hub.simulate.city import City
from hub.simulate.expect import expect
from hub.simulate.morning import Played
from hub.simulate.sender import Answer
from hub.simulate.verdict import judge
from iot.gate import Entry

AT = datetime(2026, 11, 20, 6, 45, tzinfo=generator.ZONE)


def _answer(code: str, records: int, rejected: int = 0, replayed: bool = False) -> Answer:
    return Answer(status=202, body={"receipt": code, "records": records, "rejected": rejected}, replayed=replayed)


def _receipt_of_school(city: City, index: int) -> dict[str, Any]:
    school = city.schools[index]
    records, rejects = [], []
    for place, learner in enumerate(school.roster):
        if learner.fault is not None:
            rejects.append({"pointer": f"/{place}{learner.fault.place}", "code": learner.fault.code})
            continue
        ministry: dict[str, Any] = {"connector": "ministry", "state": "delivered"}
        if learner.split_ward:
            ministry = {"connector": "ministry", "state": "parked", "text": {"vi": f"Mã “{learner.split_ward}”"}}
        records.append(
            {"key": learner.code, "deliveries": [ministry, {"connector": "population", "state": "delivered"}]}
        )
    return {"records": records, "rejects": rejects}


def _perfect(city: City) -> Played:
    e = expect(city)
    at = datetime.now(UTC).isoformat()
    played = Played(city=city, expectation=e, started=datetime.now(UTC), account={"balanced": True, "differences": {}})
    for index, school in enumerate(city.schools):
        bad = len(e.rejects[school.code])
        played.rosters[school.code] = _answer(f"R{index}", 400 - bad, bad)
        played.receipts[school.code] = _receipt_of_school(city, index)
        played.others.append(_answer("", 1 + len(school.classes)))
    played.repeated = _answer("R1", 400, replayed=True)
    played.conflicting = Answer(status=422, body={}, replayed=False)
    for item in city.filings:
        number = item["data"]["file_number"]
        played.filings[number] = _answer(number, 1)
        played.receipts[number] = {
            "records": [{"key": number, "deliveries": [{"connector": "public_service", "state": "delivered"}]}]
        }
    for gate in city.gates:
        played.gates[gate.device] = [
            Entry(event=str(n), plan=p, device_time="", marks=[], published=p.copies, acks=1)
            for n, p in enumerate(gate.plan)
        ]
    for system, effects in (("ministry", e.ministry), ("population", e.population), ("public_service", e.portal)):
        played.effects[system] = [_effect(x, n, at) for n, x in enumerate(effects.elements())]
        played.books[system] = {
            "requests": 1,
            "refusals": {},
            "order_violations": [],
            "over_quota": 0,
            "peak_per_s": 50,
        }
    return played


def _effect(x: tuple[str, ...], number: int, at: str) -> dict[str, Any]:
    base = {"type": x[0], "version": 1, "at": at, "content": {}}
    if x[0] == "diemdanh":
        return base | {"key": f"{x[1]}/{number}", "content": {"ma": x[2], "matruong": x[3]}}
    if x[0] == "lookup":
        return base | {"key": str(number), "content": {"number": x[1], "found": True}}
    return base | {"key": x[1]}


@pytest.fixture(scope="module")
def perfect() -> Played:
    return _perfect(generator.build(11, 4, AT))


def test_a_perfect_morning_passes(perfect: Played, tmp_path: Path) -> None:
    verdict = judge(perfect)
    assert verdict.ok, [c for c in verdict.checks if not c.ok] + [r for r in verdict.rows if not r.ok]
    out = io.StringIO()
    assert summary.show(verdict, Console(file=out, width=80))
    assert "3606" in out.getvalue()
    assert "✘" not in out.getvalue()
    summary.keep(verdict, tmp_path / "morning.json")
    kept = msgspec.json.decode((tmp_path / "morning.json").read_bytes())
    assert kept["ok"] is True
    assert [r["expected"] for r in kept["rows"]] == [1261, 2400, 3606, 1188, 40]


def _wrong_gate(p: Played) -> str:
    return next(g.device for g in p.city.gates if g.wrong_clock)


def _strip_reason(p: Played) -> None:
    for record in p.receipts[p.city.schools[2].code]["records"]:
        for delivery in record["deliveries"]:
            delivery.pop("text", None)


SPOILED: dict[str, Callable[[Played], object]] = {
    "a learner lost at the Ministry": lambda p: p.effects["ministry"].pop(100),
    "a look-up made twice": lambda p: p.effects["population"].append(p.effects["population"][0]),
    "a filing doubled": lambda p: p.effects["public_service"].append(p.effects["public_service"][3]),
    "a passage of the wrong clock told twice": lambda p: p.effects["ministry"].append(
        _effect(("diemdanh", _wrong_gate(p), "X", p.city.schools[2].code), 1, datetime.now(UTC).isoformat())
    ),
    "a split ward's learner not parked": lambda p: p.receipts[p.city.schools[2].code].update(
        records=[
            r | {"deliveries": [d | {"state": "delivered"} for d in r["deliveries"]]}
            for r in p.receipts[p.city.schools[2].code]["records"]
        ]
    ),
    "parked without the reason": _strip_reason,
    "a reject at another place": lambda p: p.receipts[p.city.schools[0].code]["rejects"][0].update(
        pointer="/0/data/sex"
    ),
    "a reject not told": lambda p: p.receipts[p.city.schools[0].code]["rejects"].pop(),
    "a faulty record taken": lambda p: p.receipts[p.city.schools[0].code]["records"].append(
        {"key": "HP0000000000", "deliveries": []}
    ),
    "a filing without an end": lambda p: p.receipts[p.city.filings[0]["data"]["file_number"]]["records"][0][
        "deliveries"
    ][0].update(state="uncertain"),
    "a passage nobody acknowledged": lambda p: setattr(p.gates[p.city.gates[0].device][0], "acks", 0),
    "a gate that never came": lambda p: p.gates.pop(p.city.gates[1].device),
    "a roster refused": lambda p: p.rosters.update(
        {p.city.schools[1].code: Answer(status=400, body={}, replayed=False)}
    ),
    "another receipt for the same key": lambda p: setattr(p, "repeated", _answer("R9", 400, replayed=True)),
    "another body taken under the same key": lambda p: setattr(p, "conflicting", _answer("X", 1)),
    "the quota exceeded": lambda p: p.books["population"].update(peak_per_s=51),
    "calls beyond the quota refused": lambda p: p.books["population"].update(over_quota=1),
    "a learner not found": lambda p: p.effects["population"][0]["content"].update(found=False),
    "data refused by a system": lambda p: p.books["ministry"].update(refusals={"invalid_data": 1}),
    "an older version after a newer one": lambda p: p.books["ministry"].update(order_violations=[{"key": "x"}]),
    "a fault that never came": lambda p: setattr(p, "faults_left", [{"kind": "commit_then_timeout", "count": 1}]),
    "accounts that do not balance": lambda p: setattr(p, "account", {"balanced": False, "differences": {"items": 1}}),
    "a morning without an end": lambda p: setattr(p, "in_time", False),
}


@pytest.mark.parametrize("name", SPOILED)
def test_every_fault_is_found(perfect: Played, name: str) -> None:
    played = copy.deepcopy(perfect)
    SPOILED[name](played)
    verdict = judge(played)
    assert not verdict.ok
    out = io.StringIO()
    assert not summary.show(verdict, Console(file=out, width=80))
    assert "✘" in out.getvalue()
