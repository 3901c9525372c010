"""Flow files: what may stand in them together, and how long a passage is worth telling, by which clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.kernel.ledger.core import Core
from hub.kernel.router import FlowFaulty, Router, load_flows
from hub.worker.render import Renderer
from mappings.engine import Catalogue

FLOW = """
name: told
title: {{vi: "Báo", en: "Told"}}
records: [{records}]
to: [{{connector: families, map: subscriber.checkin, order: none, whose: {whose}, fresh_within_s: 900}}]
"""


def flows(folder: Path, records: str, whose: str = "learners") -> Any:
    (folder / "told").mkdir(exist_ok=True)
    (folder / "told" / "flow.yaml").write_text(FLOW.format(records=records, whose=whose))
    return load_flows(folder)


@pytest.mark.parametrize("records", ["filing_progress", "checkin, filing_progress", ""])
def test_whose_is_asked_of_passages_alone(tmp_path: Path, records: str) -> None:
    assert flows(tmp_path, "checkin")["told"].to[0].whose == "learners"
    with pytest.raises(FlowFaulty, match="whose"):
        flows(tmp_path, records)
    assert flows(tmp_path, records, "everybody")["told"].to[0].whose == "everybody"


@pytest.mark.parametrize("records", ["filing_progress", "filing, filing_progress", ""])
def test_what_is_unchecked_is_asked_of_filings_alone(tmp_path: Path, records: str) -> None:
    text = FLOW.replace("whose: {whose}", "unchecked: {whose}")

    def told(records: str, how: str) -> Any:
        (tmp_path / "told").mkdir(exist_ok=True)
        (tmp_path / "told" / "flow.yaml").write_text(text.format(records=records, whose=how))
        return load_flows(tmp_path)["told"].to[0].unchecked

    assert told("filing", "park") == "park" and told("checkin", "send") == "send"
    with pytest.raises(FlowFaulty, match="unchecked"):
        told(records, "park")


@pytest.mark.parametrize("ahead_s", [-7200.0, 0.0, 7200.0])
def test_what_is_too_long_ago_is_judged_by_the_databases_clock(tmp_path: Path, ahead_s: float) -> None:
    router = Router(flows(tmp_path, "checkin"), {"families": 1})
    core = Core(None, router, Catalogue.load(), lambda _: "")  # type: ignore[arg-type]
    core._ahead_s = ahead_s
    renderer = Renderer(core, SimpleNamespace(number=1, adapter=None))  # type: ignore[arg-type]
    there = datetime.now(UTC) + timedelta(seconds=ahead_s)
    for age_s, goes in ((60, True), (1000, False)):
        out = SimpleNamespace(updated_at=there - timedelta(seconds=age_s))
        claimed: Any = SimpleNamespace(outgoing=out, flow="told")
        assert (renderer._stale(claimed) is None) is goes


def test_the_ledger_never_asks_its_host_for_the_time_of_day() -> None:
    """What stands in it came by the database's clock: `Core.moment` is the one to compare with."""
    ledger = Path(__file__).parents[3] / "hub" / "kernel" / "ledger"
    asking = [p.name for p in ledger.glob("*.py") if re.search(r"datetime\.now\(|utcnow|\.today\(", p.read_text())]
    assert asking == []
