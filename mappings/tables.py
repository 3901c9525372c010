"""Reading code systems and crosswalks from their files.

One concern: the YAML and CSV files under `codes/` and `crosswalks/` become immutable tables. It must never decide what
a code means for a record (see `mappings.catalogue`) and never reads anything but these files.
"""

from __future__ import annotations

import csv
import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import vn_text
import yaml
from msgspec import Struct

from hub.kernel.ports import Text

HERE = Path(__file__).parent

Relation = Literal[
    "equivalent",
    "source-is-narrower-than-target",
    "source-is-broader-than-target",
    "related-to",
    "not-related-to",
]
"""FHIR R5 ConceptMap relationships."""

RESOLVING: frozenset[str] = frozenset({"equivalent", "source-is-narrower-than-target"})
"""Relations under which a single target is certain. The others only ever give candidates."""


class TableError(ValueError):
    """Bảng mã hoặc bảng chuyển đổi sai. / A code table or crosswalk file is wrong."""


class CodeRow(Struct, frozen=True, kw_only=True):
    """One code in one period. Dates are inclusive; None means open."""

    code: str
    vi: str
    en: str
    effective_from: date | None = None
    effective_to: date | None = None
    extra: dict[str, str] = {}
    """Further columns of the table: `kind`, `parent`, `district` …"""

    def valid(self, on: date) -> bool:
        """True when the code is in force on that day."""
        return (self.effective_from is None or self.effective_from <= on) and (
            self.effective_to is None or on <= self.effective_to
        )


class CodeSystem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A versioned code table with where it comes from and under which licence."""

    system: str
    version: str
    title: Text
    origin: str
    licence: str
    assumed: bool
    rows: tuple[CodeRow, ...]
    why: str | None = None
    """Why it is assumed; set whenever `assumed` is."""
    note: str | None = None
    unique_names: bool = True
    """False: a name alone never identifies a code, it only gives candidates."""
    by_code: dict[str, tuple[CodeRow, ...]] = {}
    by_name: dict[str, tuple[str, ...]] = {}
    """Exact titles (NFC, lower case) to codes."""
    by_fold: dict[str, tuple[str, ...]] = {}
    """Titles without diacritics, case and punctuation to codes."""
    files: tuple[str, ...] = ()
    """Names of the files it is read from (see `Files`)."""

    def row(self, code: str, on: date | None = None) -> CodeRow | None:
        """The row of a code, in force on `on` when given; None when there is none."""
        rows = self.by_code.get(code, ())
        if on is None:
            return rows[-1] if rows else None
        return next((r for r in rows if r.valid(on)), None)


class MapEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One relation of a crosswalk. `confidence` is between 0 and 1 (SSSOM); None where a person must choose."""

    source: str
    target: str
    relation: Relation = "equivalent"
    effective_from: date | None = None
    effective_to: date | None = None
    confidence: float | None = None
    note: str | None = None

    def valid(self, on: date) -> bool:
        """True when the relation holds on that day."""
        return (self.effective_from is None or self.effective_from <= on) and (
            self.effective_to is None or on <= self.effective_to
        )


class UnmappedPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table does with a code it does not hold."""

    policy: Literal["keep", "fixed", "other_table", "ask"] = "ask"
    value: str | None = None
    """The fixed target code of `fixed`."""
    table: str | None = None
    """Id of the crosswalk asked next by `other_table`."""


class Crosswalk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A versioned concept map. Source and target may be one system: then it holds other spellings of its codes."""

    id: str
    source: str
    target: str
    version: str
    origin: str
    licence: str
    assumed: bool
    entries: tuple[MapEntry, ...]
    unmapped: UnmappedPolicy = UnmappedPolicy()
    reviewer: str | None = None
    why: str | None = None
    note: str | None = None
    by_source: dict[str, tuple[MapEntry, ...]] = {}
    by_name: dict[str, tuple[str, ...]] = {}
    """Exact source spellings (NFC, lower case) to source values; only where source and target are one system."""
    by_fold: dict[str, tuple[str, ...]] = {}
    files: tuple[str, ...] = ()
    """Names of the files it is read from (see `Files`)."""


class Files(Struct, frozen=True):
    """The bytes of table files by name (`codes/….yaml`, `crosswalks/….csv`), and a hash (hex) over all: it changes when any does."""

    contents: dict[str, bytes]
    digest: str


@lru_cache(maxsize=65536)
def clean(code: str) -> str:
    """A code as tables hold it: composed (NFC), no blanks around or doubled inside."""
    if not code.isascii():
        code = unicodedata.normalize("NFC", code)
    return " ".join(code.split())


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """Search key of a name: no diacritics, case, punctuation; `đ` is `d`, and the damaged `Ð` too."""
    return vn_text.fold(vn_text.repair_mojibake(text))


def _index(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    out: dict[str, dict[str, None]] = {}
    for name, code in pairs:
        if name:
            out.setdefault(name, {})[code] = None
    return {name: tuple(codes) for name, codes in out.items()}


def _documents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*.yaml")):
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        for document in loaded if isinstance(loaded, list) else [loaded]:
            yield path, document


def _files(path: Path, document: dict[str, Any]) -> tuple[str, ...]:
    """Names of a table's files: the document's, and that of its rows where they are apart."""
    return tuple(f"{path.parent.name}/{name}" for name in (path.name, document.get("file")) if name)


def _rows(path: Path, document: dict[str, Any], inline: str) -> list[dict[str, Any]]:
    if name := document.pop("file", None):
        with (path.parent / name).open(encoding="utf-8", newline="") as stream:
            return [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(stream)]
    rows: list[dict[str, Any]] = document.pop(inline)
    return rows


def load_systems(folder: Path = HERE / "codes") -> dict[str, CodeSystem]:
    """Every code system of a folder, by name. Raises `TableError` naming the file at fault."""
    systems: dict[str, CodeSystem] = {}
    known = {"code", "vi", "en", "effective_from", "effective_to"}
    for path, document in _documents(folder):
        files = _files(path, document)
        try:
            rows = tuple(
                msgspec.convert(
                    {k: v for k, v in raw.items() if k in known}
                    | {"extra": {k: v for k, v in raw.items() if k not in known}},
                    CodeRow,
                    strict=False,
                )
                for raw in _rows(path, document, "codes")
            )
            names = [(t, r.code) for r in rows for t in _titles(r)]
            system = msgspec.convert(document | {"rows": rows}, CodeSystem, from_attributes=True)
            by_code: dict[str, tuple[CodeRow, ...]] = {}
            for row in rows:
                by_code[row.code] = (*by_code.get(row.code, ()), row)
            system = msgspec.structs.replace(
                system,
                by_code=by_code,
                by_name=_index((clean(t).lower(), c) for t, c in names),
                by_fold=_index((fold(t), c) for t, c in names),
                files=files,
            )
        except (msgspec.ValidationError, KeyError, OSError) as error:
            raise TableError(f"{path.name}: {error}") from error
        if system.system in systems or (system.assumed and not system.why):
            raise TableError(f"{path.name}: {system.system} is there twice, or assumed without saying why")
        systems[system.system] = system
    return systems


def _titles(row: CodeRow) -> Iterator[str]:
    yield row.vi
    yield row.en
    if district := row.extra.get("district"):
        yield f"{row.vi}, {district}"
    if "(" in row.vi:
        # "Hoa (Hán)" is met as "Hoa" as often as in full.
        yield row.vi.split("(")[0].strip()


def load_crosswalks(folder: Path = HERE / "crosswalks") -> dict[str, Crosswalk]:
    """Every crosswalk of a folder, by id. Raises `TableError` naming the file at fault."""
    walks: dict[str, Crosswalk] = {}
    for path, document in _documents(folder):
        files = _files(path, document)
        try:
            entries = tuple(msgspec.convert(raw, MapEntry, strict=False) for raw in _rows(path, document, "entries"))
            walk = msgspec.convert(document | {"entries": entries}, Crosswalk, from_attributes=True)
        except (msgspec.ValidationError, KeyError, OSError) as error:
            raise TableError(f"{path.name}: {error}") from error
        by_source: dict[str, tuple[MapEntry, ...]] = {}
        for entry in walk.entries:
            source = clean(entry.source)
            by_source[source] = (*by_source.get(source, ()), entry)
        spelled = by_source if walk.source == walk.target else {}
        if walk.id in walks or (walk.assumed and not walk.why):
            raise TableError(f"{path.name}: {walk.id} is there twice, or assumed without saying why")
        walks[walk.id] = msgspec.structs.replace(
            walk,
            by_source=by_source,
            by_name=_index((s.lower(), s) for s in spelled),
            by_fold=_index((fold(s), s) for s in spelled),
            files=files,
        )
    return walks


def read_files(*folders: Path) -> Files:
    """Every table file of these folders."""
    paths = [p for folder in folders for p in sorted(folder.iterdir()) if p.suffix in {".yaml", ".csv"}]
    contents = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}
    digest = hashlib.sha256()
    for name, data in contents.items():
        digest.update(f"{name}\0".encode())
        digest.update(data)
    return Files(contents, digest.hexdigest())
