"""Documents drawn from code: the state table, the settings, the connectors' settings, the
assumptions, the JSON Schemas.

Whatever can be drawn is never written by hand. It must never touch text outside its own markers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from connectors.settings import document as connector_document
from hub import assumptions
from hub.kernel import filings, lifecycle
from hub.settings import document as settings_document
from hub.wiring import ROOT
from mappings.canonical import export

_GENERATED = "<!-- drawn by `hub docs`: do not edit -->\n\n"


def _between(path: Path, name: str, content: str) -> str:
    """The file's text with the part between `<!-- name -->` and `<!-- /name -->` replaced."""
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    if not pattern.search(text):
        raise ValueError(f"{path.name} has no part {name}")
    return pattern.sub(lambda m: m.group(1) + content + "\n" + m.group(2), text)


def _state_diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    for t in lifecycle.TRANSITIONS:
        source = t.source.word if t.source else "[*]"
        lines.append(f"    {source} --> {t.target.word}: {t.cause}")
    lines += [f"    {s.word} --> [*]" for s in sorted(lifecycle.FINAL)]
    return "\n".join([*lines, "```"])


def documents() -> dict[Path, Callable[[], str]]:
    """Each generated document with what it should hold."""
    docs = ROOT / "docs"
    return {
        docs / "ARCHITECTURE.md": lambda: _between(
            docs / "ARCHITECTURE.md", "states", f"{lifecycle.table()}\n\n{_state_diagram()}"
        ),
        docs / "runbooks" / "public-service.md": lambda: _between(
            docs / "runbooks" / "public-service.md", "filing-states", filings.diagram()
        ),
        docs / "SETTINGS.md": lambda: _GENERATED + settings_document(),
        docs / "ASSUMPTIONS.md": lambda: _GENERATED + assumptions.document(ROOT),
        docs / "CONNECTORS.md": lambda: _GENERATED + connector_document(),
        **{path: partial(str, text) for path, text in export.documents().items()},
    }


def refresh(*, write: bool) -> list[str]:
    """Names of the documents that differ from the code; with `write`, they are written anew."""
    stale: list[str] = []
    for path, content in documents().items():
        wanted = content()
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            stale.append(path.name)
            if write:
                path.write_text(wanted, encoding="utf-8")
    return stale
