"""The long run, by `make chaos`: CHAOS_MINUTES of injuries drawn by CHAOS_SEED, every failpoint, every missing safety."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.chaos import harness
from tests.chaos.injuries import LONG_S
from tests.chaos.scenarios import PLAYS
from tests.chaos.sweep import ALL
from tests.chaos.world import SYSTEMS, NoSmallDisk

_MINUTES = float(os.environ.get("CHAOS_MINUTES") or 0)
_SEED = int(os.environ.get("CHAOS_SEED") or 1)
_PART_S = 75.0
_SWEEP_S = 400.0
_SWEEP_AGAIN_S = 120.0
"""Between two sweeps. They take turns with the parts, and every other injury there is a kill."""
_HERD = 1_000
pytestmark = [
    pytest.mark.skipif(not _MINUTES, reason="only in `make chaos`: CHAOS_MINUTES is not set"),
    pytest.mark.timeout(int(_MINUTES * 60) + 2_400),
]


def test_a_long_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Parts under fire until the minutes are over. After the first a thousand gates cut off at once, a sweep of all failpoints, and
    one counterparty that takes half a minute over every answer; another sweep whenever two minutes have passed since the last."""

    async def go() -> harness.Report:
        end = time.monotonic() + _MINUTES * 60
        async with harness.run(tmp_path, "long", _SEED, _MINUTES, people=50_000) as run:
            part, sweeps, swept_at = 0, 0, float("-inf")
            slow = f"{SYSTEMS[_SEED % len(SYSTEMS)]} slow for {LONG_S:g} s"
            while part == 0 or time.monotonic() < end:
                part += 1
                left = end - time.monotonic() - (_SWEEP_S if part == 1 else 0)
                crowd = 150 if part % 2 == 0 else 0
                await run.under_fire(f"part {part}", min(_PART_S, max(15.0, left)), streams=5, crowd=crowd)
                if part == 1:
                    await run.herd(_HERD, within_s=60.0)
                if time.monotonic() - swept_at > _SWEEP_AGAIN_S:
                    await run.sweep(ALL)
                    sweeps, swept_at = sweeps + 1, time.monotonic()
                if part == 1:
                    await run.under_fire(slow, LONG_S, injuries=[slow], crowd=0)
            assert [name for name in run.report.verdicts if name.startswith("sweep")] == [
                f"sweep {n + 1}" for n in range(sweeps)
            ]
            return run.report

    report = asyncio.run(go())
    assert not report.objections
    assert report.herd["gates"] == _HERD
    assert report.verdicts["herd"].overtaken > _HERD / 100, (
        "told in the wrong order after the cut, by some of them at least"
    )
    assert {(v.kind, v.point) for v in report.visited} == {(v.kind, v.point) for v in ALL}


def test_a_full_disk_costs_time_and_nothing_else(tmp_path: Path) -> None:
    async def go() -> harness.Report:
        async with harness.run(tmp_path, "disk", _SEED, disk_mb=320) as run:
            await run.under_fire("full disk", 30.0, injuries=["full disk", "kill worker-1", "full disk"], still_s=3.0)
            return run.report

    try:
        report = asyncio.run(go())
    except NoSmallDisk as reason:
        pytest.skip(f"no small file system can be mounted here: {reason}")
    assert not report.objections


def test_the_oracle_objects_to_every_missing_safety(tmp_path: Path) -> None:
    """Each play twice: as the hub is, which must pass, and with one safety off, which must not."""

    async def go() -> tuple[harness.Report, dict[str, list[str]]]:
        healthy: dict[str, list[str]] = {}
        async with harness.run(tmp_path, "oracle", _SEED) as run:
            for name in PLAYS:
                healthy[name] = await run.play(name, sabotaged=False)
                await run.play(name, sabotaged=True)
            return run.report, healthy

    report, healthy = asyncio.run(go())
    assert healthy == {name: [] for name in PLAYS}
    assert [name for name in PLAYS if not report.caught[name]] == []
