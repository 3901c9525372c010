"""`hub simulate <system> --fault` as a person runs it: a process of its own, faulty from the start, gone when ended by its id."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from adapters.ministry.simulator import TOKEN

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def simulated(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process and the address it says."""
    with subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "simulate", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        limit = Timer(60, process.kill)
        limit.start()
        try:
            assert process.stdout is not None and process.stderr is not None
            first = process.stdout.readline()
            assert first, process.stderr.read().decode()
            yield process, json.loads(first)["url"]
        finally:
            limit.cancel()
            process.kill()


def status(url: str, method: str = "GET") -> int:
    asked = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_is_down_as_told_until_told_otherwise_and_ends_by_its_id(how: signal.Signals, tmp_path: Path) -> None:
    books = tmp_path / "books.jsonl"
    with simulated("ministry", "--fault", "down_503:120", "--books", str(books)) as (process, url):
        with urllib.request.urlopen(f"{url}/_sim/fault", timeout=10) as answer:
            (on,) = json.load(answer)["on"]
        assert (on["kind"], on["for_s"]) == ("down_503", 120.0)
        assert status(f"{url}/any") == 503
        assert status(f"{url}/_sim/fault", "DELETE") == 200
        assert status(f"{url}/any") == 404, "without the fault the same request is an unknown path"
        process.send_signal(how)
        assert process.wait(15) == 0
        with pytest.raises(urllib.error.URLError, match="refused"):
            status(f"{url}/any")


def test_killed_it_leaves_nobody_on_the_port() -> None:
    with simulated("ministry", "--fault", "slow") as (process, url):
        process.kill()
        process.wait(15)
        with pytest.raises(urllib.error.URLError, match="refused"):
            status(f"{url}/any")
