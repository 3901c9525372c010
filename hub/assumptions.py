"""The catalogue of what the hub takes for granted about others: gathered from the files that say so.

One concern: reading. Every profile, code table, crosswalk, field map and manifest marks what no published source
confirms; this module lists the marks, and puts those of one system together where its profile `includes` other files, by name
and version. It must never hold an assumption of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

_FOLDERS = ("adapters", "connectors", "flows", "iot", "mappings")
_NAMES = ("setting", "id", "system", "profile", "map", "template", "name", "format", "family")
_PASSED_OVER = frozenset({"samples", "tests", "schemas"})


class Assumption(Struct, frozen=True, kw_only=True):
    """One thing taken for granted. `file` is relative to the hub's root; `subject` names the part of it, empty for all."""

    file: str
    subject: str
    title: str
    why: str
    under: str = ""
    """The profile that includes `file`; empty where none does."""

    @property
    def place(self) -> str:
        """The file it is shown under."""
        return self.under or self.file


class NotIncluded(Exception):
    """Hồ sơ gộp một tệp không có, hoặc có phiên bản khác. / A profile includes a file that is not there, or of another version."""


class Unexplained(Exception):
    """Một giả định không nói vì sao. / An assumption is marked without saying why: add `why` beside it."""


def gather(root: Path) -> list[Assumption]:
    """Every assumption under the hub's root, by file; those of a file that a profile includes stand behind the profile's own.

    Raises `Unexplained` for one that gives no reason, `NotIncluded` where a profile and what it includes have come apart."""
    found: dict[str, list[Assumption]] = {}
    versions: dict[str, str] = {}
    included: dict[str, tuple[str, str]] = {}
    """File → (the profile's file, what the profile is called)."""
    wanted: dict[tuple[str, str], str] = {}
    """(The profile's file, the file it includes) → the version it was written for."""
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*.yaml")):
            if _PASSED_OVER & set(path.relative_to(root).parts):
                continue
            file = path.relative_to(root).as_posix()
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
                found.setdefault(file, []).extend(_of(document, file, ()))
                if isinstance(document, dict):
                    versions[file] = str(document.get("version", ""))
                    for one in document.get("includes", ()):
                        included.setdefault(one["file"], (file, _called(document)))
                        wanted[file, one["file"]] = str(one["version"])
    for (by, file), version in wanted.items():
        if versions.get(file) != version:
            raise NotIncluded(f"{by}: {file} {version} ≠ {versions.get(file, '–')}")
    listed: list[Assumption] = []
    for file in found:
        if file not in included:
            listed += found[file]
            for other, (by, called) in included.items():
                if by == file:
                    listed += [_under(one, by, called) for one in found[other]]
    return listed


def _called(document: dict[str, Any]) -> str:
    """A profile's name and version."""
    return f"{document['profile']} ({document['version']})"


def _under(one: Assumption, by: str, called: str) -> Assumption:
    subject = " › ".join(part for part in (called, one.file, one.subject) if part)
    return msgspec.structs.replace(one, under=by, subject=subject)


def _of(node: Any, file: str, trail: tuple[str, ...]) -> Iterator[Assumption]:
    if isinstance(node, list):
        for item in node:
            yield from _of(item, file, trail)
        return
    if not isinstance(node, dict):
        return
    own = next((str(node[name]) for name in _NAMES if isinstance(node.get(name), str)), None)
    if own and own == node.get("profile") and "version" in node:
        own = _called(node)
    # The outermost name is the file's own; what is inside says which part of it is meant.
    here = (*trail, own) if own and own not in trail else trail
    if node.get("assumed") is True:
        if not node.get("why"):
            raise Unexplained(f"{file}: {' › '.join(here) or 'the whole file'}")
        yield Assumption(
            file=file, subject=" › ".join(here), title=_title(node), why=" ".join(str(node["why"]).split())
        )
    if isinstance(node.get("assumptions"), list):
        for sentence in node["assumptions"]:
            yield Assumption(
                file=file, subject=" › ".join(here), title=_title(node), why=" ".join(str(sentence).split())
            )
    for key, value in node.items():
        if isinstance(value, dict | list) and key != "assumptions":
            # A profile's own name says which profile its settings belong to.
            yield from _of(value, file, (*here, key) if isinstance(value, dict) and "assumed" in value else here)


def _title(node: dict[str, Any]) -> str:
    title = node.get("title")
    return f"{title['vi']} / {title['en']}" if isinstance(title, dict) and {"vi", "en"} <= title.keys() else ""


def lines(assumptions: list[Assumption]) -> Iterator[str]:
    """The catalogue as text for a terminal: the file, then each assumption."""
    file = ""
    for a in assumptions:
        if a.place != file:
            file = a.place
            yield f"\n{file}"
        head = " · ".join(part for part in (a.subject, a.title) if part)
        yield f"  • {head + ': ' if head else ''}{a.why}"


def document(root: Path) -> str:
    """The catalogue as a page of the documents."""
    found = gather(root)
    page = [
        "# Giả định / Assumptions",
        "",
        f"{len(found)} điều mà không nguồn công bố nào xác nhận; mỗi điều nằm trong một tệp thay được. `hub check --assumptions` in ra trang này.",
        "",
        f"{len(found)} things no published source confirms; each lives in a file that can be replaced. `hub check --assumptions` prints this page.",
    ]
    file = ""
    for a in found:
        if a.place != file:
            file = a.place
            page += ["", f"## {file}", ""]
        head = " · ".join(part for part in (a.subject, a.title) if part)
        page.append(f"- {f'**{head}**: ' if head else ''}{a.why}")
    return "\n".join([*page, ""])
