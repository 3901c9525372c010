"""Check-ins on their way out: history behind what is live, nothing stale to people, corrections after what they correct."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import intake, rejudge
from hub.kernel.ledger.replays import ReplayFilter, replay
from hub.kernel.lifecycle import State
from hub.kernel.ports import Draft

SCHOOL = "31HP0123001"


def passage(person: str, at: datetime, event: str, *, historical: bool = False) -> Arrival:
    body = {
        "person_code": person, "device": "g1", "school_code": SCHOOL, "device_time_raw": at.isoformat(), "direction": "in",
        "received_at": at.isoformat(), "corrected_time": at.isoformat(), "historical": historical, "method": "face",
        "verify_status": "allowed", "quarantine": None, "images_removed": 0,
    }  # fmt: skip
    source = Source("device", "g1")
    draft = Draft(type="checkin", key=f"g1/{event}", body=body, event="NEW", updated_at=at, school=SCHOOL)
    return Arrival(
        source=source, type="checkin", body=b"{}", content_type="application/json", digest=hashlib.sha256(event.encode()).digest(),
        key=intake_key(source, "event", event), drafts=[draft], school=SCHOOL, historical=historical,
    )  # fmt: skip


def told(twin: Any) -> list[tuple[str, str, int]]:
    return [(e.key, e.event, e.version) for e in twin.books.effects if e.type == "diemdanh"]


def test_a_flood_of_history_goes_behind_what_is_live(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry({"concurrency": 1, "batch_max": 20})
            now = datetime.now(UTC)
            old = [passage(f"H{n}", now - timedelta(hours=3, seconds=n), f"h{n}", historical=True) for n in range(200)]
            await intake.accept(s.core, old)
            await intake.accept(s.core, [passage(f"L{n}", now, f"l{n}") for n in range(20)])
            await s.work()
            await s.settled(delivered=220)
            first = [key for key, _, _ in told(twin)[:20]]
            assert {k[3] for k in first} == {"l"}, "what came later but is live went first"

    asyncio.run(go())


def test_what_is_too_old_is_not_told(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            flow = s.core.router.flows["checkins-to-ministry"]
            s.core.router.flows[flow.name] = replace(flow, to=[replace(flow.to[0], fresh_within_s=8.0)])
            s.core.router.bind(s.core.connectors)
            now = datetime.now(UTC)
            await intake.accept(s.core, [passage("HS1", now - timedelta(seconds=10), "old", historical=True)])
            assert await s.led.value("SELECT count(*) FROM deliveries") == 0, "not even queued"
            await intake.accept(s.core, [passage("HS2", now, "waited")])
            assert await s.led.value("SELECT count(*) FROM deliveries") == 1
            await s.led.owner.execute("UPDATE records SET updated_at = updated_at - interval '9 seconds'")
            await intake.accept(s.core, [passage("HS3", datetime.now(UTC), "fresh")])
            await s.work()
            await s.settled(delivered=1, cancelled=1)
            assert [k for k, _, _ in told(twin)] == ["g1/fresh"]
            assert await s.led.value("SELECT cause FROM deliveries_closed WHERE state = 9") == "stale"
            s.core.router.flows[flow.name] = replace(flow, to=[replace(flow.to[0], fresh_within_s=0.01)])
            s.core.router.bind(s.core.connectors)
            again = ReplayFilter(connector="ministry", states=[State.DELIVERED])
            assert (await replay(s.core, "test", again, "as_sent", "test")).queued == 1
            await s.settled(delivered=1, cancelled=2)
            assert twin.books.repeats == 0, "the same bytes are as old as what they tell"

    asyncio.run(go())


def test_a_correction_follows_what_it_corrects(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.ministry()
            now = datetime.now(UTC)
            await intake.accept(s.core, [passage("HS1", now, "later")])
            await intake.accept(s.core, [passage("HS1", now - timedelta(seconds=20), "first")])
            await s.work()
            await s.settled(delivered=3)
            assert sorted(told(twin)) == [("g1/first", "NEW", 1), ("g1/later", "CANCEL", 2), ("g1/later", "NEW", 1)]
            assert not twin.books.order_violations
            assert await rejudge.advance(s.core) == 0

    asyncio.run(go())
