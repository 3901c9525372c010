"""The stage of deliveries, for files that are picked up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.address import AddressPolicy
from hub.kernel.ledger.accounting import account
from hub.worker.pickups import Pickups
from tests.scenario.dispatch.conftest import items, stage

__all__ = ["items", "stage"]


@pytest.fixture
def folder(stage: Any, tmp_path: Path) -> Callable[..., Any]:
    """Runs `work(stage, pickups, folder)` with a connector that picks learners up from a folder."""

    def run(work: Callable[..., Awaitable[None]], **transport: Any) -> None:
        async def go() -> None:
            root = tmp_path / "trao-doi"
            (root / "in").mkdir(parents=True)
            async with stage() as s:
                given = {
                    "kind": "folder",
                    "path": str(root),
                    "takes": "learner",
                    "school": "31HP0123001",
                    "checksum": "none",
                    "stable_s": 0,
                }
                settings = {"name": "tep", "system": "ministry", "transport": given | transport}
                await s.led.connector("tep", "ministry", settings, {})
                await s.house.refresh()
                taker = Pickups(s.house, AddressPolicy([], [root]))
                try:
                    await work(s, taker, root)
                    assert (await account(s.core)).balanced
                finally:
                    await taker.close()

        asyncio.run(go())

    return run
