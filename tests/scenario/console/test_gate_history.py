"""A camera's page says which account's list was asked for it, from when, and that the list passes it over again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub.kernel.ledger import gate_accounts, parties
from tests.scenario.console.test_beside import console

SCHOOL = "31HP0000001"


def test_lists_that_speak_for_a_camera_stand_in_its_history(ledger: Any, tmp_path: Path) -> None:
    async def go() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            await one.school(SCHOOL)
            for name in ("TK1", "C1"):
                await parties.add_device(
                    one.core, "test", name, family="hanet", profile="", title=name, school=SCHOOL, entrance="chính", direction="in",
                    person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"s" * 32,
                )  # fmt: skip
            since = datetime(2026, 9, 1, 17, 5, tzinfo=UTC)
            async with one.core.pool.acquire() as connection, connection.transaction():
                await gate_accounts.joined(one.core, connection, "TK1", ["C1"], since)
                await gate_accounts.left(connection, "TK1", ["C1"])
            page = (await client.get("/gates/C1")).text
            assert "TK1 · asked from 2026-09-01 17:05 UTC" in page
            assert "Account&#39;s list passes the gate over" in page
            audit = (await client.get("/audit", params={"kind": "gate_listed"})).text
            assert "Account&#39;s list asked for a gate new to it" in audit and "TK1" in audit

    asyncio.run(go())
