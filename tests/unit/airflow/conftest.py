"""A control API made up of dictionaries, and a way to run a DAG against it without Airflow's processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

TOKEN = "unit-token"
NOW = "2026-03-01T00:00:00Z"


class FakeHub:
    """One connector `portal` with `waiting` deliveries. What is released is delivered at once, if `takes` says so."""

    def __init__(self) -> None:
        self.epoch = 3
        self.state = "open"
        self.waiting = 25
        self.step = 0
        self.owner: str | None = None
        self.reachable = True
        self.takes: Callable[[int], bool] = lambda _n: True
        self.releases: list[tuple[int, int]] = []
        self.calls: list[str] = []
        self.failed = 0
        self.canary = "delivered"
        self.broken = 0
        self.balanced = True
        self.stray = 0
        self.broken_seals: list[int] = []
        self.seen: list[str] = []
        self.ordered: list[tuple[str, dict[str, Any]]] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        """What was told of schedules: `late` or `ended`, and its body."""
        self.opens_at: list[str] = []
        """When the counterparty opens, as told one question after another; none left: it is open."""
        self.used_up_after: int | None = None
        """So many deliveries are sent, then the day's quota is used up: what is released beyond stays ready."""
        self.scheduled: dict[str, list[Any]] = {}
        """What calls of schedules are answered with, one after the other, by path; the last one stays. A pair: status and body."""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, Any]:
        verb = path.rsplit("/", 1)[-1]
        self.calls.append(verb)
        if self.broken:
            self.broken -= 1
            return 503, {}
        answers = self.scheduled.get(path.removeprefix("/control/v1"))
        if answers is not None:
            self.ordered.append((path.removeprefix("/control/v1"), body))
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            return answer if isinstance(answer, tuple) else (200, answer)
        if path.startswith("/control/v1/schedules/"):
            self.told.append((verb, body))
            return 200, {"late": []}
        if path == "/control/v1/recoveries":
            rows = [self._row()] if self.state == "open" else []
            return 200, {"items": rows}
        if path == "/control/v1/maintenance/partitions":
            return 200, {"made": 3, "stray": self.stray}
        if path == "/control/v1/seals/verify":
            return 200, {"broken": self.broken_seals}
        if path == "/control/v1/reconcile":
            return 200, {
                "balanced": self.balanced,
                "differences": {} if self.balanced else {"items": 1},
                "account": {"messages": 1},
            }
        if verb == "probe":
            return 200, {"ok": self.reachable, "ms": 1.0, "detail": {"vi": "tốt", "en": "fine"}}
        if method == "GET":
            row = self._row() | {"open": not self.opens_at, "opens_at": self.opens_at[0] if self.opens_at else None}
            if self._used_up():
                row |= {"open": False, "opens_at": "2026-03-02T00:00:00+07:00"}
            if "canary" not in query and "since" not in query and self.opens_at:
                self.opens_at.pop(0)
            return 200, {"recovery": row, "progress": self._progress()}
        if body["epoch"] != self.epoch or (self.state != "open" and verb != "finish"):
            return 409, {"code": "stale_epoch", "texts": {"en": "over", "vi": "đã xong"}}
        if verb == "lead":
            if self.owner not in (None, body["owner"]) and not str(self.owner).startswith("ticker:"):
                return 409, {"code": "not_leader", "texts": {"en": "another leads", "vi": "bên khác"}}
            self.owner = body["owner"]
            return 200, {
                "step": self.step,
                "released": 0,
                "now": NOW,
                "owner": self.owner,
                "lease_s": 30.0,
                "epoch": self.epoch,
                "most": 2_000,
            }
        if verb == "release":
            count = 0 if body["step"] <= self.step else min(body["count"], self.waiting)
            if body["step"] > self.step:
                self.step = body["step"]
                self.releases.append((body["step"], count))
            taken = self.takes(count)
            self.canary = "delivered" if taken else "waiting"
            self.failed = 0 if taken else count
            self.waiting -= count if taken else 0
            return 200, {
                "step": self.step,
                "count": count,
                "at": NOW,
                "deliveries": list(range(count))[:20],
                "repeated": False,
            }
        if verb == "hand-over":
            self.owner = None
            return 200, {"handed_over": True}
        assert verb == "finish"
        if self.waiting:
            return 200, {"done": False, "reason": {"vi": "còn", "en": "still"}}
        self.state = "idle"
        return 200, {"done": True, "reason": None}

    def _used_up(self) -> bool:
        return self.used_up_after is not None and sum(n for _s, n in self.releases) >= self.used_up_after

    def _row(self) -> dict[str, Any]:
        return {
            "connector": "portal",
            "epoch": self.epoch,
            "state": self.state,
            "connector_state": "active",
            "owner": self.owner,
            "open": not self.opens_at,
        }

    def _progress(self) -> dict[str, Any]:
        queued = self.releases[-1][1] if self._used_up() else 0
        return {
            "waiting": self.waiting, "waiting_due": self.waiting, "ready": 0, "queued": queued, "sending": 0, "uncertain": 0,
            "failed": self.failed, "oldest": None, "canary": self.canary, "delivered_since_open": 25 - self.waiting,
        }  # fmt: skip


@pytest.fixture
def hub() -> Iterator[tuple[FakeHub, str]]:
    """The fake hub and the value of `AIRFLOW_CONN_HUB_CONTROL` that leads to it."""
    fake = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            at = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            status, found = 401, {"code": "control_denied"}
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                status, found = fake.answer(self.command, at.path, parse_qs(at.query), body)
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _serve

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    connection = {
        "conn_type": "http",
        "host": "127.0.0.1",
        "port": server.server_port,
        "schema": "http",
        "password": TOKEN,
    }
    yield fake, json.dumps(connection)
    server.shutdown()
    thread.join()
    server.server_close()


Drive = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    """Asks `drive.py`, which runs with a home of Airflow's own and a database in a file."""
    home = tmp_path_factory.mktemp("airflow")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PYTHON"))}
    env |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parents[3] / "airflow" / "dags"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PYTHONSAFEPATH": "1",
    }
    log = home / "drive.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("drive.py"))],
            env=env, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1,
        )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None

    def call(verb: str, *args: Any) -> dict[str, Any]:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([verb, *args]) + "\n")
        said = []
        for line in process.stdout:
            if line.startswith("answer: "):
                return dict(json.loads(line.removeprefix("answer: ")))
            said.append(line)
        raise AssertionError("".join(said[-50:]) + log.read_text()[-4000:])

    call("initdb")
    yield call
    process.stdin.close()
    process.stdout.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
