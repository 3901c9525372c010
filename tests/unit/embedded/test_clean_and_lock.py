from __future__ import annotations

from pathlib import Path

import pytest

from hub.embedded.area import AreaError, open_area
from hub.embedded.clean import clean
from hub.embedded.lock import AlreadyRunning, DataLock


def test_cleaning_removes_the_folder_and_its_area(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    area = open_area(data_dir)
    (area.folder("redis") / "x").write_text("x")
    assert set(clean(data_dir)) >= {data_dir, area.root}
    assert not data_dir.exists()
    assert not area.root.exists()
    assert clean(data_dir) == []


def test_cleaning_refuses_what_is_in_use_or_not_ours(tmp_path: Path) -> None:
    data_dir, other = tmp_path / "data", tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("x")
    (tmp_path / "link").symlink_to(other)
    for folder in (other, tmp_path / "link"):
        with pytest.raises(AreaError):
            clean(folder)
    assert (other / "precious").exists()
    open_area(data_dir)
    lock = DataLock(data_dir)
    with pytest.raises(AlreadyRunning):
        clean(data_dir)
    lock.release()
    assert clean(data_dir)


def test_the_area_is_the_same_at_every_opening(tmp_path: Path) -> None:
    first = open_area(tmp_path / "data")
    assert open_area(tmp_path / "data") == first
    (tmp_path / "data" / "area.json").write_text("{}")
    with pytest.raises(AreaError):
        open_area(tmp_path / "data")
    (tmp_path / "data" / "area.json").write_text("[")
    with pytest.raises(AreaError):
        open_area(tmp_path / "data")
    (tmp_path / "data" / "area.json").unlink()
    assert open_area(tmp_path / "data").root == first.root
    clean(tmp_path / "data")
