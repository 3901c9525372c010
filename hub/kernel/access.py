"""Scopes: which schools' facts somebody may see or write. The one place that decides it.

Pure but for the directory it is handed. Every query of the API and the console carries the clause from `clause`; every
write passes `permits`. A two-school test is generated for every endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

Kind = Literal["department", "ward", "school"]


class Scope(Struct, frozen=True):
    """A department sees everything, a ward its schools, a school itself. `code` is None for the department."""

    kind: Kind
    code: str | None = None

    @property
    def whole(self) -> bool:
        """True for the department."""
        return self.kind == "department"


EVERYWHERE = Scope("department")


class School(Struct, frozen=True):
    """A school as the directory knows it."""

    code: str
    name: str
    ward: str
    level: str | None = None


class Directory:
    """The schools the hub knows, held in memory and replaced as a whole when they change."""

    def __init__(self, schools: Iterable[School] = ()) -> None:
        self.replace(schools)

    def replace(self, schools: Iterable[School]) -> None:
        """Take a new list of schools."""
        self._schools = {s.code: s for s in schools}

    def add(self, school: School) -> None:
        """Take one school, new or changed."""
        self._schools[school.code] = school

    def get(self, code: str | None) -> School | None:
        """The school of that code, if known."""
        return self._schools.get(code) if code else None

    def all(self) -> list[School]:
        """All schools, by code."""
        return sorted(self._schools.values(), key=lambda s: s.code)

    def permits(self, scope: Scope, school: str | None) -> bool:
        """Whether `scope` covers `school`. What belongs to no school is the department's alone."""
        if scope.whole:
            return True
        if school is None:
            return False
        if scope.kind == "school":
            return scope.code == school
        known = self._schools.get(school)
        return known is not None and known.ward == scope.code

    def schools_of(self, scope: Scope) -> list[str] | None:
        """The school codes a scope covers: None means all, whatever they are."""
        if scope.whole:
            return None
        if scope.kind == "school":
            return [scope.code] if scope.code else []
        return sorted(s.code for s in self._schools.values() if s.ward == scope.code)
