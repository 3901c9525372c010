"""Showing a verdict: a table for people, a JSON file for whoever checks later.

One concern: words and figures on a screen 80 columns wide. It must never judge: the verdict is made.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from hub.simulate.verdict import Verdict

_FIGURES = (
    ("Gửi", "Sent"),
    ("Cần", "Due"),
    ("Có", "Done"),
    ("Trùng", "Twice"),
    ("Mất", "Lost"),
    ("Thừa", "Stray"),
    ("Chờ", "Parked"),
    ("Bỏ", "Refused"),
    ("Giây", "Sec."),
)


def _mark(ok: bool) -> str:
    return "[bold green]✔[/bold green]" if ok else "[bold red]✘[/bold red]"


def _figure(value: float | None, bad: bool = False) -> str:
    if value is None:
        return "[dim]–[/dim]"
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    return f"[bold red]{text}[/bold red]" if bad and value else text


def tables(verdict: Verdict) -> list[Table]:
    """The summary: one table by system, one of everything else that had to hold."""
    systems = _table(f"Buổi sáng của thành phố, lượt {verdict.run} / The city morning, run {verdict.run}")
    systems.add_column("Hệ thống\nSystem")
    for vi, en in _FIGURES:
        systems.add_column(f"{vi}\n{en}", justify="right", no_wrap=True)
    systems.add_column("")
    for row in verdict.rows:
        bad = [_figure(n, True) for n in (row.doubled, row.lost, row.unexpected)]
        good = [_figure(n) for n in (row.parked, row.rejected, row.seconds)]
        name = f"{row.system.vi}\n[dim]{row.system.en}[/dim]"
        first = [str(n) for n in (row.sent, row.expected, row.effects)]
        systems.add_row(name, *first, *bad, *good, _mark(row.ok))
    checks = _table("Những điều phải đúng / What had to hold")
    for heading in ("", "Điều kiện\nCondition", "Đã thấy\nFound"):
        checks.add_column(heading)
    for check in verdict.checks:
        checks.add_row(_mark(check.ok), f"{check.name.vi}\n[dim]{check.name.en}[/dim]", check.detail)
    return [systems, checks]


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )


def show(verdict: Verdict, screen: Console) -> bool:
    """Print the summary. Returns whether all is well."""
    for table in tables(verdict):
        screen.print(table)
    for system, told in verdict.differences.items():
        for line in told:
            screen.print(f"[red]{system}: {line}[/red]")
    if not verdict.ok:
        screen.print("[bold red]✘ Buổi sáng không đạt.[/bold red] [dim]/ The morning failed.[/dim]")
        return False
    screen.print("[bold green]✔ Không mất gì, không trùng gì.[/bold green] [dim]/ Nothing lost, nothing doubled.[/dim]")
    parked = sum(r.parked or 0 for r in verdict.rows)
    if parked:
        screen.print(
            f"  {parked} học sinh ở các xã, phường đã bị chia chờ người duyệt mã. "
            f"[dim]/ {parked} learners of split wards wait until somebody approves what the codes mean.[/dim]"
        )
    return True


def keep(verdict: Verdict, path: Path) -> None:
    """Write the verdict as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"ok": verdict.ok, **msgspec.to_builtins(verdict)}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
