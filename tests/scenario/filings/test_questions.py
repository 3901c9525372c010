"""Questions put through the portal: asked for from the last one on, and none shut out by one that is dated ahead of its time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from adapters.twin import Fault
from tests.scenario.filings.test_pulls import pull, small_pages

__all__ = ["small_pages"]


def test_questions_are_asked_for_from_the_last_one_on(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            await pull(s, "questions", "1")
            assert await s.led.value("SELECT cursor FROM pulls WHERE what = 'questions'") == "20261101083000"
            twin.lists["questions"].append(
                twin.lists["questions"][0] | {"MAHOIDAP": "HD-2", "NGAYGUI": "20261105090000"}
            )
            second = await pull(s, "questions", "2")
            assert (second.records, second.unchanged) == (2, 1)
            assert await s.led.value("SELECT cursor FROM pulls WHERE what = 'questions'") == "20261105090000"
            assert await s.led.value("SELECT count(*) FROM streams WHERE type = 'portal_question'") == 2

    asyncio.run(go())


def _stamp(ahead: timedelta) -> str:
    return (datetime.now(timezone(timedelta(hours=7))) + ahead).strftime("%Y%m%d%H%M%S")


@pytest.mark.parametrize("ahead", [timedelta(days=26_000), timedelta(days=1), timedelta(minutes=2)])
def test_a_question_dated_ahead_shuts_out_no_other(stage: Any, small_pages: None, ahead: timedelta) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            one = twin.lists["questions"][0]
            twin.lists["questions"].insert(0, one | {"MAHOIDAP": "HD-AHEAD", "NGAYGUI": _stamp(ahead)})
            first = await pull(s, "questions", "1")
            assert (first.done, first.records, first.rejected) == (True, 2, 0)
            assert await s.led.value("SELECT cursor FROM pulls WHERE what = 'questions'") == "20261101083000"
            assert await s.led.value("SELECT max(updated_at) <= now() FROM records"), "nothing changed in the future"
            # Later ones, one of them come to the list after others sent after it, over several pages.
            later = [("HD-2", "20261105090000"), ("HD-3", "20261105030001"), ("HD-4", _stamp(timedelta(seconds=-1)))]
            twin.lists["questions"] += [one | {"MAHOIDAP": name, "NGAYGUI": at} for name, at in later[:1]]
            await pull(s, "questions", "2")
            twin.lists["questions"] += [one | {"MAHOIDAP": name, "NGAYGUI": at} for name, at in later[1:]]
            third = await pull(s, "questions", "3")
            assert (third.done, third.records, third.unchanged) == (True, 4, 2), "known ones are no news"
            assert await s.led.value("SELECT cursor FROM pulls WHERE what = 'questions'") == later[2][1]
            twin.lists["questions"][0]["NGAYGUI"] = "20261110090000"
            await s.led.owner.execute("UPDATE hub.pulls SET cursor = '20261101000000'")
            await pull(s, "questions", "4")
            told = "SELECT body->>'asked_at' FROM records WHERE key LIKE '%AHEAD' ORDER BY version DESC LIMIT 1"
            assert str(await s.led.value(told)).startswith("2026-11-10"), "what the portal puts right is taken"

    asyncio.run(go())


def test_a_cursor_left_ahead_heals_and_nothing_told_meanwhile_is_left_out(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            one = twin.lists["questions"][0]
            await pull(s, "questions", "1")
            for astray in ("20990101000000", _stamp(timedelta(days=1)), "9990101000000", "x"):
                await s.led.owner.execute("UPDATE hub.pulls SET cursor = $1", astray)
                twin.lists["questions"].append(one | {"MAHOIDAP": f"HD-{astray}", "NGAYGUI": "20261102090000"})
                assert (await pull(s, "questions", astray)).done
                assert await s.led.value("SELECT cursor FROM pulls WHERE what = 'questions'") == "20261102090000"
            assert await s.led.value("SELECT count(*) FROM streams WHERE type = 'portal_question'") == 5

    asyncio.run(go())


def test_a_run_begun_before_its_question_was_kept_with_it_goes_on(stage: Any, small_pages: None) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            one = twin.lists["questions"][0]
            twin.lists["questions"] = [
                one | {"MAHOIDAP": f"HD-{n}", "NGAYGUI": f"2026110{n + 1}090000"} for n in range(7)
            ]
            twin.set_fault(Fault(kind="down_503", count=3, match='"TrangSo":"2"'))
            assert (await pull(s, "questions", "k")).page == 1
            twin.faults.clear()
            await s.led.owner.execute("UPDATE hub.pulls SET next = next #- '{meta,since}' #- '{meta,asked}'")
            over = await pull(s, "questions", "k")
            assert over.done and over.records == 7, over.fault
            assert await s.led.value("SELECT cursor FROM pulls") == "20261107090000"

    asyncio.run(go())
