"""Reasons given at a shell are held to what the console asks of them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from hub import commands_gates

_MOVE = ["move", "G1", "--school", "31HP0123001", "--entrance", "A", "--direction", "in"]


@pytest.mark.parametrize("order", [["revoke", "G1"], _MOVE, ["replace", "G1", "G2"], ["pictures", "G1", "--off"]])
@pytest.mark.parametrize("why", ["", "hỏng", " \t hỏng   \n ", "x" * 300])
def test_no_gate_is_ordered_about_without_a_reason(order: list[str], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_work: object) -> None:
        raise AssertionError("the hub was opened")

    monkeypatch.setattr(commands_gates, "_run", never)
    result = CliRunner().invoke(commands_gates.group, [*order, "--why", why])
    assert result.exit_code == 2 and "Hãy nêu mục đích" in result.output and "State a purpose" in result.output


def test_a_reason_is_journaled_without_what_pasting_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands_gates._reason(None, None, "  Máy \n hỏng\thẳn ") == "Máy hỏng hẳn"  # type: ignore[arg-type]
