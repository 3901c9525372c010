"""The stage of deliveries, for files that are picked up."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

NAME = "pickups_dispatch"


def _dispatch() -> Any:
    if NAME not in sys.modules:
        path = Path(__file__).parents[1] / "dispatch" / "conftest.py"
        spec = spec_from_file_location(NAME, path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
    return sys.modules[NAME]


stage, items = _dispatch().stage, _dispatch().items
