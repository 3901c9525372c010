"""One hub per data folder.

One concern: a lock that ends with the process that holds it, however it ends. It must never wait.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Thư mục dữ liệu này đang được một tiến trình khác sử dụng. / Another process is using this data folder."""

    def __init__(self, data_dir: Path, pid: str) -> None:
        super().__init__(data_dir, pid)
        self.data_dir = data_dir
        self.pid = pid

    def __str__(self) -> str:
        return f"{self.__doc__} ({self.data_dir}, pid {self.pid or '?'})"


class DataLock:
    """The lock of a data folder; children do not inherit it. Raises `AlreadyRunning` when it is taken."""

    def __init__(self, data_dir: Path) -> None:
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunning(data_dir, holder) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the lock back; the file stays, so that nobody ever locks two different ones."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
