"""The stage of deliveries, with the portal on it, and a gateway beside when a test asks for one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenario.api.conftest import gateway
from tests.scenario.dispatch import conftest as dispatching
from tests.scenario.dispatch.conftest import progress, stage

__all__ = ["filing", "gateway", "items", "progress", "stage"]


def filing(
    number: str = "000.00.12.H24-261122-0001", at: str = "2026-11-20T09:00:00+07:00", **data: Any
) -> dict[str, Any]:
    found: dict[str, Any] = dispatching.filing(number, **data)
    return found | {"updated_at": at}


@pytest.fixture
def items() -> Any:
    class Items:
        pass

    Items.filing, Items.progress = staticmethod(filing), staticmethod(progress)
    return Items
