"""Reasons given at a shell are held to what the console asks of them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hub import commands, commands_gates
from hub.cli import main as commands_main
from hub.commands_reasons import reason

_MOVE = ["move", "G1", "--school", "31HP0123001", "--entrance", "A", "--direction", "in"]


_GATES = [
    ["revoke", "G1"],
    _MOVE,
    ["replace", "G1", "G2"],
    ["pictures", "G1", "--off"],
    ["rotate", "G1"],
    ["code", "G1"],
    ["signing", "G1", "--clear"],
    ["person-ids", "G1", "--as", "device"],
]
_OTHERS = [
    ["connectors", "add", "bo", "--system", "ministry"],
    ["connectors", "pause", "bo"],
    ["connectors", "resume", "bo"],
    ["connectors", "resume-share", "bo", "31HP0123001"],
    ["codes", "approve", "a", "1", "b", "2"],
    ["users", "reset", "admin"],
    ["queries", "grant", "VN/GOV/1/x", "enrolment"],
    ["queries", "withdraw", "VN/GOV/1/x", "enrolment"],
    ["waiting", "--send", "school:1/", "--connector", "bo"],
    ["replay", "--connector", "bo"],
    ["correct", "5", "{file}"],
]
_READS = {
    "check", "messages", "status", "compare", "evidence", "anchors", "sample", "gates list", "gates history", "gates broker", "gates register",
    "connectors list", "codes unmapped",
}  # fmt: skip
"""What changes nothing, or nothing that stands: gates are registered by a file that is its own reason, a comparison queues what
differs, and what is looked up asks for a purpose of its own."""


@pytest.mark.parametrize("order", [["gates", *o] for o in _GATES] + _OTHERS, ids=" ".join)
@pytest.mark.parametrize(
    "why", ["", "hỏng", " \t hỏng   \n ", "x" * 300, "Theo yêu cầu của chị Hà, 0912 345 678", None]
)
def test_nothing_is_ordered_without_a_reason(
    order: list[str], why: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def never(_work: object) -> None:
        raise AssertionError("the hub was opened")

    monkeypatch.setattr(commands_gates, "_run", never)
    monkeypatch.setattr(commands, "with_house", never)
    (tmp_path / "f.json").write_text("{}")
    words = [w.replace("{file}", str(tmp_path / "f.json")) for w in order]
    result = CliRunner().invoke(commands_main, [*words, *(["--why", why] if why is not None else [])])
    assert result.exit_code in (1, 2) and "--why" in result.output, result.output
    if why is not None:
        assert "Hãy nêu mục đích" in result.output and "State a purpose" in result.output


def test_every_command_that_changes_something_is_in_the_list_above() -> None:
    known = {" ".join(o[:2]) for o in [["gates", *o] for o in _GATES] + _OTHERS} | {o[0] for o in _OTHERS}
    for command in commands.ALL:
        inner = command.commands if isinstance(command, click.Group) else None
        for name in [f"{command.name} {n}" for n in inner] if inner is not None else [str(command.name)]:
            assert name in known | _READS, name


def test_a_reason_is_journaled_without_what_pasting_brings() -> None:
    assert reason(None, None, "  Máy \n hỏng\thẳn ") == "Máy hỏng hẳn"  # type: ignore[arg-type]
    assert reason(None, None, None) is None  # type: ignore[arg-type]
