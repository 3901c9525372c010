"""`hub evidence`: the file is written, the verdict is told, and the exit code is the verifier's."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from hub import commands, commands_evidence
from hub.api import anchors
from hub.evidence import verify
from hub.evidence.verify import Found
from hub.kernel.ledger import evidence, operations


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


@pytest.mark.parametrize("gone", ["never there", "since"])
def test_a_key_that_leads_nowhere_is_said_to_and_nothing_is_journaled(
    monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    async def find(core: Any, wanted: str, type_name: str | None) -> int | None:
        return None if gone == "never there" else 5

    async def gather(core: Any, record: int, scope: Any) -> None:
        return None

    async def unmask(*_: Any) -> None:
        raise AssertionError("there was nothing to see")

    monkeypatch.setattr(commands, "with_house", lambda work: asyncio.run(work(SimpleNamespace(core=None))))
    monkeypatch.setattr(evidence, "find", find)
    monkeypatch.setattr(evidence, "gather_whole", gather)
    monkeypatch.setattr(operations, "unmask", unmask)
    arguments = ["TAM-7", "--type", "learner", "--purpose", "Đối soát"]
    result = CliRunner().invoke(commands_evidence.evidence, arguments)
    assert result.exit_code == 1 and "no record 'TAM-7'" in result.output and "CODE@SCHOOL" in result.output


def test_each_record_in_a_pack_is_journaled_before_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[Any] = []

    async def find(core: Any, wanted: str, type_name: str | None) -> int:
        return 5

    async def gather(core: Any, record: int, scope: Any) -> Any:
        return SimpleNamespace(numbers=[3, 5, 8])

    async def unmask(core: Any, actor: str, subject: int, purpose: str, *others: int) -> None:
        done.append((subject, *others))

    def packed(found: Any) -> bytes:
        done.append("packed")
        return b"PK"

    monkeypatch.setattr(commands, "with_house", lambda work: asyncio.run(work(SimpleNamespace(core=None))))
    monkeypatch.setattr(evidence, "find", find)
    monkeypatch.setattr(evidence, "gather_whole", gather)
    monkeypatch.setattr(operations, "unmask", unmask)
    monkeypatch.setattr(commands_evidence, "pack", packed)
    monkeypatch.setattr(commands_evidence, "check", lambda data: Found())
    out = ["--out", str(tmp_path / "pack.zip")]
    result = CliRunner().invoke(commands_evidence.evidence, ["5", "--purpose", "Đối soát", *out])
    assert result.exit_code == 0, result.output
    assert done == [(5, 3, 8), "packed"]


def test_the_program_that_checks_packs_can_be_had_from_the_hub_itself() -> None:
    client: Any = None
    answer = asyncio.run(anchors.verifier(client))
    source = Path(verify.__file__).read_bytes()
    assert bytes(answer.body) == source
    assert answer.headers["x-sha256"] == hashlib.sha256(source).hexdigest()
