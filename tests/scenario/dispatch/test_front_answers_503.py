"""A front that answers 503: where the portal's profile does not name it, nothing says that the portal behind did nothing. Judged by the
books of a portal that takes a second creation and a second notice as well."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters import manifest as manifests
from adapters import twin as twins
from adapters.twin import Fault, Say

NUMBER = "000.00.12.H24-261122-0001"
FILING, NOTICE = "DongBoHoSoMC", "CapNhatTienDoHoSoMC"
BREAKER = {"breaker": {"failures": 3, "open_s": 0.3, "open_max_s": 0.5}}


async def _attempts(s: Any) -> list[tuple[str, str]]:
    return [(r["kind"], r["outcome"]) for r in await s.led.rows("SELECT kind, outcome FROM attempts ORDER BY id")]


def test_what_was_done_behind_a_503_is_asked_about_and_stands_once(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = await s.portal(takes_twice=True)
            for service in (FILING, NOTICE):
                twin.set_fault(Fault(kind="committed_503", count=1, match=service))
            await s.push("filing", items.filing(NUMBER))
            await s.push("filing_progress", items.progress(NUMBER))
            await s.work()
            await s.settled(30, delivered=2)
            assert [(e.type, e.event) for e in twin.books.effects] == [("filing", "NEW"), ("progress", "NOTICE")]
            assert twin.summary()["doubles"] == []
            assert await _attempts(s) == [("send", "Unknown"), ("inquire", "present")] * 2
            await s.rest()

    asyncio.run(work())


def test_what_a_503_kept_from_being_done_is_sent_again_after_two_inquiries(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = await s.portal(takes_twice=True)
            twin.set_fault(Fault(kind="down_503", count=1, match=FILING))
            await s.push("filing", items.filing(NUMBER))
            await s.work()
            await s.settled(30, delivered=1)
            absent = ("inquire", "absent")
            assert await _attempts(s) == [("send", "Unknown"), absent, absent, ("send", "Receipt")]
            bodies = await s.led.rows("SELECT body FROM calls WHERE operation = 'create'")
            assert len(bodies) == 2 and len({bytes(b["body"]) for b in bodies}) == 1
            assert len(twin.books.effects) == 1
            await s.rest()

    asyncio.run(work())


def test_an_update_met_by_a_503_is_sent_again_without_asking(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = await s.portal()
            await s.push("filing", items.filing(NUMBER))
            await s.work()
            await s.settled(delivered=1)
            twin.set_fault(Fault(kind="committed_503", count=1, match=FILING))
            await s.push("filing", items.filing(NUMBER, content="lần 2"))
            await s.settled(delivered=2)
            assert await _attempts(s) == [("send", "Receipt"), ("send", "TryLater"), ("send", "Receipt")]
            assert twin.summary()["doubles"] == []
            await s.rest()

    asyncio.run(work())


def test_an_outage_leaves_few_in_doubt_and_all_arrive_once(stage: Any, items: Any) -> None:
    """The breaker keeps most from being begun; inquiries the outage leaves unanswered make nothing a person's."""

    async def work() -> None:
        async with stage() as s:
            twin = await s.portal(BREAKER, takes_twice=True)
            await s.work()
            # So that there is a session: a log-in answered 503 leaves nothing in doubt.
            await s.push("filing", items.filing())
            await s.settled(delivered=1)
            twin.set_fault(Fault(kind="down_503", for_s=3))
            await s.push("filing", *(items.filing(f"000.00.12.H24-261122-{n:04d}") for n in range(2, 201)))
            await s.settled(60, delivered=200)
            assert len({e.key for e in twin.books.effects}) == len(twin.books.effects) == 200
            doubted = await s.led.value("SELECT count(DISTINCT delivery) FROM attempts WHERE outcome = 'Unknown'")
            assert 0 < doubted < 120, "one claim and the probes: what was not begun is in no doubt"
            assert await s.led.value("SELECT count(*) FROM tasks") == 0
            assert await s.led.value("SELECT count(*) FROM journal WHERE kind = 'recovery_opened'") >= 1, (
                "it shows as an outage"
            )
            await s.rest()

    asyncio.run(work())


def _front(monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str]) -> None:
    """What stands in front answers so where the twin says 503."""
    real = twins._response

    def response(say: Say) -> Any:
        return real(Say(status, b"<html>front</html>", "text/html", headers) if say.status == 503 else say)

    monkeypatch.setattr(twins, "_response", response)


def test_who_is_asked_to_come_back_in_an_hour_is_not_asked_meanwhile(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for what is in doubt nor for anything else: an inquiry is a probe like any other."""
    _front(monkeypatch, 503, {"Retry-After": "3600"})

    async def work() -> None:
        async with stage() as s:
            policy = {"breaker": {"failures": 3, "open_s": 20.0, "open_max_s": 20.0}}
            twin = await s.portal(policy, takes_twice=True)
            await s.work()
            await s.push("filing", items.filing())
            await s.settled(delivered=1)
            before = twin.requests
            twin.set_fault(Fault(kind="down_503", for_s=300))
            await s.push("filing", *(items.filing(f"000.00.12.H24-261122-{n:04d}") for n in range(2, 42)))
            await asyncio.sleep(5)
            assert twin.requests - before <= 3 + 4 + 2, "failures that open it, what was under way, and a probe or two"
            due = await s.led.rows(
                "SELECT extract(epoch FROM due_at - clock_timestamp())::float8 AS left FROM deliveries WHERE state = 6"
            )
            assert due and min(r["left"] for r in due) > 3000, "asked about when the portal said"
            assert await s.led.value("SELECT count(*) FROM deliveries WHERE state = 2") > 25, (
                "the rest has not been begun"
            )

    asyncio.run(work())


def test_a_batch_of_notices_that_a_front_calls_too_large_goes_to_a_person_not_in_halves(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _front(monkeypatch, 413, {})

    async def work() -> None:
        async with stage() as s:
            twin = await s.portal(adapter={"progress_batch": 10}, takes_twice=True)
            await s.work()
            other = "000.00.12.H24-261122-0002"
            for number in (NUMBER, other):
                await s.push("filing", items.filing(number))
            await s.settled(delivered=2)
            twin.set_fault(Fault(kind="committed_503", count=1, match=NOTICE))
            await s.push("filing_progress", items.progress(NUMBER), items.progress(other))
            await s.settled(20, delivered=2, parked=2)
            assert twin.summary()["doubles"] == []
            assert [e.type for e in twin.books.effects].count("progress") == 2
            assert await s.led.value("SELECT count(*) FROM calls WHERE operation = 'progress'") == 1

    asyncio.run(work())


def test_where_the_profile_names_503_an_outage_makes_deliveries_wait_and_the_ticker_brings_them_back(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = manifests.load("public_service").profile()
    named = {"name": "HTTP 503", "statuses": [503], "assumed": False, "source": "the portal's operators"}
    portal["not_carried_out"] = [*portal["not_carried_out"], named]
    real = manifests._profile
    monkeypatch.setattr(
        manifests, "_profile", lambda path: portal if path.parent.name == "public_service" else real(path)
    )

    async def work() -> None:
        async with stage() as s:
            twin = await s.portal(BREAKER)
            await s.work()
            await s.push("filing", items.filing())
            await s.settled(delivered=1)
            twin.set_fault(Fault(kind="down_503", for_s=3))
            await s.push("filing", *(items.filing(f"000.00.12.H24-261122-{n:04d}") for n in range(2, 13)))
            await s.until(lambda: s.led.value("SELECT count(*) > 0 FROM recoveries WHERE state = 'open'"))
            await s.settled(30, delivered=12)
            assert len({e.key for e in twin.books.effects}) == len(twin.books.effects) == 12
            assert await s.led.value("SELECT count(*) FROM attempts WHERE kind = 'inquire'") == 0
            await s.until(lambda: s.led.value("SELECT state = 'idle' FROM recoveries"), 15)

    asyncio.run(work())
