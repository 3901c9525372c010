"""The page of figures: a miss stays a miss, and what people wrote around the table stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gates_trace import shares, told
from benchmarks.report import document
from benchmarks.rig import Figure
from benchmarks.soak import Clock
from benchmarks.whole import slope_per_h


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


def test_growth_is_a_slope_with_an_error_not_a_difference_of_two_samples() -> None:
    slope, error = slope_per_h([(0, 100.0), (1, 101.0), (2, 102.0)])
    assert abs(slope - 3600) < 1e-6 and error < 1e-6
    slope, error = slope_per_h([(n, 100.0 + n % 2) for n in range(101)])
    assert abs(slope) < error, "up and down is no growth"
    assert slope_per_h([(0.0, 1.0)]) == (0.0, 0.0)


def test_the_soaks_clock_keeps_its_size_and_finds_the_slow_second(monkeypatch: pytest.MonkeyPatch) -> None:
    at = 0.0
    monkeypatch.setattr("benchmarks.soak.time.perf_counter", lambda: at)
    clock = Clock()
    for n in range(1000):
        at = n + (0.5 if n == 700 else 0.002)
        clock.note(float(n), n)
    assert clock.done == 1000
    assert 2.0 <= clock.percentile_ms(0.5) < 2.3
    assert clock.percentile_ms(1.0) >= 500
    assert dict(clock.waiting) == {700: 1}


def test_the_shares_of_a_passage_add_up_and_the_slowest_stand_apart() -> None:
    gates = {f"e{n}": (n / 100, n / 100 + 0.001, n / 100 + (0.5 if n == 7 else 0.02)) for n in range(100)}
    bridge = {
        f"e{n}": (n / 100 + 0.003, n / 100 + 0.008, n / 100 + (0.48 if n == 7 else 0.018), 0.004, 0.0)
        for n in range(99)
    }
    found = shares(gates, bridge)
    for values in found.values():
        assert values["of it COMMIT"] == 4.0
    assert sum(v for k, v in found["median"].items() if k not in ("of it COMMIT", "no core")) == pytest.approx(20.0)
    assert found["slowest hundredth"]["ledger"] == pytest.approx(472.0)
    assert "ledger 10.0 | 472.0" in told(found) and told({}) == "no times were taken"
