"""What the console says a gate still owes: of every family, by whatever way it is asked for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.kernel.ledger import gate_memory, parties
from hub.kernel.ledger.gate_memory import Numbers
from hub.kernel.store.db import sql

SCHOOL = "31HP0000001"


def test_holes_and_lists_behind_are_owed_too(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(SCHOOL)
            for device, family in (("N1", "native"), ("H1", "hikvision"), ("H2", "hikvision"), ("D1", "dahua")):
                await parties.add_device(
                    led.core, "test", device, family=family, profile="standard", title=device, school=SCHOOL, entrance="x",
                    direction="in",
                    person_ids="department", zone="Asia/Ho_Chi_Minh", secret=led.keys.encrypt(b"s", device.encode()),
                )  # fmt: skip

            async def owed() -> dict[str, int]:
                async with led.core.pool.acquire() as connection:
                    return {r["id"]: r["backlog"] for r in await connection.fetch(sql.gates_standing, [SCHOOL], None)}

            assert await owed() == {"N1": 0, "H1": 0, "H2": 0, "D1": 0}
            await gate_memory.note_numbers(led.core, [Numbers("N1", SCHOOL, 40, [[4, 6, 0], [9, 9, 1]])])
            now = datetime.now(UTC)
            lists = "INSERT INTO gate_lists (device, settings, done_to, due_at, fault) VALUES ($1, '{}', $2, $3, $4)"
            await led.owner.execute(lists, "H1", now, now - timedelta(minutes=5), None)
            await led.owner.execute(lists, "H2", now, now + timedelta(minutes=5), None)
            await led.owner.execute(lists, "D1", now, now + timedelta(minutes=5), {"kind": "later", "vi": "", "en": ""})
            assert await owed() == {"N1": 2, "H1": 1, "H2": 0, "D1": 1}

    asyncio.run(go())
