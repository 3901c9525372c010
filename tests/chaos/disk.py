"""A small file system for PostgreSQL, so that it can be filled to the last byte.

One concern: that file system, and whether PostgreSQL has met its end. It must never be left mounted.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hub.embedded.area import open_area


class NoSmallDisk(Exception):
    """This machine does not let us mount a small file system."""


@contextlib.contextmanager
def small_disk(data_dir: Path, megabytes: int) -> Iterator[Path]:
    """A file system of a few megabytes for PostgreSQL, so that it can be filled. Raises `NoSmallDisk`."""
    home = open_area(data_dir).folder("postgres", owned=False)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(home)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=10)
    except OSError as error:
        raise NoSmallDisk(str(error)) from None
    if done.returncode != 0:
        raise NoSmallDisk(done.stderr.strip())
    try:
        yield home
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True, timeout=10)


def said_full(data_dir: Path) -> int:
    """How often PostgreSQL has said that no room is left, as far back as its logs go."""
    logs = (data_dir / "logs").glob("postgres.log*")
    return sum(log.read_bytes().count(b"No space left on device") for log in logs)
