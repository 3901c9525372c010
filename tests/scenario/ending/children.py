"""The hub's processes as `hub run` starts them, told to end with SIGTERM, and PostgreSQL made to stand still.

One concern: those hands. It must never end a process that it did not start.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hub.embedded.postgres import EmbeddedPostgres
from hub.wiring import ROOT
from tests.chaos.families import frozen

WITHIN_S = 10.0
"""What a process told to end is given; the supervisor kills it soon after."""


class Child:
    """One process of the hub."""

    def __init__(self, command: str, env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub.cli", command], env=env, cwd=ROOT, stdout=output, stderr=output
            )

    async def told_to_end(self) -> float:
        """SIGTERM; seconds until it had ended, in good order and in time."""
        assert self.process.poll() is None, self.log.read_text()
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        while self.process.poll() is None:
            assert time.monotonic() - begun < WITHIN_S, f"not ended within {WITHIN_S:g} s\n{self.log.read_text()}"
            await asyncio.sleep(0.02)
        assert self.process.returncode == 0, self.log.read_text()
        return time.monotonic() - begun

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


class Processes:
    """Starts the hub's processes on the test's database."""

    def __init__(self, env: dict[str, str], folder: Path, postgres: EmbeddedPostgres) -> None:
        self.env = env
        self.children: list[Child] = []
        self._folder = folder
        self._postgres = postgres

    def start(self, command: str, **settings: Any) -> Child:
        """`settings`: environment names without `LT_`."""
        given = {f"LT_{name}": str(value) for name, value in settings.items()}
        child = Child(command, {**self.env, **given}, self._folder / f"{command}-{len(self.children)}.log")
        self.children.append(child)
        return child

    def database_frozen(self) -> AbstractContextManager[None]:
        """PostgreSQL with every process of its own stands still: connections stay open, nothing answers."""
        pid = self._postgres.pid
        assert pid is not None
        return frozen(pid)


async def until(true: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """Wait until something is true, and give it; the test fails when it does not become so."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.05)
