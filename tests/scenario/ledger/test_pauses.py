"""The task of a pause: it ends with the pause and in no other way, and taking locks in turn never blocks two against each other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.kernel.ledger import operations
from hub.kernel.ports import Text
from hub.kernel.store.db import patient

GONE = Text("Bên nhận trả 410.", "The receiver answers 410.")


async def paused(led: Any) -> int:
    await led.connector("ministry", "ministry")
    assert await operations.pause(led.core, "hub", "ministry", GONE, "endpoint_gone")
    return int(await led.value("SELECT id FROM tasks WHERE state = 'open'"))


async def standing(led: Any) -> tuple[str, int]:
    state = await led.value("SELECT state FROM connectors WHERE name = 'ministry'")
    return state, await led.value("SELECT count(*) FROM tasks WHERE state = 'open'")


def test_it_is_resolved_by_going_on_alone(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            task = await paused(led)
            ways: tuple[operations.Resolution, ...] = ("give_up", "delivered", "cancel")
            for way in ways:
                with pytest.raises(operations.OnlyReleased):
                    await operations.resolve_task(led.core, "officer", task, way, "tried")
                assert await standing(led) == ("paused", 1), "nobody would be told of the pause any more"
            rung: list[str] = []
            led.core.on_commit = rung.append
            await operations.resolve_task(led.core, "officer", task, "release", "they said so")
            assert await standing(led) == ("active", 0) and rung == ["connectors", "ready"]

    asyncio.run(go())


def test_the_connector_is_locked_before_its_task(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            task = await paused(led)
            async with led.owner.acquire() as first, first.transaction():
                await patient(first)
                # As `resume` does: the connector first. Who resolves meanwhile must wait for it with nothing in hand.
                await first.execute("UPDATE connectors SET updated_at = now() WHERE name = 'ministry'")
                other = asyncio.create_task(operations.resolve_task(led.core, "officer", task, "release", "now"))
                async with asyncio.timeout(20):
                    while not await led.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                        await asyncio.sleep(0.02)
                await first.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE NOWAIT", task)
            await other
            assert await standing(led) == ("active", 0)

    asyncio.run(go())
