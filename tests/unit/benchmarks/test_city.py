"""The figures of a city of gates: which runs meet their targets, and which only look as if they did."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from benchmarks import rig
from benchmarks.city import figures


def phase(name: str, **more: Any) -> dict[str, Any]:
    plain = {
        "name": name, "seconds": 10.0, "sent": 3_000, "acknowledged": 3_000, "p50_ms": 12.0, "p99_ms": 60.0, "worst_ms": 90.0,
        "by_family": {"zkteco": (9.0, 60.0)},
        "cpu": {}, "memory_mb": {}, "stored": 0, "released": 0, "held_back": 0, "late_p99_ms": 1.0, "listed": 0, "note": "",
    }  # fmt: skip
    return {**plain, **more}


TOLD: dict[str, Any] = {
    "gates": 1_700,
    "families": {"face_mqtt": 1_000, "native": 700},
    "registered_s": 1.0,
    "connected_s": 2.0,
    "repeats": 3,
    "settled": True,
    "phases": [
        phase("live", listed=60),
        phase("flood", p99_ms=110.0, stored=30_000, released=30_000),
        phase("reconnect", seconds=4.0, sent=1_000, acknowledged=1_000),
        phase("images", memory_mb={"bridge": (100.0, 180.0, 185.0), "mqtt": (10.0, 12.0, 11.0), "postgres": (1.0, 9.0, 900.0)}),
    ],
    "reading": {"gates": 34, "waited_s": 20.0, "behind": [], "faults": {}},
    "proof": {
        "acknowledged": 39_000, "unacknowledged": 0, "stored": 39_060,
        "listed": 60, "listed_p50_s": 12.0, "listed_oldest_s": 31.0, "lost": 0, "doubled": 0, "strange": 0, "differences": {},
        "silent": 100, "unheard": 0,
    },
}  # fmt: skip
LIVE, FLOOD, BACK, PICTURES, LISTS = range(5)


def met(**changed: Any) -> list[bool | None]:
    """Verdicts of a good run with something changed: `phase__field` of a phase, else of the proof or the whole."""
    told = copy.deepcopy(TOLD)
    for name, value in changed.items():
        place, _, field = name.partition("__")
        if field:
            next(p for p in told["phases"] if p["name"] == place)[field] = value
        else:
            (told["proof"] if name in told["proof"] else told)[name] = value
    return [figure.met for figure in figures(told)]


@pytest.fixture(autouse=True)
def full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "QUICK", False)


def test_a_short_run_tells_its_misses_and_meets_nothing_that_names_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "QUICK", True)
    assert met() == [None, None, True, None, True]
    assert met(live__p99_ms=100.1)[LIVE] is False
    assert met(images__acknowledged=2_999)[PICTURES] is False


def test_a_good_run_meets_everything() -> None:
    assert met() == [True] * 5
    live, *_, lists = figures(TOLD)
    assert "306 check-ins/s" in live.path and (lists.value, lists.unit) == (31.0, "s"), (
        "passages at gates that are asked are passages"
    )


@pytest.mark.parametrize("released", [0, 29_999, 30_001])
def test_a_flood_that_was_not_drained_is_not_met(released: int) -> None:
    assert met(flood__released=released) == [True, False, True, True, True]


@pytest.mark.parametrize(
    "changed",
    [
        {"lost": 1},
        {"doubled": 1},
        {"strange": 1},
        {"unacknowledged": 1},
        {"differences": {"messages": 1}},
        {"settled": False},
        {"live__held_back": 1},
    ],
)
def test_a_run_that_is_not_sound_meets_no_latency(changed: dict[str, Any]) -> None:
    found = met(**changed)
    assert (found[LIVE], found[FLOOD], found[LISTS]) == (False, False, False)


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        (LIVE, {"live__p99_ms": 100.1, "flood__p99_ms": 100.0}),
        (FLOOD, {"flood__p99_ms": 120.1}),
        (BACK, {"reconnect__seconds": 10.1}),
        (BACK, {"reconnect__acknowledged": 999}),
        (PICTURES, {"images__acknowledged": 2_999}),
        (PICTURES, {"images__memory_mb": {"bridge": (100.0, 180.0, 190.1)}}),
        (LISTS, {"listed": 0}),
    ],
)
def test_each_line_has_its_own_target(place: int, changed: dict[str, Any]) -> None:
    assert [n for n, good in enumerate(met(**changed)) if not good] == [place]
