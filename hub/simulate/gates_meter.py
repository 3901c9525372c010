"""Processor time and memory of the hub's processes during a load, from /proc.

One concern: measuring from outside. It must never signal a process or keep one from ending.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def _stats() -> dict[int, tuple[int, float]]:
    """Parent and processor seconds (with those of children it has waited for) of every process."""
    found: dict[int, tuple[int, float]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="latin-1") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            found[int(entry)] = int(fields[1]), sum(map(int, fields[11:15])) / _TICK
    return found


def _of_tree(stats: Mapping[int, tuple[int, float]], pid: int) -> float:
    total = stats[pid][1] if pid in stats else 0.0
    return total + sum(_of_tree(stats, child) for child, (parent, _) in stats.items() if parent == pid)


class Meter:
    """Shares of one core, by name, since it was made; a process counts with everything it has started."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began = time.perf_counter()
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        stats = _stats()
        return {name: _of_tree(stats, pid) for name, pid in self._pids.items()}

    def shares(self) -> dict[str, float]:
        """Processor seconds per second: 1.0 is one core."""
        wall = time.perf_counter() - self._began
        return {name: round((now - self._before[name]) / wall, 2) for name, now in self._now().items()}


def resident_mb(pids: Mapping[str, int]) -> dict[str, float]:
    """Memory of each process alone; 0 for one that has ended."""
    found = {}
    for name, pid in pids.items():
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                found[name] = round(int(file.read().split()[1]) * _PAGE_MB, 1)
        except OSError:
            found[name] = 0.0
    return found
