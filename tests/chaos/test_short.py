"""A short run under fire, as part of every test run: real processes, a handful of injuries and failpoints, two bugs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos import harness
from tests.chaos.sweep import AGAIN, FEW
from tests.chaos.verdict import HTTP, MQTT, PUSHES

_INJURIES = [
    "two owners", "freeze redis", "kill worker-1", "fault commit_then_timeout at public_service", "kill bridge", "kill mqtt",
    "fault down_503 at ministry", "kill postgres", "fault garbage at public_service", "end gateway", "flush redis", "wrong clock at bridge",
    "end bridge while postgres stands still", "replay during an outage", "freeze postgres",
]  # fmt: skip
_PLAYS = ("ack_before_commit", "no_intake_key")


@pytest.mark.timeout(360)
def test_a_short_run_under_fire_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async def go() -> harness.Report:
        async with harness.run(tmp_path, "short", seed=7) as run:
            await run.under_fire("under fire", 18.0, injuries=_INJURIES, streams=3, pause_s=0.4, still_s=2.0)
            await run.herd(100, within_s=30.0)
            await run.sweep(FEW)
            await run.sweep(AGAIN)
            await run.plays(*_PLAYS, sabotaged=False)
            await run.plays(*_PLAYS, sabotaged=True)
            return run.report

    report = asyncio.run(go())
    assert not report.objections
    assert len(report.injuries) == len(_INJURIES)
    assert report.visited == [*FEW, *AGAIN]
    assert {"sweep 1", "sweep 2"} <= report.verdicts.keys(), (
        "each sweep is judged by itself, and none in another's place"
    )
    verdict = report.verdicts["under fire"]
    assert verdict.acknowledged > 80
    assert verdict.passages > 50
    assert verdict.sightings > 50 and verdict.listed > 0, "what a camera nobody answers has lost was found by its list"
    assert verdict.overtaken > 5, "at every gate now and then a later event came first"
    assert report.verdicts["herd"].overtaken > 0, "nor does the herd keep all its numbers in order"
    assert verdict.windows >= 1, "at least once others were seen to go on while one was hurt"
    assert {PUSHES, MQTT, HTTP} <= verdict.paths.keys(), "and each way in"
    assert report.controls == {name: [] for name in _PLAYS}, "what spoils a play is the missing safety alone"
    assert all(report.caught[name] for name in _PLAYS), (
        "an oracle that does not object to a missing safety proves nothing"
    )
