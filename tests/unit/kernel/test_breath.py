"""Long work over rows lets others have the loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from hub.kernel.breath import BREATH, breathing
from hub.kernel.ledger import reconcile


class Turns:
    """Counts how often others had the loop."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> Turns:
        self._task = asyncio.create_task(self._count())
        await asyncio.sleep(0)
        self.count = 0
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _count(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


def test_others_get_their_turn_every_so_many_rows() -> None:
    async def go() -> None:
        async with Turns() as turns:
            assert [row async for row in breathing(range(4 * BREATH))] == list(range(4 * BREATH))
            assert turns.count >= 4

    asyncio.run(go())


def test_neither_side_of_a_reconciliation_keeps_the_loop_for_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"key": str(n), "school": "s", "version": 1, "body": None, "kind": "differs"} for n in range(1_000)]

    class Connection:
        async def fetch(self, *_: Any, **__: Any) -> list[Any]:
            return rows

    @asynccontextmanager
    async def acquire() -> Any:
        yield Connection()

    async def stage(*given: Any) -> Any:
        return given[-1]

    async def go() -> None:
        core: Any = SimpleNamespace(pool=SimpleNamespace(acquire=acquire))
        run: Any = SimpleNamespace(id=1, type="learner", ours_after="", school=None, connector=1)
        monkeypatch.setattr(reconcile, "stage", stage)
        monkeypatch.setattr(reconcile, "route_to", lambda *_: object())
        nothing: Any = None
        async with Turns() as turns:
            staged: Any = await reconcile.stage_ours(core, run, nothing)
            assert len(staged) == 1_000 and turns.count >= 4
        async with Turns() as turns:
            fates = await reconcile._repair_page(core, nothing, run, nothing, rows)
            assert set(fates.values()) == {"expired"} and len(fates) == 1_000 and turns.count >= 4

    asyncio.run(go())
