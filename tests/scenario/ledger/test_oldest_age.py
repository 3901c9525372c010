"""The oldest age over all states, those before any delivery too: as a metric, and as an alarm that says start and end once."""

from __future__ import annotations

import asyncio
from typing import Any

from hub.api import metrics
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import alarms
from hub.kernel.ledger.intake import accept, work_inbox


def _read(name: str, **labels: str) -> float | None:
    found: float | None = metrics._registry.get_sample_value(name, labels)
    return found


def test_a_message_that_waits_for_its_records_is_seen_like_a_delivery(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(make.draft())])
            later = Arrival(
                source=Source("client", "test"), type="learner", body=b"{}", content_type="application/json", digest=b"d" * 32
            )  # fmt: skip
            await accept(led.core, [later])
            old = "UPDATE {} SET {} = clock_timestamp() - interval '2 hours' WHERE id = $1"
            message = await led.value("SELECT message FROM inbox")
            await led.owner.execute(old.format("messages", "received_at"), message)

            await metrics._states(led.core)
            waited = _read("lt_oldest_seconds", connector="", state="pending")
            assert waited is not None and 7190 < waited < 7300 and _read("lt_inbox_messages") == 1
            fresh = _read("lt_oldest_seconds", connector="ministry", state="ready")
            assert fresh is not None and 0 < fresh < 100

            assert await alarms.watch(led.core, 3600) == (1, 0)
            assert await alarms.watch(led.core, 3600) == (0, 0)
            (standing,) = await alarms.recent(led.core)
            assert (standing["kind"], standing["subject"], standing["ended_at"]) == ("inbox", "inbox", None)
            assert "60" in standing["text"]["vi"] and "60" in standing["text"]["en"]

            assert await work_inbox(led.core, lambda _row: ([], [], None)) == 1
            assert await alarms.watch(led.core, 3600) == (0, 1)
            await metrics._states(led.core)
            assert _read("lt_oldest_seconds", connector="", state="pending") == 0 and _read("lt_inbox_messages") == 0
            await led.owner.execute(
                old.format("deliveries", "created_at"), await led.value("SELECT id FROM deliveries")
            )
            await metrics._states(led.core)
            waited = _read("lt_oldest_seconds", connector="ministry", state="ready")
            assert waited is not None and 7190 < waited < 7300

    asyncio.run(go())
