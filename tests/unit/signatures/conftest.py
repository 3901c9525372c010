"""Certificates made once for the tests of time stamps."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest

from tests.unit.signatures.stamping import Stamping


@pytest.fixture(scope="session")
def stamping(tmp_path_factory: pytest.TempPathFactory) -> Stamping:
    return Stamping(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def world(stamping: Stamping, tmp_path: Path) -> Stamping:
    """The same keys for all; what is trusted of them, for each test."""
    one = copy.copy(stamping)
    one.folder = Path(shutil.copytree(stamping.folder, tmp_path / "trust"))
    return one
