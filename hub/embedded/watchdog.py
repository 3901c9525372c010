"""Ends the children of a supervisor that died without stopping them.

One concern: when the pipe on standard input ends, whatever is still registered is stopped, then killed. It must never
act while the supervisor lives, and imports nothing of the hub: it is run as a plain script, so that it stays small.

Lines on standard input: `+<pid> <signal>` registers a child that leads its own session, `-<pid>` forgets it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE_S = 5.0


def main() -> None:
    """Read registrations until the supervisor is gone, then clean up after it."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sessions: dict[int, int] = {}
    for line in sys.stdin:
        if line[:1] == "+":
            session, signum = line[1:].split()
            sessions[int(session)] = int(signum)
        elif line[:1] == "-":
            sessions.pop(int(line[1:]), None)
    for session, signum in sessions.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(session, signum)
    end = time.monotonic() + GRACE_S
    while members(sessions) and time.monotonic() < end:
        time.sleep(0.05)
    for _ in range(5):
        for pid in members(sessions):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def members(sessions: dict[int, int]) -> list[int]:
    """Living processes of the sessions. What a child forks may leave its group, hardly ever its session."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
                if fields[0] != "Z" and int(fields[3]) in sessions:
                    found.append(int(entry))
    return found


if __name__ == "__main__":
    main()
