"""The hourly steps: one that fails keeps no other from its turn, is tried again soon, and is told where it goes on failing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from hub.worker import hourly
from hub.worker.hourly import AGAIN_S, HOUR_S, KIND, Steps


class Bench:
    """Three steps of which some fail, a clock, and the alarms that were said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.said: list[list[str]] = []

        async def report(_core: Any, kind: str, standing: list[Any]) -> tuple[int, int]:
            assert kind == KIND
            self.said.append([a.subject for a in standing])
            return 0, 0

        monkeypatch.setattr(hourly.alarms, "report", report)
        self.steps = Steps(None, [(name, self._step(name)) for name in ("a", "b", "c")], lambda: self.now)  # type: ignore[arg-type]

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
    good = hourly.alarms.report

    async def away(*_: Any) -> tuple[int, int]:
        raise ConnectionError("away")

    monkeypatch.setattr(hourly.alarms, "report", away)
    with pytest.raises(ConnectionError):
        b.work()
    assert b.done == ["a", "b", "c"]
    monkeypatch.setattr(hourly.alarms, "report", good)
    assert b.work() == [] and b.said == [[]]
