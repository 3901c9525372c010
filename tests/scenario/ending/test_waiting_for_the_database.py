"""Told to end while it waits for a database that is not there, or greets and then stands still: it ends at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hub.embedded.process import free_port


@pytest.mark.parametrize("what", ["gateway", "bridge", "worker"])
@pytest.mark.parametrize("greets", [False, True])
def test_whoever_waits_for_the_database_ends_when_told_to(what: str, greets: bool, tmp_path: Path) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    asked = threading.Event()
    if greets:
        listener.listen(8)
        kept: list[socket.socket] = []

        def greet() -> None:
            while True:
                try:
                    kept.append(listener.accept()[0])
                except OSError:
                    return
                asked.set()

        threading.Thread(target=greet, daemon=True).start()
    env = {
        **os.environ, "LT_DATABASE_URL": f"postgresql://u:p@127.0.0.1:{listener.getsockname()[1]}/x", "LT_DATA_DIR": str(tmp_path),
        "LT_MASTER_KEY_FILE": str(tmp_path / "key"), "LT_HTTP__PORT": str(free_port()), "LT_MQTT__HOST": "127.0.0.1", "LT_MQTT__PASSWORD": "x",
    }  # fmt: skip
    env.pop("LT_REDIS_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "hub.cli", what], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        if greets:
            assert asked.wait(60)
        else:
            # Until it has read its code: the key is made first.
            until = time.monotonic() + 60
            while not (tmp_path / "key").exists() and time.monotonic() < until and process.poll() is None:
                time.sleep(0.1)
            time.sleep(1.0)
        assert process.poll() is None, "it waits"
        process.send_signal(signal.SIGTERM)
        process.wait(5)
    finally:
        process.kill()
        process.wait()
        listener.close()
