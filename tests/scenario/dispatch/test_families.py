"""Passages told to families: fresh ones once, stale ones never, and nothing at all to a subscriber that wants no more."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.subscriber.simulator import SECRET, Simulator
from adapters.twin import Fault
from hub import sampling
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import evidence, intake, operations, replays
from hub.kernel.ports import Draft
from hub.traces import left_over
from tests.scenario.dispatch.conftest import POLICY, SCHOOL


def passage(person: str, at: datetime, event: str, *, status: str = "allowed") -> Arrival:
    body = {
        "person_code": person, "device": "g1", "school_code": SCHOOL, "device_time_raw": at.isoformat(), "direction": "in",
        "received_at": at.isoformat(), "corrected_time": at.isoformat(), "method": "face", "similarity": 97.5,
        "verify_status": status, "entrance": "Cổng chính", "quarantine": None, "images_removed": 1,
    }  # fmt: skip
    source = Source("device", "g1")
    draft = Draft(type="checkin", key=f"g1/{person}/{event}", body=body, event="NEW", updated_at=at, school=SCHOOL)
    return Arrival(
        source=source, type="checkin", body=b"{}", content_type="application/json", digest=hashlib.sha256(event.encode()).digest(),
        key=intake_key(source, "event", event), drafts=[draft], school=SCHOOL,
    )  # fmt: skip


async def families(s: Any) -> Simulator:
    twin = Simulator()
    url = await twin.start()
    s.twins["families"] = twin
    settings = {
        "name": "families", "system": "subscriber", "transport": {"kind": "webhook", "base_url": url},
        "auth": {"scheme": "standard_webhooks"}, "adapter": {}, "policy": POLICY,
    }  # fmt: skip
    await s.led.connector("families", "subscriber", settings, {"webhook_secret": SECRET})
    await s.house.refresh()
    return twin


def test_a_fresh_passage_is_told_once_and_a_stale_one_not(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            now = datetime.now(UTC)
            await intake.accept(s.core, [passage("HS0", now, "before")])
            assert await s.led.value("SELECT count(*) FROM deliveries") == 0, "nothing while there is no connector"
            twin = await families(s)
            twin.set_fault(Fault(kind="commit_then_timeout", count=1, delay_s=0.2))
            stale = now - timedelta(seconds=1000)
            await intake.accept(s.core, [passage("HS1", stale, "stale"), passage("HS2", now, "fresh")])
            await intake.accept(s.core, [passage("HS3", now, "refused", status="refused")])
            await s.work()
            await s.settled(delivered=1)
            assert twin.requests == 2 and twin.books.repeats == 1, "taken, its answer lost, told again"
            assert not twin.books.refusals
            (effect,) = twin.books.effects
            told = effect.content["data"]
            assert datetime.fromisoformat(told.pop("time")) == now.replace(microsecond=0)
            assert told == {
                "learner": "HS2", "school": SCHOOL, "direction": "in", "entrance": "Cổng chính", "change": "new", "version": 1,
            }  # fmt: skip

    asyncio.run(go())


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
def test_what_is_fresh_is_judged_by_the_databases_clock(
    stage: Any, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """A host whose clock is wrong neither tells what is stale nor keeps back what is fresh: gates' times are the database's."""

    async def go() -> None:
        async with stage() as s:
            await families(s)
            told = datetime.now(UTC) + timedelta(seconds=ahead_s)
            monkeypatch.setattr(s.core, "moment", lambda at=None: told)
            fresh, stale = passage("HS1", told, "fresh"), passage("HS2", told - timedelta(seconds=1000), "stale")
            await intake.accept(s.core, [fresh, stale])
            rows = await s.led.rows("SELECT key FROM deliveries")
            assert [r["key"] for r in rows] == [fresh.drafts[0].key]

    asyncio.run(go())


def test_gone_pauses_the_connector_until_a_person_resumes_it(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await families(s)
            twin.gone = True
            await s.work()
            now = datetime.now(UTC)
            await intake.accept(s.core, [passage(f"HS{n}", now, f"e{n}") for n in range(3)])

            async def paused() -> bool:
                return bool(await s.led.value("SELECT state FROM connectors WHERE name = 'families'") == "paused")

            await s.until(paused)
            asked = twin.requests
            await intake.accept(s.core, [passage("HS9", now, "e9")])
            await asyncio.sleep(0.5)
            assert twin.requests == asked, "a paused connector asks nobody"
            assert await s.led.value("SELECT pause_cause FROM connectors WHERE name = 'families'") == "endpoint_gone"
            assert await s.led.value("SELECT count(*) FROM deliveries") == 4
            assert not twin.books.effects
            (task,) = await s.led.rows("SELECT id, cause, subject, text FROM tasks WHERE state = 'open'")
            assert (task["cause"], task["subject"]) == ("endpoint_gone", "families") and "410" in task["text"]["vi"]
            twin.gone = False
            await operations.resolve_task(s.core, "officer", task["id"], "release", "they were asked: it was a mistake")
            await s.house.refresh()
            await s.settled(delivered=4)
            assert len(twin.books.effects) == 4
            assert await s.led.value("SELECT state FROM connectors WHERE name = 'families'") == "active"

            twin.gone = True
            await intake.accept(s.core, [passage("HS10", datetime.now(UTC), "e10")])
            await s.until(paused)
            twin.gone = False
            assert await operations.resume(s.core, "officer", "families")
            assert await s.led.value("SELECT count(*) FROM tasks WHERE state = 'open'") == 0, (
                "resumed: nothing is left to do"
            )
            await s.house.refresh()
            await s.settled(delivered=5)

    asyncio.run(go())


def test_a_correction_withdraws_what_was_told(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await families(s)
            await s.work()
            now = datetime.now(UTC)
            await intake.accept(s.core, [passage("HS1", now, "later")])
            await s.settled(delivered=1)
            await intake.accept(s.core, [passage("HS1", now - timedelta(seconds=20), "first")])
            await s.settled(delivered=3)
            told = [(e.key, e.event, e.version) for e in twin.books.effects]
            later, first = told[0][0], next(key for key, _, _ in told if key != told[0][0])
            assert told[0] == (later, "NEW", 1)
            assert sorted(told[1:]) == sorted([(later, "CANCEL", 2), (first, "NEW", 1)])
            assert not twin.books.refusals and not twin.books.order_violations

    asyncio.run(go())


def test_a_told_passage_becomes_a_sample_of_nobody(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await families(s)
            await s.work()
            await intake.accept(s.core, [passage("3112345678", datetime.now(UTC), "a")])
            await s.settled(delivered=1)
            found = await evidence.exchange(s.core, await s.led.value("SELECT id FROM deliveries_closed"))
            assert found is not None
            made = sampling.make(s.house, found, b"k" * 32)
            assert made.outcome == "taken"
            assert left_over(b"".join(made.files.values()), ["3112345678", str(found.call["meta"]["id"])]) == []

    asyncio.run(go())


def test_passages_of_those_known_as_staff_alone_are_not_told(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await families(s)
            now = datetime.now(UTC)
            # Who is who by the records the hub has then: a teacher, one who has left, a teacher who is a learner as well.
            for kind, code, event in (
                ("staff", "GV1", "NEW"), ("staff", "GV2", "CANCEL"), ("staff", "GV3", "NEW"), ("learner", "GV3", "NEW"), ("learner", "HS1", "NEW"),
            ):  # fmt: skip
                await s.led.owner.execute(
                    "INSERT INTO streams (type, key, version, event, content, record, school) VALUES ($1, $2, 1, $3, '', 1, $4)", kind, code,
                    event, SCHOOL,
                )  # fmt: skip
            people = ("GV1", "HS1", "GV2", "GV3", "HS-unknown")
            await intake.accept(s.core, [passage(code, now, f"e{n}") for n, code in enumerate(people)])
            await s.work()
            await s.settled(delivered=3, cancelled=2)
            assert sorted(e.content["data"]["learner"] for e in twin.books.effects) == ["GV3", "HS-unknown", "HS1"]
            rows = await s.led.rows("SELECT cause FROM deliveries_closed WHERE state = 9")
            assert [r["cause"] for r in rows] == ["not_theirs", "not_theirs"]
            # Ordered again by hand it is judged again.
            number = await s.led.value("SELECT min(id) FROM deliveries_closed WHERE cause = 'not_theirs'")
            await replays.replay(s.core, "officer", replays.ReplayFilter(deliveries=[number]), "remap", "hỏi lại")
            await s.settled(delivered=3, cancelled=3)
            assert len(twin.books.effects) == 3

    asyncio.run(go())
