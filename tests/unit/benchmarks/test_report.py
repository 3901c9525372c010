"""The page of figures: a miss stays a miss, and what people wrote around the table stays."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import document
from benchmarks.rig import Figure
from benchmarks.whole import slope_mb_per_h


def test_a_run_replaces_the_table_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "PERFORMANCE.md"
    page.write_text("before\n<!-- figures: written by the run -->old<!-- end of figures -->\nafter\n")
    missed = Figure(
        path="a path", unit="x/s", value=349.9, bare=1000.0, bare_is="limit", target="≥ 0.35", met=349.9 / 1000 >= 0.35
    )
    document(page, [missed], {"other": "TimeoutError: late"}, {"cores": "2"}, True)
    document(page, [missed], {}, {"cores": "2"}, True)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("a path") == 1 and "**no**" in text and "other" not in text


def test_growth_is_a_slope_not_a_difference_of_two_samples() -> None:
    assert abs(slope_mb_per_h([(0, 100.0), (1, 101.0), (2, 102.0)]) - 3600) < 1e-6
    assert slope_mb_per_h([(n, 100.0 + n % 2) for n in range(101)]) < 1
