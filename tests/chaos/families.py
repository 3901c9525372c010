"""A process with all that descend from it: what must stand still together for a server to stand still.

One concern: finding them and giving them a signal. A server's parts may lead sessions and groups of their own (PostgreSQL's
backends do), so only descent tells. It must never outlive what it stopped: whoever stops a family lets it go on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and its living descendants, elders first."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                state, parent = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children[int(parent)].append(int(entry))
    found = [pid]
    for one in found:
        found += children[one]
    return found


def tell(pid: int, number: signal.Signals) -> None:
    """A signal to the process first, so that it makes no more of them, then to all that descend from it. Who is to stand still
    is looked for twice: one may have been born while the others were told."""
    for _ in range(2 if number == signal.SIGSTOP else 1):
        for one in family(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, number)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The whole family stands still inside the block."""
    tell(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        tell(pid, signal.SIGCONT)
