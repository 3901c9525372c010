"""Showing a verdict: a table for people, a JSON file for whoever checks later.

One concern: words and figures on a screen. It must never judge: the verdict is made.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from hub.simulate.verdict import Verdict

_NONE = "[dim]–[/dim]"


def _mark(ok: bool) -> str:
    return "[bold green]✔[/bold green]" if ok else "[bold red]✘[/bold red]"


def _figure(value: float | None, bad: bool = False) -> str:
    if value is None:
        return _NONE
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    return f"[bold red]{text}[/bold red]" if bad and value else text


def tables(verdict: Verdict) -> list[Table]:
    """The summary: one table by system, one of everything else that had to hold."""
    systems = Table(
        title=f"Buổi sáng của thành phố, lượt {verdict.run} / The city morning, run {verdict.run}", title_justify="left"
    )
    systems.add_column("Hệ thống / System")
    for vi, en in (
        ("Gửi", "Sent"),
        ("Phải có", "Expected"),
        ("Đã có", "Effects"),
        ("Trùng", "Doubled"),
        ("Mất", "Lost"),
        ("Thừa", "Stray"),
        ("Chờ người", "Parked"),
        ("Từ chối", "Rejected"),
        ("Giây", "Seconds"),
    ):
        systems.add_column(f"{vi}\n{en}", justify="right")
    systems.add_column("")
    for row in verdict.rows:
        systems.add_row(
            f"{row.system.vi} / {row.system.en}",
            _figure(row.sent),
            _figure(row.expected),
            _figure(row.effects),
            _figure(row.doubled, True),
            _figure(row.lost, True),
            _figure(row.unexpected, True),
            _figure(row.parked),
            _figure(row.rejected),
            _figure(row.seconds),
            _mark(row.ok),
        )
    checks = Table(title="Phải đúng / Had to hold", title_justify="left")
    for heading in ("", "Điều kiện / Condition", "Thấy / Found"):
        checks.add_column(heading)
    for check in verdict.checks:
        checks.add_row(_mark(check.ok), f"{check.name.vi}\n[dim]{check.name.en}[/dim]", check.detail)
    return [systems, checks]


def show(verdict: Verdict, screen: Console) -> bool:
    """Print the summary. Returns whether all is well."""
    for table in tables(verdict):
        screen.print(table)
    for system, told in verdict.differences.items():
        for line in told:
            screen.print(f"[red]{system}: {line}[/red]")
    if verdict.ok:
        screen.print(
            "[bold green]✔ Không mất gì, không trùng gì.[/bold green] [dim]/ Nothing lost, nothing doubled.[/dim]"
        )
        parked = sum(r.parked or 0 for r in verdict.rows)
        if parked:
            screen.print(
                f"  {parked} học sinh chờ người duyệt mã xã đã bị chia (trang Mã chờ). "
                f"[dim]/ {parked} learners wait for a person to decide about split wards (page of waiting codes).[/dim]"
            )
    else:
        screen.print("[bold red]✘ Buổi sáng không đạt.[/bold red] [dim]/ The morning failed.[/dim]")
    return verdict.ok


def keep(verdict: Verdict, path: Path) -> None:
    """Write the verdict as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"ok": verdict.ok, **msgspec.to_builtins(verdict)}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
