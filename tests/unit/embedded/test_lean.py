"""What the resident processes keep out of their memory: a module named here costs every one of them its megabytes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hub import lean
from hub.wiring import ROOT

_FOR_NOBODY = (
    "aiohttp", "airflow", "arrow", "dns", "email_validator", "holidays", "httpx", "isoduration", "jsonschema", "lxml", "openpyxl",
    "opentelemetry.sdk", "paramiko", "procrastinate", "psutil", "pyhanko", "python_calamine", "requests", "rich", "signxml", "xmlschema", "zeep",
    "hub.commands", "hub.embedded.airflow", "hub.embedded.postgres", "hub.run", "hub.simulate",
)  # fmt: skip
"""Loaded when first used (a reject explained, a calendar with holidays, a workbook, a signature), or by other commands."""
_PROCESSES = {
    "hub.app": (),
    "hub.worker.gates": ("fastapi", "jinja2", "starlette", "hub.worker.dispatch", "hub.console", "adapters.manifest"),
    "hub.worker.main": ("fastapi", "jinja2", "starlette", "hub.worker.bridge", "hub.console"),
}


@pytest.mark.parametrize("module", _PROCESSES)
def test_a_resident_process_starts_without_what_it_does_not_need(module: str) -> None:
    heavy = sorted((*_FOR_NOBODY, *_PROCESSES[module]))
    code = (
        "import sys, hub.cli, hub.lean; hub.lean.leave_out(); import uvloop, " + module + "; "
        f"print(*(n for n in {heavy!r} if sys.modules.get(n) is not None))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_other_commands_load_with_everything_there() -> None:
    """Nothing is left out of a process that did not ask for it, such as Airflow's or the tests'."""
    code = "import sys, hub.cli, hub.commands; print(*(n for n in sys.modules if sys.modules[n] is None))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & set(lean.NEVER_USED)


def test_one_countrys_holidays_come_without_all_the_others_and_are_the_same() -> None:
    code = (
        "import sys, hub.lean; {}import holidays; found = holidays.country_holidays('VN', years=range(2020, 2036)); "
        "print(sum(n.startswith('holidays.countries.') for n in sys.modules), *(d.isoformat() for d in sorted(found)))"
    )
    lean_one, whole = (
        subprocess.run(
            [sys.executable, "-c", code.format(first)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        ).stdout.split()
        for first in ("hub.lean.leave_out(); ", "")
    )
    assert lean_one[0] == "1" and int(whole[0]) > 100, "else it shows nothing"
    assert lean_one[1:] == whole[1:] and len(whole) > 100


@pytest.mark.parametrize("words", [["--help"], ["users", "--help"], ["replay", "--help"]])
def test_every_command_is_still_found(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for word in ("gateway", "status", "replay", "simulate") if words == ["--help"] else ():
        assert word in done.stdout
