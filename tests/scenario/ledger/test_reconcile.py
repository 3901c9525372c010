"""A reconciliation finds exactly what differs, survives a stop anywhere, and its repair queues exactly that, once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from hub.kernel.ledger import reconcile
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.dependencies import content_of
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.reconcile import Listed, PlanChanged, Run
from hub.kernel.ports import Draft
from mappings.engine import TYPES, parse_item, today_of
from mappings.fieldmap import FieldMap, load_field_maps

COUNT = 40
SCHOOL = "31HP0123001"


def _draft(led: Any, key: str, name: str = "Nguyễn Văn Mẫu", **more: Any) -> Draft:
    data = {
        "learner_code": key, "full_name": name, "birth_date": "2014-03-05", "sex": "Nam", "ethnicity": "01", "school_code": SCHOOL,
        "class_code": "6A1", "grade": "6", "school_level": "03", "status": "studying",
    }  # fmt: skip
    found = parse_item("learner", {"data": data}, "", datetime.now(UTC))
    assert isinstance(found, Draft), found
    led.core.catalogue.standardise_record(TYPES["learner"], found.body, today_of(found.updated_at))
    return replace(found, **more)


async def _filled(led: Any, make: Any) -> tuple[int, FieldMap]:
    connector = int(await led.connector("ministry", "ministry"))
    await led.school(SCHOOL)
    led.core.router.bind(led.core.connectors)
    await accept(led.core, [make.arrival(*(_draft(led, f"HS{n:04d}") for n in range(COUNT)))])
    await led.owner.execute("DELETE FROM deliveries")
    return connector, load_field_maps()["ministry.learner"]


async def _theirs(led: Any, field_map: FieldMap) -> dict[str, Listed]:
    """The Ministry's side, as if it held everything as it is."""
    rows = await led.rows(
        "SELECT s.key, s.version, s.event, s.school, r.updated_at, r.body FROM streams s JOIN records r ON r.id = s.record"
    )
    found = {}
    for r in rows:
        meta = {"event": r["event"], "version": r["version"], "updated_at": r["updated_at"], "key": r["key"]}
        content = content_of(r["event"], field_map.apply(r["body"], meta, led.core.catalogue))
        found[r["key"]] = Listed(r["key"], r["version"], r["school"], "6A1", content)
    return found


async def _gathered(led: Any, run: Run, field_map: FieldMap, theirs: dict[str, Listed]) -> Run:
    rows = [theirs[k] for k in sorted(theirs)]
    run = await reconcile.stage_theirs(led.core, run, rows[:10], "a", False)
    run = await reconcile.stage_theirs(led.core, run, rows[10:], None, True)
    while not run.ours_done:
        run = await reconcile.stage_ours(led.core, run, field_map)
    return await reconcile.conclude(led.core, run.id)


def _kinds(found: reconcile.Result) -> dict[tuple[str, str], int]:
    return {(c["kind"], c["action"]): c["n"] for c in found.differences}


async def _alarms(led: Any) -> dict[str, int]:
    """The subjects of alarms that stand, and how often each was begun."""
    rows = await led.rows(
        "SELECT subject, bool_or(ended_at IS NULL) AS stands, count(*) AS n FROM alarms WHERE kind = 'reconcile' GROUP BY 1"
    )
    return {r["subject"]: r["n"] for r in rows if r["stands"]}


def test_a_difference_is_an_alarm_once_until_a_clean_comparison(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            connector, field_map = await _filled(led, make)
            whole = await _theirs(led, field_map)
            lacking = {k: v for k, v in whole.items() if k != "HS0003"}

            async def compare(key: str, theirs: dict[str, Listed], school: str | None = None) -> Run:
                begun = await reconcile.begin(led.core, "schedule", key, connector, "learner", school)
                return await _gathered(led, begun, field_map, theirs)

            await compare("clean", whole)
            assert await _alarms(led) == {}
            run = await compare("night-1", lacking)
            assert await _alarms(led) == {"ministry learner": 1}
            text = await led.value("SELECT text FROM alarms WHERE kind = 'reconcile'")
            assert SCHOOL in str(text) and "HS0003" not in str(text), "schools are named, nobody is"
            await reconcile.conclude(led.core, run.id)
            await compare("night-2", lacking)
            assert await _alarms(led) == {"ministry learner": 1}, "said once"

            await compare("one-clean", whole, SCHOOL)
            assert await _alarms(led) == {"ministry learner": 1}, "one school's comparison says nothing of the others"
            await compare("one", lacking, SCHOOL)
            assert await _alarms(led) == {"ministry learner": 1, f"ministry learner {SCHOOL}": 1}

            done = await reconcile.repair(led.core, "lan", run, field_map, 1)
            assert done.queued == 1
            await compare("on-its-way", lacking)
            assert await _alarms(led) == {}, "what is on its way differs no more"
            said = await led.rows("SELECT kind FROM journal WHERE data->>'alarm' = 'reconcile' ORDER BY at")
            assert sorted(r["kind"] for r in said) == ["alarm_ended"] * 2 + ["alarm_started"] * 2

    asyncio.run(go())


def test_exactly_the_difference_is_found_and_queued_once(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            connector, field_map = await _filled(led, make)
            theirs = await _theirs(led, field_map)
            same = await reconcile.begin(led.core, "lan", "same", connector, "learner")
            run = await _gathered(led, same, field_map, theirs)
            found = await reconcile.result(led.core, run.id)
            assert (run.state, found.plan, found.differences, found.classes_differ) == ("compared", 0, [], 0)
            assert await led.value("SELECT count(*) FROM reconcile_rows") == 0

            await accept(led.core, [make.arrival(_draft(led, "HS0007", name="Nguyễn Bình"))])
            await led.owner.execute("DELETE FROM deliveries")
            # A cancelled one they still hold, one they lack, one whose content differs under our version, two exchanged.
            await accept(led.core, [make.arrival(_draft(led, "HS0008", event="CANCEL"))])
            await led.owner.execute("DELETE FROM deliveries")
            del theirs["HS0003"]
            theirs["HS0005"] = Listed("HS0005", 1, theirs["HS0005"].school, "6A1", b"x" * 16)
            a, b = theirs["HS0010"], theirs["HS0011"]
            theirs["HS0010"], theirs["HS0011"] = (
                Listed(a.key, 1, a.school, "6A1", b.content),
                Listed(b.key, 1, b.school, "6A1", a.content),
            )
            theirs["LA"] = Listed("LA", 1, a.school, "6A1", a.content)
            begun = await reconcile.begin(led.core, "lan", "k", connector, "learner")
            run = await _gathered(led, begun, field_map, theirs)
            found = await reconcile.result(led.core, run.id)
            assert _kinds(found) == {
                ("missing_there", "send"): 1, ("differs", "send"): 1, ("differs", "person"): 3,
                ("missing_here", "cancel"): 1, ("missing_here", "person"): 1,
            }  # fmt: skip
            with pytest.raises(PlanChanged):
                await reconcile.repair(led.core, "lan", run, field_map, 2)
            done = await reconcile.repair(led.core, "lan", run, field_map, found.plan)
            again = await reconcile.repair(led.core, "lan", run, field_map, found.plan)
            assert (done.queued, done.left, again.queued) == (3, 0, 0)
            assert {r["key"] for r in await led.rows("SELECT key FROM deliveries")} == {"HS0003", "HS0007", "HS0008"}
            assert (await reconcile.begin(led.core, "lan", "k", connector, "learner")).state == "repaired"
            assert (await account(led.core)).replays == 3

    asyncio.run(go())


def test_a_page_staged_twice_counts_once_and_a_crash_of_the_database_begins_anew(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            connector, field_map = await _filled(led, make)
            theirs = await _theirs(led, field_map)
            run = await reconcile.begin(led.core, "lan", "k", connector, "learner")
            rows = [theirs[k] for k in sorted(theirs)]
            await reconcile.stage_theirs(led.core, run, rows, None, True)
            late = await reconcile.stage_theirs(led.core, run, rows, None, True)
            assert late.theirs_rows == COUNT == await led.value("SELECT count(*) FROM reconcile_rows")
            while not late.ours_done:
                late = await reconcile.stage_ours(led.core, late, field_map)
            await led.owner.execute("DELETE FROM reconcile_rows WHERE side = 1")  # as an unlogged table after a crash
            anew = await reconcile.conclude(led.core, run.id)
            assert (anew.state, anew.ours_rows, anew.theirs_done) == ("gathering", 0, False)
            run = await _gathered(led, anew, field_map, theirs)
            assert (await reconcile.result(led.core, run.id)).differences == []

    asyncio.run(go())


def test_a_schools_roster_is_the_third_side(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            connector, field_map = await _filled(led, make)
            contents = {r["key"]: r["content"] for r in await led.rows("SELECT key, content FROM streams")}
            school = SCHOOL
            rows = [(k, "6A1", c) for k, c in contents.items()]
            assert (await reconcile.take_roster(led.core, "truong-a", "learner", school, rows)).items == []
            rows = [r for r in rows if r[0] != "HS0001"] + [("HS9999", "6A1", b"y" * 16)]
            rows[0] = (rows[0][0], "6A1", b"z" * 16)
            told = await reconcile.take_roster(led.core, "truong-a", "learner", school, rows)
            assert (told.count, told.missing_here, told.missing_there, told.differs) == (COUNT, 1, 1, 1)
            run = await reconcile.begin(led.core, "lan", "k", connector, "learner", school)
            run = await _gathered(led, run, field_map, await _theirs(led, field_map))
            found = await reconcile.result(led.core, run.id)
            assert {(c["side"], c["kind"]): c["n"] for c in found.differences} == {
                ("school", "missing_here"): 1, ("school", "missing_there"): 1, ("school", "differs"): 1,
            }  # fmt: skip
            assert found.plan == 0, "what a school must push again is not the hub's to queue"
            page = await reconcile.differences(led.core, run.id, ("", ""), 10)
            assert (
                "HS9999" in {r["key"] for r in page}
                and await reconcile.differences(led.core, run.id, ("", ""), 10, ["-"]) == []
            )

    asyncio.run(go())
