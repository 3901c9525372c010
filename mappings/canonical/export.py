"""Writes the JSON Schema of every record type to `schemas/`, or checks that the files are as they should be.

One concern: `python -m mappings.canonical.export --write | --check`. It never changes anything but those files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mappings.canonical.registry import TYPES
from mappings.canonical.schema import item_schema

FOLDER = Path(__file__).parent / "schemas"


def documents() -> dict[Path, str]:
    """File → content, for every record type."""
    return {
        FOLDER / f"{name}.json": json.dumps(item_schema(name), ensure_ascii=False, indent=2) + "\n" for name in TYPES
    }


def main(arguments: list[str]) -> int:
    """Exit code 0 when the files are (now) right, 1 when `--check` finds one that is not, 2 for a wrong call."""
    wanted = documents()
    if arguments == ["--write"]:
        FOLDER.mkdir(exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    if arguments == ["--check"]:
        stale = [p for p, text in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
        stale += [p for p in FOLDER.glob("*.json") if p not in wanted]
        for path in stale:
            print(f"{path.name}: chạy lại với --write / run again with --write")
        return 1 if stale else 0
    print("python -m mappings.canonical.export --write | --check")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
