"""A process that was told to end is gone in time, whatever it waits for, and says what that was."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

_WAITS = """
import asyncio, time
from hub.last_resort import gone_within

async def held():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    task = asyncio.create_task(held(), name="held for good")
    await asyncio.sleep(0)
    gone_within(0.5)
    {then}

asyncio.run(main())
"""


_WORKER = """
import asyncio, contextlib, os, signal
from types import SimpleNamespace
from hub.worker import main

@contextlib.asynccontextmanager
async def house(*_):
    yield SimpleNamespace(end_within=lambda seconds: print("cut after", seconds, flush=True))

class Hangs:
    def __init__(self, *_): ...
    def stop(self): ...
    async def run(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

assert main._END_S < main._GONE_S < 10
main.open_house, main.Worker, main._GONE_S = house, Hangs, 0.5
asyncio.run(main.main(None))
"""


def _run(code: str) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return done, time.monotonic() - began


@pytest.mark.parametrize(
    ("then", "code", "said"),
    [
        ("task.cancel(); await task", 1, "held (<string>:"),  # it swallows every cancellation
        ("time.sleep(60)", 1, "held for good still waited"),  # the loop itself stands still
        ("import os; os._exit(0)", 0, ""),
    ],
)
def test_whatever_holds_it_it_is_gone_in_time(then: str, code: int, said: str) -> None:
    done, took_s = _run(_WAITS.format(then=then))
    assert done.returncode == code and took_s < 20
    assert said in done.stderr, done.stderr
    assert ("0.5 s after it was to end" in done.stderr) == bool(said)


def test_a_worker_that_is_told_to_end_has_a_last_resort() -> None:
    done, took_s = _run(_WORKER)
    assert done.returncode == 1 and took_s < 30, done.stderr
    assert (
        "cut after 7.5" in done.stdout
        and "main (main.py:" in done.stderr
        and "> Hangs.run (" in done.stderr
        and "> sleep (" in done.stderr
    )
