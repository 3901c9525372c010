"""Steps that stand alone: one that fails keeps no other from its turn, is tried again soon, and is told where it goes on failing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from hub.worker import steps as turns
from hub.worker.hourly import HOURLY
from hub.worker.steps import Rhythm, Steps
from hub.worker.sweep import SWEEP, Sweep

HOUR_S, AGAIN_S = HOURLY.every_s, HOURLY.again_s


class Bench:
    """Three steps of which some fail, a clock, and the alarms that were said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rhythm: Rhythm = HOURLY) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.said: list[list[str]] = []

        async def report(_core: Any, kind: str, standing: list[Any]) -> tuple[int, int]:
            assert kind == rhythm.kind
            self.said.append([a.subject for a in standing])
            return 0, 0

        monkeypatch.setattr(turns.alarms, "report", report)
        self.steps = Steps(None, rhythm, [(name, self._step(name)) for name in ("a", "b", "c")], lambda: self.now)  # type: ignore[arg-type]

    def _step(self, name: str) -> Any:
        async def step() -> None:
            if name in self.faults:
                raise self.faults[name]
            self.done.append(name)

        return step

    def work(self, after_s: float = 0.0) -> list[str]:
        self.now += after_s
        self.done.clear()
        asyncio.run(self.steps.work())
        return list(self.done)


def test_a_step_that_fails_or_waits_skips_no_other_and_is_tried_again_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    b = Bench(monkeypatch)
    b.faults = {"a": TimeoutError(), "b": RuntimeError("odd")}
    with caplog.at_level(logging.WARNING):
        assert b.work() == ["c"]
    told = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert told[0][0] == "WARNING" and "a waits" in told[0][1] and told[1] == ("ERROR", "upkeep: b failed")
    assert b.said == [], "once may pass by itself, and what another process said stands meanwhile"
    assert b.work(AGAIN_S - 1) == []
    b.faults.pop("a")
    assert b.work(1) == ["a"], "what was done waits for its hour"
    assert b.said == [["b"]]
    assert b.work(AGAIN_S) == [] and b.said == [["b"], ["b"]], "again: a worker that is well has taken it back"
    b.faults.clear()
    assert b.work(AGAIN_S) == ["b"] and b.said[2:] == [[]]
    assert b.work(60) == [] and b.said[2:] == [[]], "that all is well is said once"
    assert b.work(HOUR_S - 2 * AGAIN_S - 60) == ["a", "c"]


def test_an_alarm_that_cannot_be_said_is_said_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Bench(monkeypatch)
    good = turns.alarms.report

    async def away(*_: Any) -> tuple[int, int]:
        raise ConnectionError("away")

    monkeypatch.setattr(turns.alarms, "report", away)
    with pytest.raises(ConnectionError):
        b.work()
    assert b.done == ["a", "b", "c"]
    monkeypatch.setattr(turns.alarms, "report", good)
    assert b.work() == [] and b.said == [[]]


def test_the_watch_does_every_step_in_every_round_and_tells_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Bench(monkeypatch, SWEEP)
    assert b.work() == ["a", "b", "c"]
    b.faults = {"a": RuntimeError("odd")}
    rounds = [b.work(10.0) for _ in range(SWEEP.told_after)]
    assert rounds == [["b", "c"]] * SWEEP.told_after
    assert b.said == [[], ["a"]]
    b.faults.clear()
    assert b.work(10.0) == ["a", "b", "c"] and b.said[2:] == [[]]


def test_no_part_of_the_watch_takes_another_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part as it is called, the first ones failing each in its own way."""
    seen: list[str] = []

    def part(name: str, fault: Exception | None = None) -> Any:
        async def work(*_: Any) -> None:
            seen.append(name)
            if fault is not None:
                raise fault

        return work

    parts = [
        ("operations.sweep_codes", KeyError("code")), ("waits.sweep", ConnectionError("away")), ("upkeep.seal", RuntimeError("odd")),
        ("alarms.watch", ValueError("odd")), ("recovery_watch.watch", None), ("guards.watch", TimeoutError()), ("retime.find", None),
    ]  # fmt: skip
    for name, fault in parts:
        monkeypatch.setattr(f"hub.worker.sweep.{name}", part(name, fault))
    monkeypatch.setattr(turns.alarms, "report", part("report"))

    class Nothing:
        def moment(self) -> None:
            return None

    class Kept:
        oldest_minutes, recovery_hours = 60, 4.0

    settings: Any = type("Told", (), {"alarms": Kept})
    asyncio.run(Sweep(Nothing(), settings).work())  # type: ignore[arg-type]
    assert seen == [name for name, _ in parts]
