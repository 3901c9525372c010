"""The import rules, also inside folders that are no packages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OURS = {"adapters", "connectors", "flows", "hub", "iot", "mappings"}
SOCKETS = {"aiohttp", "asyncpg", "httpx", "paho", "redis", "requests", "socket", "urllib3", "http"}

ALLOWED = {
    "adapters": ("hub.kernel.ports", "mappings", "adapters"),
    "iot": ("hub.kernel.ports", "mappings", "iot"),
    "connectors": ("hub.kernel.ports", "connectors"),
    "mappings": ("hub.kernel.ports", "mappings"),
    "hub/kernel": ("hub.kernel", "mappings"),
    "airflow": (),
}


def sources(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parent.parts
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def under(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(allowed + ".")


@pytest.mark.parametrize("folder", ALLOWED)
def test_only_allowed_imports(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(folder)
        for name in imported(path)
        if name.split(".")[0] in OURS and not any(under(name, allowed) for allowed in ALLOWED[folder])
    ]
    assert wrong == []


@pytest.mark.parametrize("family", ["adapters", "iot"])
def test_no_member_imports_another(family: str) -> None:
    members = {p.name for p in (ROOT / family).iterdir() if p.is_dir()}
    wrong = []
    for path in sources(family):
        parts = path.relative_to(ROOT / family).parts
        own = parts[0] if len(parts) > 1 else None
        for name in imported(path):
            bits = name.split(".")
            if own and bits[0] == family and len(bits) > 1 and bits[1] in members - {own}:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert wrong == []


def test_translations_open_no_sockets() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("adapters", "iot")
        for path in sources(folder)
        if path.name in ("adapter.py", "decode.py")
        for name in imported(path)
        if name.split(".")[0] in SOCKETS
    ]
    assert wrong == []


def test_airflow_and_hub_do_not_import_each_other() -> None:
    assert not (ROOT / "airflow" / "__init__.py").exists()
    wrong = [f"{p}: {n}" for folder in OURS for p in sources(folder) for n in imported(p) if under(n, "airflow")]
    assert wrong == []
