"""Failpoints: each has its place in the code, each place its name among them, and each process killer visits one there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.kernel import failpoints
from hub.kernel.failpoints import POINTS
from tests.chaos import sweep

HUB = Path(failpoints.__file__).parents[1]
REACHED = re.compile(r'\breach\("([^"]+)"\)')


def test_what_the_code_reaches_can_be_set_and_what_can_be_set_is_reached() -> None:
    reached = {name for path in HUB.rglob("*.py") for name in REACHED.findall(path.read_text("utf-8"))}
    assert reached == set(POINTS)
    assert len(POINTS) == len(set(POINTS))


def test_the_sweep_visits_points_there_are() -> None:
    visited = {v.point for v in (*sweep.ALL, *sweep.FEW)}
    assert visited <= set(POINTS) and "rejudge.inside" in visited


def test_an_unknown_point_is_refused() -> None:
    assert failpoints._parse("rejudge.inside=kill@0.5") == {"rejudge.inside": ("kill", 0.0, 0.5)}
    with pytest.raises(ValueError, match="no failpoint"):
        failpoints._parse("nowhere=kill")
