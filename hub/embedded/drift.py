"""What a broker's files should hold, and what its process has read of them.

One concern: telling the difference. It must never change a file or tell a process anything, nor show what a file holds.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from hub.embedded.process import started_at
from hub.kernel.ports import Text


class Applied:
    """Files as the hub wrote them, by digest, and as the running process read them."""

    def __init__(self, at_start: str) -> None:
        """`at_start`: the name of the file that is read when the process begins and not again."""
        self._at_start = at_start
        self._written: dict[Path, str] = {}
        self._read: dict[Path, str] = {}
        self._by: tuple[int, int | None] | None = None

    def wrote(self, *paths: Path) -> None:
        """These files have just been written."""
        for path in paths:
            self._written[path] = _digest(path)

    def told(self, pid: int) -> None:
        """The process has been told to read its files, and it reads those of now."""
        self._meet(pid)
        self._read |= {path: digest for path, digest in self._written.items() if path.name != self._at_start}

    def drift(self, pid: int | None) -> list[Text]:
        """Differences in words; empty when there are none."""
        found = [
            Text(f"Tệp {path.name} không như trục đã ghi.", f"The file {path.name} is not as the hub wrote it.")
            for path, digest in self._written.items()
            if _digest(path) != digest
        ]
        if pid is None:
            return [*found, Text("Máy chủ MQTT không chạy.", "The broker does not run.")]
        self._meet(pid)
        for path, digest in self._written.items():
            if self._read.get(path) != digest:
                late = path.name == self._at_start
                found.append(
                    Text(
                        f"{path.name} đã đổi, máy chủ {'cần khởi động lại' if late else 'chưa đọc lại'}.",
                        f"{path.name} has changed and the broker {'has to be restarted' if late else 'has not read it'}.",
                    )
                )
        return found

    def _meet(self, pid: int) -> None:
        """A process not seen before has read what was there when it began."""
        who = (pid, started_at(pid))
        if self._by != who:
            self._by, self._read = who, dict(self._written)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
