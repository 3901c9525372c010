"""What a run has shown, as JSON for machines and a table for people.

One concern: writing down. It must never decide whether that was good.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field
from rich.console import Console
from rich.table import Table

from tests.chaos.injuries import Injury
from tests.chaos.sweep import Visit
from tests.chaos.verdict import Verdict

_VARIABLE = "CHAOS_REPORT"
"""Folder for reports; the data folder's `chaos` without it."""


class Report(Struct, kw_only=True):
    """One run."""

    name: str
    seed: int
    minutes: float
    kills: int = 0
    injuries: list[Injury] = field(default_factory=list)
    visited: list[Visit] = field(default_factory=list)
    missed: list[Visit] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """By part of the run."""
    caught: dict[str, list[str]] = field(default_factory=dict)
    """By safety that was off: the oracle's objections of the kind that it must lead to."""
    beside: dict[str, list[str]] = field(default_factory=dict)
    """By safety that was off: its other objections, which prove nothing."""
    controls: dict[str, list[str]] = field(default_factory=dict)
    """By play, with every safety on: its objections."""
    undealt: list[str] = field(default_factory=list)
    """Kinds of injury that the run's deck holds, and that it did not come to."""
    herd: dict[str, float] = field(default_factory=dict)
    """How quickly many gates came back, and had all they had to say acknowledged; seconds."""
    late: list[str] = field(default_factory=list)
    """What did not come to an end within its time."""
    skipped: list[str] = field(default_factory=list)

    @property
    def objections(self) -> list[str]:
        """All that went wrong with every safety on."""
        found = [f"{part}: {what}" for part, verdict in self.verdicts.items() for what in verdict.objections]
        found += [f"{i.name}: {i.failed}" for i in self.injuries if i.failed]
        found += [f"{name}, with every safety on: {what}" for name, whats in self.controls.items() for what in whats]
        found += self.late
        return found + [f"{v.process} never died at {v.point} ({v.kind})" for v in self.missed]

    def tell(self) -> None:
        """Print the table, and write `<name>.json`."""
        folder = Path(os.environ.get(_VARIABLE) or Path(os.environ.get("LT_DATA_DIR", ".data")) / "chaos")
        folder.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = msgspec.to_builtins(self) | {"objections": self.objections}
        (folder / f"{self.name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
        table = Table(title=f"chaos {self.name}, seed {self.seed}", title_justify="left")
        for column in (
            "part",
            "acknowledged",
            "passages",
            "overtaken",
            "effects",
            "lost",
            "doubled",
            "disordered",
            "hanging",
            "to people",
            "windows",
            "longest stall",
        ):
            table.add_column(column, justify="left" if column == "part" else "right")
        for part, v in self.verdicts.items():
            counts = (
                v.acknowledged,
                v.passages,
                v.overtaken,
                sum(v.effects.values()),
                len(v.lost),
                len(v.doubled),
                len(v.disordered),
                len(v.hanging),
                v.to_people,
                v.windows,
            )
            table.add_row(part, *(str(n) for n in counts), f"{v.longest_stall_s:.1f} s")
        kinds = Counter(i.name.partition(" ")[0] for i in self.injuries)
        words = ", ".join(f"{n}x {kind}" for kind, n in sorted(kinds.items()))
        table.caption = f"{self.kills} kills; {len(self.visited)} failpoints visited; injuries: {words or 'none'}"
        console = Console(width=150)
        console.print(table)
        if self.herd:
            console.print("  herd: " + ", ".join(f"{name} {value:g}" for name, value in self.herd.items()))
        for name, objections in self.caught.items():
            told = f"{len(objections)} objections, e.g. {objections[0]}" if objections else "NOT CAUGHT"
            beside = self.beside.get(name)
            console.print(f"  {name}: {told}" + (f"; beside: {', '.join(beside[:3])}" if beside else ""))
        if paths := sum((Counter(v.paths) for v in self.verdicts.values()), Counter()):
            console.print("  went on meanwhile: " + ", ".join(f"{path} {n}x" for path, n in sorted(paths.items())))
        if self.undealt:
            console.print(f"  kinds not inflicted ({len(self.undealt)}): {', '.join(self.undealt)}")
        for line in (*self.skipped, *self.objections[:40]):
            console.print(f"  {line}")
