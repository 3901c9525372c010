"""Deletes a data folder and what belongs to it outside.

One concern: start afresh. It must never touch a folder in use, nor one that is not a data folder of the hub.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from hub.embedded.area import AreaError, remove_area
from hub.embedded.lock import AlreadyRunning, DataLock

_MARKS = ("lock", "area.json")


def clean(data_dir: Path) -> list[Path]:
    """Delete a data folder; returns what was deleted. The master key stays. Raises `AlreadyRunning` and `AreaError`."""
    data_dir = data_dir.absolute()
    if not data_dir.exists():
        return []
    if not data_dir.is_dir() or data_dir.is_symlink() or not any((data_dir / mark).exists() for mark in _MARKS):
        raise AreaError(f"{data_dir}: không phải thư mục dữ liệu / not a data folder")
    lock = DataLock(data_dir)
    try:
        removed = remove_area(data_dir)
        shutil.rmtree(data_dir)
    finally:
        lock.release()
    return [*removed, data_dir]


def main() -> int:
    """`python -m hub.embedded.clean FOLDER`."""
    try:
        for path in clean(Path(sys.argv[1])):
            print(f"Đã xóa / Deleted: {path}")
    except (AlreadyRunning, AreaError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
