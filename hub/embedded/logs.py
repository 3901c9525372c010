"""Log files of child processes.

One concern: where a child's output goes and that it stays bounded. It must never read what is logged.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import BinaryIO

KEEP = 5
LARGEST_BYTES = 64 * 1024 * 1024
_LOOK_EVERY_S = 60.0


def rotate(log: Path) -> None:
    """Move `name.log` to `name.log.1` and older ones on; the one beyond `KEEP` goes."""
    if not log.exists() or log.stat().st_size == 0:
        return
    for number in range(KEEP, 0, -1):
        older = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))


def open_log(log: Path) -> BinaryIO:
    """Open a log for appending, readable by its owner only."""
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def cut(log: Path) -> None:
    """Copy a log away and empty it. A child keeps appending to the same open file, so it cannot be renamed."""
    rotated = log.with_name(f"{log.name}.1")
    for number in range(KEEP, 1, -1):
        older = log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))
    shutil.copyfile(log, rotated)
    rotated.chmod(0o600)
    os.truncate(log, 0)


async def keep_small(folder: Path) -> None:
    """Cut every log of a folder that has grown beyond `LARGEST_BYTES`, until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        for log in folder.glob("*.log"):
            if log.stat().st_size > LARGEST_BYTES:
                await asyncio.to_thread(cut, log)
