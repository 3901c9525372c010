"""The page of figures: a miss stays a miss, and what people wrote around the table stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import rig
from benchmarks.gates_trace import shares, told
from benchmarks.report import document, line
from benchmarks.rig import Figure
from benchmarks.soak import Clock
from benchmarks.whole import flat, slope_per_h, warm_s


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


def test_where_two_limits_were_measured_a_hit_at_one_does_not_hide_the_miss_at_the_other(tmp_path: Path) -> None:
    page = tmp_path / "PERFORMANCE.md"
    both = Figure(
        path="a path", unit="x/s", value=50.0, bare=100.0, bare_is="limit", target="≥ 0.4", met={"library": True, "own": False}, also={"own client": 500.0},
    )  # fmt: skip
    document(page, [both], {}, {"cores": "2"}, False)
    text = page.read_text()
    assert "yes (library); **no** (own)" in text
    assert "100: limit; 500: own client" in text and "0.50; 0.10 (own client)" in text
    assert line(both).startswith("✗"), "on the terminal the stricter decides"
    both.met = {"library": True, "own": True}
    assert line(both).startswith("✓")


def test_a_short_run_misses_a_target_that_names_a_size_but_never_meets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "QUICK", True)
    assert (rig.at_full_size(True), rig.at_full_size(False)) == (None, False)
    monkeypatch.setattr(rig, "QUICK", False)
    assert (rig.at_full_size(True), rig.at_full_size(False)) == (True, False)


def test_shares_count_from_the_loads_seconds_where_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([1.0, 3.0, 3.0])
    monkeypatch.setattr(rig, "_cpu_s", lambda _pid: next(used))
    monkeypatch.setattr("benchmarks.rig.time.perf_counter", iter([0.0, 10.0]).__next__)
    meter = rig.Meter(gateway=1)
    assert meter.stop(4.0) == {"gateway": 0.5}
    assert meter.stop() == {"gateway": 0.2}


def test_a_noisier_soak_is_not_a_flatter_one() -> None:
    assert flat(3.0, 4.0) and flat(-5.0, 8.0)
    assert not flat(30.0, 1.0)
    assert not flat(3.0, 40.0), "so noisy that nothing is shown"


def test_a_soaks_beginning_is_left_out() -> None:
    assert [warm_s(seconds) for seconds in (45, 180, 3600)] == [22.5, 60.0, 1200.0]
