"""What the reference publisher takes from its standard input: check-ins, of them what the schema has, and nothing ends it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from iot.native import publisher
from iot.native.publisher import Publisher, Queue, read

PICTURE = "data:image/jpeg;base64,/9j/" + "4AAQSkZJRgABAQ" * 20


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "[]",
        "null",
        '"x"',
        "",
        "{",
        "true",
        "[" * 100_000,
        json.dumps({"person": {"pic": PICTURE}}),
        json.dumps({"person": PICTURE}),
        '{"person": 7}',
    ],
)
def test_what_is_no_check_in_is_none(line: str) -> None:
    assert read(line) is None


@pytest.mark.parametrize("line", ['{"person": "HS1"}', "{}", '{"person": null, "direction": "in"}'])
def test_a_check_in_is_one(line: str) -> None:
    assert read(line) == json.loads(line)


def test_only_what_the_schema_has_reaches_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    gate = Publisher(Queue(str(path)), "31HP0000001", "N1")
    told: dict[str, Any] = {"direction": "in", "method": "face", "similarity": 97.5, "verify": "allowed"}
    gate.record("HS1", **told, image=PICTURE, id="mine", seq=7, embedding=[0.5] * 128)
    gate.record("HS2", direction=PICTURE, method={"pic": PICTURE}, similarity=PICTURE, verify=[PICTURE])
    bodies = [json.loads(body) for _, _, body in gate._queue.waiting(9)]
    assert [{k: v for k, v in body.items() if k != "time"} for body in bodies] == [
        {"person": "HS1", **told},
        {"person": "HS2"},
    ]
    assert PICTURE[:40].encode() not in path.read_bytes()


def test_no_line_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    command = [
        sys.executable,
        publisher.__file__,
        "--school",
        "31HP0000001",
        "--device",
        "N1",
        "--queue",
        str(path),
        "--host",
        "127.0.0.1",
        "--port",
        "1",
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(b'5\n[]\nnull\n\xff\xfe{"x"\n{"person": "HS1", "pic": "x"}\n\n7\n{"person": "HS2"}\n')
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == [b"recorded 1\n", b"recorded 2\n"]
        time.sleep(0.05)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate(timeout=10)
    with sqlite3.connect(path) as db:
        assert [json.loads(body)["person"] for (body,) in db.execute("SELECT body FROM events ORDER BY seq")] == [
            "HS1",
            "HS2",
        ]
