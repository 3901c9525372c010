"""Turning codes into canonical ones.

One concern: given a code system, a code, a target system and a day, say which target code it is, or which candidates a
person must choose from. It must never guess between candidates, and never touches a database: approved entries are
handed to it as rows.
"""

from __future__ import annotations

import difflib
import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from hub.kernel.ports import Text
from mappings.canonical.registry import TypeSpec, holders
from mappings.tables import (
    HERE,
    RESOLVING,
    CodeSystem,
    Crosswalk,
    Files,
    MapEntry,
    TableError,
    UnmappedPolicy,
    clean,
    fold,
    load_crosswalks,
    load_systems,
    read_files,
)

Reason = Literal[
    "same",
    "alias",
    "mapped",
    "approved",
    "kept",
    "fixed",
    "other_table",
    "split",
    "ambiguous",
    "not_effective",
    "unknown",
    "no_table",
]

_CACHE_LIMIT = 100_000


class Approval(Struct, frozen=True, kw_only=True):
    """An entry a person approved. It overrules the files from `effective_from` on (None: always), and any entry approved before it
    for the same code from the same day."""

    source_system: str
    code: str
    target_system: str
    canonical: str
    effective_from: date | None = None
    approved_by: str


class Resolution(Struct, frozen=True):
    """The answer for one code. `code` is None when a person must decide; `candidates` are target codes, best first."""

    code: str | None
    candidates: tuple[str, ...] = ()
    reason: Reason = "unknown"


class Gap(Struct, frozen=True, kw_only=True):
    """A code of a record that has no canonical code: what the inbox of unmapped codes is made of."""

    path: str
    system: str
    code: str
    target: str
    candidates: tuple[str, ...]
    reason: Reason


class Suggestion(Struct, frozen=True, kw_only=True):
    """A target code offered to a person, with a score between 0 and 1 and the ground for it."""

    code: str
    title: Text
    score: float
    why: Text


class Catalogue:
    """All code systems and crosswalks, with the approved entries laid over them. Immutable; safe to share."""

    def __init__(
        self,
        systems: dict[str, CodeSystem],
        crosswalks: dict[str, Crosswalk],
        files: Files,
        overlay: Sequence[Approval] = (),
    ) -> None:
        self.systems = systems
        self.crosswalks = crosswalks
        self.overlay = _in_force(overlay)
        """The approved entries that can count, by code and day, however they were ordered among those of others."""
        self.files = files
        digest = hashlib.sha256(files.digest.encode())
        for row in self.overlay:
            digest.update(msgspec.json.encode(row))
        self.version: str = digest.hexdigest()[:16]
        """Changes with any table and any approval that can count."""
        self._walks: dict[tuple[str, str], list[Crosswalk]] = {}
        self._into: dict[str, list[Crosswalk]] = {}
        for walk in crosswalks.values():
            self._walks.setdefault((walk.source, walk.target), []).append(walk)
            self._into.setdefault(walk.target, []).append(walk)
            if walk.unmapped.policy == "other_table" and walk.unmapped.table not in crosswalks:
                raise TableError(f"{walk.id}: unmapped codes go to {walk.unmapped.table}, which is not there")
        self._approved: dict[tuple[str, str, str], list[Approval]] = {}
        for row in reversed(self.overlay):
            self._approved.setdefault(_approved_for(row), []).append(row)
        self._bounds = self._boundaries()
        self._cache: dict[tuple[str, str, str, int], Resolution] = {}

    @classmethod
    def load(cls, folder: Path = HERE, overlay: Iterable[Any] = ()) -> Catalogue:
        """Read the tables under `folder` (`codes/`, `crosswalks/`) and lay `overlay` over them.

        `overlay`: `Approval`s, mappings with its fields, or tuples in the order of its fields; oldest first. Raises `TableError`.
        """
        systems = load_systems(folder / "codes")
        walks = load_crosswalks(folder / "crosswalks")
        for walk in walks.values():
            if walk.source not in systems or walk.target not in systems:
                raise TableError(f"{walk.id}: {walk.source} or {walk.target} is not a known code system")
        return cls(systems, walks, read_files(folder / "codes", folder / "crosswalks"), approvals(overlay))

    def with_overlay(self, overlay: Iterable[Any]) -> Catalogue:
        """The same tables with other approved entries, oldest first: what to call after an approval. Cheap."""
        return Catalogue(self.systems, self.crosswalks, self.files, approvals(overlay))

    def ways_into(self, systems: Iterable[str]) -> tuple[set[str], set[str]]:
        """The code systems and the crosswalks (by id) a code may be looked up in on its way into one of these systems."""
        walks = [w for system in systems for w in self._into.get(system, ())]
        walks += [self.crosswalks[w.unmapped.table] for w in walks if w.unmapped.table is not None]
        return {*systems, *(s for w in walks for s in (w.source, w.target))}, {w.id for w in walks}

    def _boundaries(self) -> list[date]:
        """First days of all periods any table knows: between two of them no answer changes."""
        days: set[date] = {r.effective_from for r in self.overlay if r.effective_from}
        rows: list[Any] = [r for s in self.systems.values() for r in s.rows]
        rows += [e for w in self.crosswalks.values() for e in w.entries]
        for row in rows:
            if row.effective_from:
                days.add(row.effective_from)
            if row.effective_to:
                days.add(date.fromordinal(row.effective_to.toordinal() + 1))
        return sorted(days)

    def period(self, on: date) -> int:
        """Number of the period a day falls in."""
        return bisect_right(self._bounds, on)

    def standardise(self, system: str, code: str, target: str, on: date) -> Resolution:
        """Which code of `target` is this one on that day. Never raises; unknown systems give `no_table`."""
        return self.resolve(system, code, target, on, bisect_right(self._bounds, on))

    def resolve(self, system: str, code: str, target: str, on: date, period: int) -> Resolution:
        """`standardise` for a caller that has worked out the day's period (`period(on)`) once for many codes."""
        key = (system, code, target, period)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _CACHE_LIMIT:
                # Hostile input may invent codes without end: the cache is only a convenience.
                self._cache.clear()
            found = self._cache[key] = self._resolve(system, clean(code), target, on)
        return found

    def _resolve(self, system: str, code: str, target: str, on: date) -> Resolution:
        for row in self._approved.get((system, code, target), ()):
            if row.effective_from is None or row.effective_from <= on:
                return Resolution(row.canonical, (), "approved")
        found = self._same(system, code, on) if system == target else self._across(system, code, target, on)
        if found.code is not None or found.candidates:
            return found
        for walk in self._walks.get((system, target), ()):
            if (ruled := self._policy(walk, walk.unmapped, code, on)) is not None:
                return ruled
        return found

    def _same(self, system: str, code: str, on: date) -> Resolution:
        """A code within its own system: itself, another spelling, or its title."""
        table = self.systems.get(system)
        if table is None:
            return Resolution(None, (), "no_table")
        if table.row(code, on) is not None:
            return Resolution(code, (), "same")
        if code in table.by_code:
            return Resolution(None, (), "not_effective")
        found: dict[str, None] = {}
        for kind in ("by_source", "by_name", "by_fold"):
            # Exact spelling first; only when it finds nothing is the letter case, then the diacritics, given up.
            wanted = code if kind == "by_source" else code.lower() if kind == "by_name" else fold(code)
            for walk in self._walks.get((system, system), ()):
                for source in (code,) if kind == "by_source" else getattr(walk, kind).get(wanted, ()):
                    found.update((e.target, None) for e in walk.by_source.get(source, ()) if e.valid(on))
            if kind != "by_source":
                found.update((c, None) for c in getattr(table, kind).get(wanted, ()))
            targets = tuple(c for c in found if table.row(c, on) is not None)
            if len(targets) == 1 and table.unique_names:
                return Resolution(targets[0], (), "alias")
            if targets:
                return Resolution(None, targets, "ambiguous")
            if found:
                return Resolution(None, (), "not_effective")
        return Resolution(None, (), "unknown")

    def _across(self, system: str, code: str, target: str, on: date) -> Resolution:
        """A code of one system in another."""
        walks = self._walks.get((system, target))
        if not walks:
            return Resolution(None, (), "no_table")
        entries = [e for w in walks for e in w.by_source.get(code, ())]
        if not entries and (table := self.systems.get(system)) is not None:
            # Not a code of the source system: perhaps one of its titles.
            titles = table.by_name.get(code.lower()) or table.by_fold.get(fold(code), ())
            entries = [e for w in walks for c in titles for e in w.by_source.get(c, ())]
            if titles and not table.unique_names and not _placed(code):
                return self._choose(entries, target, on, certain=False)
        return self._choose(entries, target, on, certain=True)

    def _choose(self, entries: Sequence[MapEntry], target: str, on: date, *, certain: bool) -> Resolution:
        now = [e for e in entries if e.valid(on) and e.relation != "not-related-to"]
        table = self.systems[target]
        fit = [e for e in now if table.row(e.target, on) is not None]
        if not fit:
            return Resolution(None, (), "not_effective" if entries else "unknown")
        targets = tuple(dict.fromkeys(e.target for e in fit))
        if certain and len(targets) == 1 and all(e.relation in RESOLVING for e in fit):
            return Resolution(targets[0], (), "mapped")
        return Resolution(None, targets, "split" if len({e.source for e in fit}) == 1 else "ambiguous")

    def _policy(self, walk: Crosswalk, rule: UnmappedPolicy, code: str, on: date) -> Resolution | None:
        if rule.policy == "keep":
            return Resolution(code, (), "kept")
        if rule.policy == "fixed":
            return Resolution(rule.value, (), "fixed")
        if rule.policy == "other_table" and rule.table is not None and rule.table != walk.id:
            other = self.crosswalks[rule.table]
            found = self._choose(other.by_source.get(code, ()), other.target, on, certain=True)
            if found.code is not None:
                return Resolution(found.code, (), "other_table")
        return None

    def standardise_record(self, spec: TypeSpec, body: dict[str, Any], on: date) -> list[Gap]:
        """Set `canonical` in every code of a record, in place; returns the codes that have none.

        `on` is the day the record speaks of (its `updated_at`, in local time).
        """
        period = bisect_right(self._bounds, on)
        gaps: list[Gap] = []
        for name, _, target in spec.top_codes:
            if (value := body.get(name)) is not None:
                self._settle(name, value, target, on, period, gaps)
        for parts, path, _, target in spec.deep_codes:
            if parts[0] in body:
                for holder in holders(body, parts):
                    if (value := holder.get(parts[-1])) is not None:
                        self._settle(path, value, target, on, period, gaps)
        return gaps

    def _settle(self, path: str, value: dict[str, Any], target: str, on: date, period: int, gaps: list[Gap]) -> None:
        system, code = value["system"], value["code"]
        found = self._cache.get((system, code, target, period)) or self.resolve(system, code, target, on, period)
        value["canonical"] = found.code
        if found.code is None:
            gaps.append(
                Gap(
                    path=path, system=system, code=code, target=target, candidates=found.candidates, reason=found.reason
                )
            )

    def title(self, system: str, code: str) -> Text | None:
        """What people call a code; None when it is not known."""
        table = self.systems.get(system)
        row = table.row(code) if table else None
        return Text(row.vi, row.en) if row else None

    def suggest(self, system: str, code: str, target: str, on: date, limit: int = 5) -> list[Suggestion]:
        """Ranked target codes for a person to choose from.

        First the crosswalk's candidates, then what the code means in other tables, then likeness of names.
        """
        table = self.systems.get(target)
        if table is None:
            return []
        wanted = clean(code)
        scored: dict[str, tuple[float, Text]] = {}

        def offer(candidate: str, score: float, why: Text) -> None:
            if table.row(candidate, on) is not None and score > scored.get(candidate, (0.0, why))[0]:
                scored[candidate] = (score, why)

        for candidate in self.standardise(system, wanted, target, on).candidates:
            offer(candidate, 0.95, Text("Bảng chuyển đổi cho biết", "The crosswalk says so"))
        for walk in self._into.get(target, ()):
            source = self.systems[walk.source]
            for entry in walk.by_source.get(wanted, ()) if walk.source != target else ():
                why = Text(f"Mã này có trong “{source.title.vi}”", f"The code is in “{source.title.en}”")
                offer(entry.target, 0.8 if entry.relation in RESOLVING else 0.7, why)
        key = fold(wanted)
        matcher = difflib.SequenceMatcher(autojunk=False)
        matcher.set_seq2(key)
        for name, codes in table.by_fold.items() if len(key) > 1 else ():
            matcher.set_seq1(name)
            if matcher.quick_ratio() > 0.6 and (ratio := matcher.ratio()) > 0.6:
                for candidate in codes:
                    offer(candidate, round(ratio * 0.9, 3), Text("Tên gần giống", "The name is alike"))
        ranked = sorted(scored.items(), key=lambda item: (-item[1][0], item[0]))[:limit]
        return [
            Suggestion(code=c, title=self.title(target, c) or Text(c, c), score=s, why=why) for c, (s, why) in ranked
        ]


def _placed(name: str) -> bool:
    """True for a name given with its district, which is unique where the bare name is not."""
    return "," in name


def _approved_for(row: Approval) -> tuple[str, str, str]:
    return row.source_system, clean(row.code), row.target_system


def _in_force(overlay: Iterable[Approval]) -> tuple[Approval, ...]:
    """Of entries for one code from one day the last; sorted by code and day, so that what maps alike is written alike."""
    last = {(*_approved_for(row), row.effective_from or date.min): row for row in overlay}
    return tuple(last[key] for key in sorted(last))


def approvals(rows: Iterable[Any]) -> list[Approval]:
    """Approved entries from mappings or from tuples in the order of `Approval`'s fields. Raises `TableError`."""
    out: list[Approval] = []
    for row in rows:
        if isinstance(row, Approval):
            out.append(row)
            continue
        data = row if hasattr(row, "keys") else dict(zip(Approval.__struct_fields__, row, strict=True))
        try:
            out.append(msgspec.convert({k: data[k] for k in Approval.__struct_fields__}, Approval))
        except (msgspec.ValidationError, KeyError) as error:
            raise TableError(f"approved entry: {error}") from error
    return out


@lru_cache(maxsize=1)
def base() -> Catalogue:
    """The catalogue of the files alone, read once."""
    return Catalogue.load()
