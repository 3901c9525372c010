"""Failpoints: each has its place in the code, each place its name among them, and each process killer visits one there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adapters import manifest as manifests
from hub.kernel import failpoints
from hub.kernel.failpoints import POINTS
from tests.chaos import covered, sweep

HUB = Path(failpoints.__file__).parents[1]
REACHED = re.compile(r'\breach\("([^"]+)"\)')
GIVES = re.compile(r'\b(?:ledger|intake)\.accept\(|\baccept(?:_within)?\(core\b|\breach\("(?:ack|tx1)\.')


def test_what_the_code_reaches_can_be_set_and_what_can_be_set_is_reached() -> None:
    reached = {name for path in HUB.rglob("*.py") for name in REACHED.findall(path.read_text("utf-8"))}
    assert reached == set(POINTS)
    assert len(POINTS) == len(set(POINTS))


def test_off_a_point_is_an_empty_call() -> None:
    """In a process of its own: the tests' may have points set."""
    off = "from hub.kernel import failpoints as f; assert f.reach is f._off; print(len(f._off.__code__.co_code))"
    on = "from hub.kernel import failpoints as f; assert f.reach is not f._off"
    env = {k: v for k, v in os.environ.items() if not k.startswith("LIEN_THONG_FAILPOINT")}
    told = subprocess.run([sys.executable, "-c", off], cwd=HUB.parent, env=env, check=True, capture_output=True)
    assert int(told.stdout) <= 8, "it gives back nothing, and does nothing else"
    subprocess.run(
        [sys.executable, "-c", on],
        cwd=HUB.parent,
        env=env | {"LIEN_THONG_FAILPOINTS": "tx1.after=kill@0.0"},
        check=True,
    )


def test_the_sweep_visits_every_point_there_is_or_names_the_test_that_does() -> None:
    swept = {v.point for v in sweep.ALL}
    assert swept | set(covered.ELSEWHERE) == set(POINTS)
    assert not swept & set(covered.ELSEWHERE), "what is swept needs no other test"
    assert set(sweep.FEW) <= set(sweep.ALL)
    assert len(sweep.ALL) == len(set(sweep.ALL))


def test_the_sweep_visits_every_system_at_each_point_on_the_way_to_it() -> None:
    assert set(covered.KINDS) == set(manifests.systems())
    for system, kinds in covered.KINDS.items():
        swept = {v.point for v in sweep.ALL if v.kind in kinds}
        assert points_of(system) <= swept, system
        assert set(kinds) <= set(sweep.CONNECTORS)


def points_of(system: str) -> set[str]:
    return covered.points_of(manifests.load(system))


def test_what_may_not_be_made_twice_is_swept_at_its_inquiry() -> None:
    assert {s for s in manifests.systems() if "settle.after" in points_of(s)} == {"population", "public_service"}
    assert "intent.after" not in points_of("ministry")


def test_the_sweep_visits_every_way_in_or_names_the_test_that_does() -> None:
    found = {
        path.relative_to(HUB.parent).as_posix() for path in HUB.rglob("*.py") if GIVES.search(path.read_text("utf-8"))
    }
    assert found == set(covered.WAYS_IN)
    for module, kinds in covered.WAYS_IN.items():
        if isinstance(kinds, str):
            continue
        for kind in kinds:
            swept = {v.point for v in sweep.ALL if v.kind == kind}
            if module.startswith("hub/api/") or module == "hub/worker/bridge.py":
                assert set(sweep.TX1) <= swept, (module, kind)
            assert swept, (module, kind)


@pytest.mark.parametrize(
    "named", sorted({*covered.ELSEWHERE.values(), *(t for t in covered.WAYS_IN.values() if isinstance(t, str))})
)
def test_a_test_that_is_named_exists(named: str) -> None:
    path, _, name = named.partition("::")
    text = (HUB.parent / path).read_text("utf-8")
    assert re.search(rf"^def {name}\(", text, re.MULTILINE)
    points = [point for point, test in covered.ELSEWHERE.items() if test == named]
    assert all(f'"{point}' in text for point in points)


def test_an_unknown_point_is_refused() -> None:
    assert failpoints._parse("rejudge.inside=kill@0.5") == {"rejudge.inside": ("kill", 0.0, 0.5)}
    with pytest.raises(ValueError, match="no failpoint"):
        failpoints._parse("nowhere=kill")
