"""Figures as lines, as JSON, and as the page docs/PERFORMANCE.md. It must never round a miss into a hit."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

import psutil

from benchmarks.rig import Figure

_BEGIN, _END = "<!-- figures: written by the run -->", "<!-- end of figures -->"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def line(f: Figure) -> str:
    """One figure on one line of the terminal."""
    whole = all(f.met.values()) if isinstance(f.met, dict) else f.met
    verdict = {True: "✓", False: "✗", None: " "}[whole]
    ratio = f"  ratio {f.ratio:.3f} of {_number(f.bare)}" if f.ratio is not None and f.bare is not None else ""
    ratio += "".join(f", {f.value / limit:.3f} of {_number(limit)} ({name})" for name, limit in f.also.items())
    return f"{verdict} {f.path}: {_number(f.value)} {f.unit}{ratio}  [{f.target}]  cpu {_shares(f)}  {f.note}"


def _verdict(met: bool | dict[str, bool] | None) -> str:
    """A verdict in words; where there are several limits, one for each."""
    if isinstance(met, dict):
        return "; ".join(f"{_verdict(one)} ({name})" for name, one in met.items())
    return {True: "yes", False: "**no**", None: "–"}[met]


def _shares(f: Figure) -> str:
    return ", ".join(f"{name} {share:.2f}" for name, share in f.cpu.items())


def machine() -> dict[str, str]:
    """What the figures were taken on: kinds and sizes, no names."""
    model = next(
        (
            row.partition(":")[2].strip()
            for row in Path("/proc/cpuinfo").read_text().splitlines()
            if row.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cores": str(os.cpu_count()), "processor": model, "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "python": platform.python_version(), "load before": f"{os.getloadavg()[0]:.1f}",
    }  # fmt: skip


def save(
    folder: Path, figures: list[Figure], failed: dict[str, str], where: dict[str, str], quick: bool, seconds: float
) -> Path:
    """The whole run as JSON; returns the file."""
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    found = [asdict(f) | {"ratio": f.ratio} for f in figures]
    target = folder / f"{at}.json"
    whole = {"at": at, "quick": quick, "seconds": seconds, "machine": where, "figures": found, "failed": failed}
    target.write_text(json.dumps(whole, ensure_ascii=False, indent=1))
    return target


def document(page: Path, figures: list[Figure], failed: dict[str, str], where: dict[str, str], quick: bool) -> None:
    """Put the table into the page, between its marks; what people wrote around it stays."""
    rows = [
        "| path | measured | bare limit | ratio | target | met | processor shares (1.0 = one core) | |",
        "|---|---:|---|---:|---|---|---|---|",
    ]
    for f in figures:
        bare = f"{_number(f.bare)}: {f.bare_is}" if f.bare is not None else "–"
        bare += "".join(f"; {_number(limit)}: {name}" for name, limit in f.also.items())
        ratio = f"{f.ratio:.2f}" if f.ratio is not None else "–"
        ratio += "".join(f"; {f.value / limit:.2f} ({name})" for name, limit in f.also.items())
        rows.append(
            f"| {f.path} | {_number(f.value)} {f.unit} | {bare} | {ratio} | {f.target} | {_verdict(f.met)} | {_shares(f)} | {f.note} |"
        )
    rows += [f"| {name} | not measured: {why.splitlines()[0][:200]} | | | | | | |" for name, why in failed.items()]
    told = ", ".join(f"{k} {v}" for k, v in where.items())
    sizes = "short sizes (`QUICK=1`)" if quick else "full sizes"
    block = (
        f"{_BEGIN}\n\nMeasured {time.strftime('%Y-%m-%d', time.gmtime())} with {sizes}. Machine: {told}.\n\n"
        + "\n".join(rows)
        + f"\n\n{_END}"
    )
    text = page.read_text(encoding="utf-8") if page.exists() else f"# Hiệu năng / Performance\n\n{_BEGIN}{_END}\n"
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(before + block + after, encoding="utf-8")
