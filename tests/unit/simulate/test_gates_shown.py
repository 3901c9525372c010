"""What a person reads after a load of gates: lists of gates that are asked, read through or not."""

from __future__ import annotations

import pytest

from hub.simulate.gates import Phase
from hub.simulate.gates_books import Proof, Reading
from hub.simulate.gates_cli import Result, show


def result(reading: Reading, **proof: int) -> Result:
    phase = Phase(
        name="live", seconds=10, sent=980, listed=20, acknowledged=980, p50_ms=9, p99_ms=40, worst_ms=60, cpu={}
    )
    found = Proof(
        acknowledged=980, unacknowledged=0, stored=1_000, doubled=0, strange=0, differences={}, examples=[],
        listed=20, listed_p50_s=6.5, listed_oldest_s=14.2, **{"lost": 0, **proof},
    )  # fmt: skip
    return Result(
        gates=100, families={"dahua": 2}, registered_s=0.1, connected_s=0.2, phases=[phase], repeats=0, settled=not reading.behind,
        reading=reading, proof=found,
    )  # fmt: skip


def test_the_lists_have_a_line_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    show(result(Reading(gates=2, waited_s=4.0)))
    said = capsys.readouterr().out
    assert "✔ 980" in said and "20 lượt" in said and "max 14.2 s" in said and "not read through" not in said


def test_a_list_that_was_not_read_through_is_named_with_what_ails_it(capsys: pytest.CaptureFixture[str]) -> None:
    faults = {"sim-gate-0048": "Thiết bị không trả lời. / The device does not answer."}
    show(result(Reading(gates=2, waited_s=79.0, behind=["sim-gate-0048"], faults=faults), lost=7))
    said = capsys.readouterr().out
    assert "✘" in said and "lost 7" in said
    assert "not read through: sim-gate-0048" in said and "sim-gate-0048: Thiết bị không trả lời" in said


def test_a_load_without_such_gates_says_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    show(result(Reading(gates=0, waited_s=0.0)))
    assert "gates that are asked" not in capsys.readouterr().out
