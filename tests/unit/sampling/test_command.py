"""`hub sample`: the purpose is in the journal before anything is read, and a refusal leaves no folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from hub import commands, sampling, sampling_beside
from hub.commands_sampling import sample
from hub.kernel.ledger import evidence, operations

MADE = sampling.Made(
    system="ministry", outcome="accepted", files={"case.yaml": b"what: read\n", "a": b"1"}, blanked=["/x"]
)


class _House:
    core = None


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []

    async def unmask(_core: Any, actor: str, subject: int, purpose: str) -> None:
        seen.append(("unmask", actor, subject, purpose))

    async def exchange(_core: Any, wanted: int) -> Any:
        seen.append(("exchange", wanted))
        return SimpleNamespace(about=wanted == 8 or None) if wanted in (7, 8) else None

    async def heard(_core: Any, wanted: int) -> Any:
        seen.append(("heard", wanted))
        return {} if wanted == 9 else None

    monkeypatch.setattr(operations, "unmask", unmask)
    monkeypatch.setattr(evidence, "exchange", exchange)
    monkeypatch.setattr(evidence, "heard", heard)
    monkeypatch.setattr(commands, "with_house", lambda work: asyncio.run(work(_House())))
    return seen


def _run(*args: str) -> Any:
    return CliRunner().invoke(sample, list(args))


def test_purpose_first_then_the_folder_with_its_case_last(
    told: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "make", lambda _house, _found: MADE)
    into = tmp_path / "recorded-one"
    done = _run("7", "--into", str(into), "--purpose", "Thêm mẫu kiểm thử")
    assert done.exit_code == 0, done.output
    assert told == [("unmask", "cli", 7, "Thêm mẫu kiểm thử"), ("exchange", 7)]
    assert {p.name for p in into.iterdir()} == {"case.yaml", "a"}
    again = _run("7", "--into", str(into), "--purpose", "Thêm mẫu kiểm thử")
    assert again.exit_code != 0 and "is there already" in again.output


@pytest.mark.parametrize(("number", "how"), [(8, "settled"), (9, "heard")])
def test_inquiries_pages_and_events_go_their_own_way(
    told: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, how: str
) -> None:
    monkeypatch.setattr(sampling_beside, how, lambda _house, _found: MADE)
    done = _run(str(number), "--into", str(tmp_path / "recorded-four"), "--purpose", "Thêm mẫu kiểm thử")
    assert done.exit_code == 0, done.output
    assert told[0][0] == "unmask", "the purpose first"


def test_refusals_write_nothing(told: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_house: Any, _found: Any) -> Any:
        raise sampling.Refused("không", "no")

    monkeypatch.setattr(sampling, "make", refuse)
    into = tmp_path / "recorded-two"
    for number, purpose in (("7", "Thêm mẫu kiểm thử"), ("8", "Thêm mẫu kiểm thử"), ("7", " ")):
        assert _run(number, "--into", str(into), "--purpose", purpose).exit_code == 1
        assert not into.exists()
    assert [t[0] for t in told] == ["unmask", "exchange"] * 2, "without a purpose nothing is even looked at"


def test_a_kill_while_writing_leaves_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes

    def dying(self: Path, data: bytes) -> int:
        if self.name == "a":
            raise KeyboardInterrupt
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", dying)
    with pytest.raises(KeyboardInterrupt):
        sampling.write(MADE, tmp_path / "recorded-three")
    assert not (tmp_path / "recorded-three" / "case.yaml").exists()


def test_nothing_secret_and_nothing_original_is_written() -> None:
    told: Any = SimpleNamespace(stand_ins=SimpleNamespace(originals=["Lương Quỳnh Thử"]), hidden=["ABCD-1"])
    with pytest.raises(sampling.Refused, match=r"reply.json still holds 1 .*\(/a/0\)") as refused:
        sampling.Telling.check(told, {"reply.json": b'{"a": ["luong quynh thu"]}'})
    assert "quynh" not in str(refused.value).casefold(), "a refusal names places, never values"
    with pytest.raises(sampling.Refused, match="is a secret"):
        sampling.Telling.check(told, {}, "x-session-token")
