"""Scopes: who sees and writes what."""

from __future__ import annotations

import pytest

from hub.kernel.access import EVERYWHERE, Directory, School, Scope

DIRECTORY = Directory([School("S1", "A", "W1"), School("S2", "B", "W1"), School("S3", "C", "W2")])


@pytest.mark.parametrize(
    ("scope", "permitted"),
    [
        (EVERYWHERE, {"S1", "S2", "S3", "S9", None}),
        (Scope("ward", "W1"), {"S1", "S2"}),
        (Scope("ward", "W9"), set()),
        (Scope("school", "S2"), {"S2"}),
        (Scope("school", None), set()),
    ],
)
def test_permits(scope: Scope, permitted: set[str | None]) -> None:
    assert {s for s in ("S1", "S2", "S3", "S9", None) if DIRECTORY.permits(scope, s)} == permitted
    of = DIRECTORY.schools_of(scope)
    assert of is None if scope.whole else set(of or ()) == permitted
