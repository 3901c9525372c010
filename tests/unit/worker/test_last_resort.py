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


@pytest.mark.parametrize(
    ("then", "code", "said"),
    [
        ("task.cancel(); await task", 1, "in held"),  # it swallows every cancellation
        ("time.sleep(60)", 1, "held for good"),  # the loop itself stands still
        ("import os; os._exit(0)", 0, ""),
    ],
)
def test_whatever_holds_it_it_is_gone_in_time(then: str, code: int, said: str) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _WAITS.format(then=then)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == code and time.monotonic() - began < 20
    assert said in done.stderr, done.stderr
    assert ("0.5 s after it was to end" in done.stderr) == bool(said)
