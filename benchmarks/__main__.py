"""`python -m benchmarks [NAME …]`: measure everything, or the paths named; QUICK=1 for sizes that take minutes.

Writes JSON to `.data/bench/`, and after a run over all paths the table in docs/PERFORMANCE.md.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

import uvloop

from benchmarks import report
from benchmarks.rig import QUICK, Figure, Rig

FOLDER = Path(".data/bench").absolute()
PATHS = (
    "gates", "city", "intake", "push", "delivery", "jobs", "soap", "xml", "held", "drain", "replay", "delta", "reconcile", "whole",
)  # fmt: skip


async def main(names: list[str]) -> int:
    """Measure; 0 when every path could be measured, whether or not it met its target."""
    unknown = set(names) - set(PATHS)
    if unknown:
        print(
            f"Không có phép đo / no such measurement: {', '.join(sorted(unknown))}; có / there are: {', '.join(PATHS)}"
        )
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    began = time.monotonic()
    async with Rig(FOLDER) as rig:
        for name in names or PATHS:
            started = time.monotonic()
            try:
                found = await importlib.import_module(f"benchmarks.{name}").measure(rig)
            except (TimeoutError, Exception) as error:
                # One path that cannot be measured must not cost the others their figures.
                failed[name] = f"{type(error).__name__}: {error}"
                print(f"{name}: {failed[name]}", flush=True)
                continue
            figures += found
            for figure in found:
                print(report.line(figure), flush=True)
            print(f"  [{name}: {time.monotonic() - started:.0f} s]", flush=True)
    machine = report.machine()
    target = report.save(FOLDER, figures, failed, machine, QUICK, time.monotonic() - began)
    if not names:
        report.document(Path("docs/PERFORMANCE.md"), figures, failed, machine, QUICK)
    print(f"{target.relative_to(Path.cwd())} ({time.monotonic() - began:.0f} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main(sys.argv[1:])))  # as every process of the hub
