"""`hub evidence`: the file is written, the verdict is told, and the exit code is the verifier's."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hub import commands, commands_evidence
from hub.api import anchors
from hub.evidence import verify
from hub.evidence.verify import Found


@pytest.mark.parametrize(("state", "code"), [("proven", 0), ("unproven", 3), ("unsealed", 4)])
def test_the_exit_code_is_the_verifiers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, code: int) -> None:
    found = Found()
    getattr(found, state, []).append("calls/7/request")
    assert found.state == state
    monkeypatch.setattr(commands, "with_house", lambda work: (5, b"PK"))
    monkeypatch.setattr(commands_evidence, "check", lambda data: found)
    out = tmp_path / "pack.zip"
    result = CliRunner().invoke(commands_evidence.evidence, ["5", "--purpose", "Đối soát", "--out", str(out)])
    assert result.exit_code == code, result.output
    assert out.read_bytes() == b"PK"


def test_the_program_that_checks_packs_can_be_had_from_the_hub_itself() -> None:
    client: Any = None
    answer = asyncio.run(anchors.verifier(client))
    source = Path(verify.__file__).read_bytes()
    assert bytes(answer.body) == source
    assert answer.headers["x-sha256"] == hashlib.sha256(source).hexdigest()
