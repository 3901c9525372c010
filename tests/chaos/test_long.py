"""The long run, by `make chaos`: CHAOS_MINUTES of injuries drawn by CHAOS_SEED, CHAOS_SWEEPS of every failpoint, every missing
safety."""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path

import pytest

from tests.chaos import harness
from tests.chaos.disk import NoSmallDisk
from tests.chaos.injuries import LONG_S
from tests.chaos.scenarios import PLAYS
from tests.chaos.sweep import ALL
from tests.chaos.world import SYSTEMS

_MINUTES = float(os.environ.get("CHAOS_MINUTES") or 0)
_SEED = int(os.environ.get("CHAOS_SEED") or 1)
_PART_S = 75.0
"""Of fire at a time, then all is healed and judged; a shorter rest belongs to the last part."""
_SWEEP_EVERY_S = 600.0
"""Of fire between two sweeps of all failpoints, where CHAOS_SWEEPS does not say how many there are."""
_HERD = 1_000
_STALL_S = 30.0
"""What nobody may be made to wait for longer, whatever is hurt: PostgreSQL stands still for eleven seconds at most (while a process
is told to end, which has ten), then a lease of four must end and a worker start in three; and what is hurt next, before anything was
sent, may be the same workers again, with another lease and another start, and three seconds of a fault."""
_JUDGED_S, _SWEPT_S, _FIXED_S = 120.0, 1_500.0, 600.0
"""At most, on a busy machine: healing and judging a part; a sweep; the herd and the slow part. Commonly a third of it."""


def _parts(seconds: float) -> list[float]:
    """How long each part is under fire, of so much in all."""
    whole, rest = divmod(seconds, _PART_S)
    return [_PART_S] * int(whole - 1) + [_PART_S + rest] if whole else [seconds]


_PARTS = _parts(_MINUTES * 60)
_SWEEPS = int(os.environ.get("CHAOS_SWEEPS") or 1 + max(0.0, _MINUTES * 60 - _PART_S) // _SWEEP_EVERY_S)
"""Of all failpoints, spread over the parts, the first after the first part."""
_LONG_S = sum(_PARTS) + len(_PARTS) * _JUDGED_S + _SWEEPS * _SWEPT_S + _FIXED_S
"""The bound of a long run."""
pytestmark = [
    pytest.mark.skipif(not _MINUTES, reason="only in `make chaos`: CHAOS_MINUTES is not set"),
    pytest.mark.timeout(1_800),
]


@pytest.mark.timeout(int(_LONG_S))
def test_a_long_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """CHAOS_MINUTES under fire, in parts. After the first a thousand gates cut off at once, a sweep of all failpoints, and one
    counterparty that takes half a minute over every answer; the other sweeps spread over the other parts."""
    slow = f"{SYSTEMS[_SEED % len(SYSTEMS)]} slow for {LONG_S:g} s"

    async def go() -> harness.Report:
        async with harness.run(tmp_path, "long", _SEED, _MINUTES, people=50_000) as run:
            assert run.world.broker.warning is None, (
                "the stand-in broker promises less than what is judged: install Mosquitto"
            )
            sweeps = 0
            for part, seconds in enumerate(_PARTS, 1):
                await run.under_fire(f"part {part}", seconds, streams=5, crowd=150 if part % 2 == 0 else 0)
                if part == 1:
                    await run.herd(_HERD, within_s=60.0)
                while sweeps < math.ceil(_SWEEPS * part / len(_PARTS)):
                    await run.sweep(ALL)
                    sweeps += 1
                if part == 1:
                    await run.under_fire(slow, LONG_S, injuries=[slow], crowd=0)
            assert [name for name in run.report.verdicts if name.startswith("sweep")] == [
                f"sweep {n + 1}" for n in range(_SWEEPS)
            ]
            return run.report

    report = asyncio.run(go())
    assert not report.objections
    assert report.herd["gates"] == _HERD
    assert report.verdicts["herd"].overtaken > _HERD / 100, (
        "told in the wrong order after the cut, by some of them at least"
    )
    assert {(v.kind, v.point) for v in report.visited} == {(v.kind, v.point) for v in ALL}
    assert report.verdicts[slow].windows >= 1, "while one takes half a minute others were asked to go on"
    stalls = {part: v.longest_stall_s for part, v in report.verdicts.items() if v.longest_stall_s > _STALL_S}
    assert not stalls, "somebody had to wait too long"


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
    """Each play twice: as the hub is, which must pass, and with one safety off, to which the oracle must object as the play says."""

    async def go() -> harness.Report:
        async with harness.run(tmp_path, "oracle", _SEED) as run:
            for name in PLAYS:
                await run.plays(name, sabotaged=False)
                await run.plays(name, sabotaged=True)
            return run.report

    report = asyncio.run(go())
    assert report.controls == {name: [] for name in PLAYS}
    assert [name for name in PLAYS if not report.caught[name]] == []
