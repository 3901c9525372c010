"""The stage of deliveries, with the portal on it, and a gateway beside when a test asks for one."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest


def _beside(folder: str) -> Any:
    """Another folder's conftest: its fixtures are used here as they are."""
    name = f"filings_{folder}"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / folder / "conftest.py"
        spec = spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


_module = _beside("dispatch")
stage = _module.stage
gateway = _beside("api").gateway


def filing(
    number: str = "000.00.12.H24-261122-0001", at: str = "2026-11-20T09:00:00+07:00", **data: Any
) -> dict[str, Any]:
    found: dict[str, Any] = _module.filing(number, **data)
    return found | {"updated_at": at}


def progress(number: str, at: str, status: str, **data: Any) -> dict[str, Any]:
    body = {
        "file_number": number, "handler": "Lê Thị Thử", "handled_at": at, "content": "Bước xử lý", "status": status,
        "department": "Phòng Giáo dục trung học", "school_code": _module.SCHOOL,
    }  # fmt: skip
    return {"data": body | data}


@pytest.fixture
def items() -> Any:
    class Items:
        pass

    Items.filing, Items.progress = staticmethod(filing), staticmethod(progress)
    return Items
