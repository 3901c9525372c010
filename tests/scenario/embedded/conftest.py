"""A data folder for real servers, whose area (perhaps outside of it) is removed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.embedded.area import remove_area


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "data"
    yield path
    remove_area(path)
