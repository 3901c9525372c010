"""A Mosquitto of a test's own, that lets everybody in: on loopback, gone with the test."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.embedded.mosquitto import find_server
from hub.embedded.process import free_port

MOSQUITTO = find_server()
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


class Broker:
    """One broker, its folder and its log; it can be killed and started again at the same port.

    `more`: lines of its configuration; what it logs is theirs to say (errors alone unless they do)."""

    def __init__(self, folder: Path, *more: str) -> None:
        assert MOSQUITTO is not None
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.log = folder, free_port(), folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "user root", "log_dest stderr", *more]
        for word, otherwise in (("persistence ", "persistence false"), ("log_type ", "log_type error")):
            if not any(line.startswith(word) for line in more):
                lines.append(otherwise)
        self._config.write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._config)], stdout=log, stderr=log)
        until = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            assert time.monotonic() < until and self.process.poll() is None, self.log.read_text(errors="replace")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """End it in order; without effect where it has ended."""
        self.process.terminate()
        self.process.wait(10)


@contextlib.contextmanager
def broker(folder: Path, *more: str) -> Iterator[Broker]:
    """A broker for the time of a block."""
    made = Broker(folder, *more)
    try:
        yield made
    finally:
        made.stop()
