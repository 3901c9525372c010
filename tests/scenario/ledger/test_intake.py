"""TX1 and TX2 on a real database: what is stored once, what is a duplicate, what order and versions come of it."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from hub.kernel.access import Scope
from hub.kernel.grouping import GroupCommit
from hub.kernel.intake import Source, order_hash
from hub.kernel.ledger import upkeep
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept, work_inbox
from hub.kernel.lifecycle import State
from hub.kernel.ports import Reject, Removed, Text
from hub.kernel.store.db import SILENT_MS, sql


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_a_message_makes_a_record_and_one_delivery_per_target(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.connector("population", "population")
            await led.school(make.draft().school)
            (a,) = await accept(led.core, [make.arrival(make.draft())])
            assert (a.records, a.rejects, a.duplicate) == (1, [], False)
            # No personal number, so there is nothing to ask the population database.
            rows = await led.rows("SELECT flow, state, cause FROM deliveries")
            assert [(r["flow"], r["state"], r["cause"]) for r in rows] == [
                ("learners-to-ministry", State.READY, "routed")
            ]
            assert await led.value("SELECT due FROM records") == 1
            found = await account(led.core)
            assert found.balanced and found.messages == found.routed == found.items == found.records == 1

    run(go())


def test_results_from_before_they_stood_with_their_message_still_count(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            again = make.arrival(make.draft(), key="k1")
            await accept(led.core, [again])
            before = await account(led.core)
            await led.owner.execute(
                "INSERT INTO message_results (message, class, outcome, items, rejected, records)"
                " SELECT id, class, outcome, items, rejected, records FROM messages;"
                " UPDATE messages SET outcome = NULL, items = NULL, rejected = NULL, records = NULL"
            )
            assert await account(led.core) == before and before.balanced
            (told,) = await accept(led.core, [again])
            assert told.duplicate and told.records == 1

    run(go())


def test_the_same_key_twice_takes_effect_once_and_is_on_record_twice(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            arrival = make.arrival(make.draft(), key="k1")
            (first,) = await accept(led.core, [arrival])
            (second,) = await accept(led.core, [make.arrival(make.draft(), key="k1")])
            assert second.duplicate and not second.conflict and second.message == first.message
            (third,) = await accept(led.core, [make.arrival(make.draft(name="Khác"), key="k1")])
            assert third.conflict and third.message == first.message
            found = await account(led.core)
            assert (found.messages, found.duplicate, found.records, found.balanced) == (3, 2, 1, True)
            assert await led.value("SELECT count(*) FROM messages WHERE duplicate_of IS NOT NULL AND body IS NULL") == 2

    run(go())


def test_a_key_given_twice_in_one_batch(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(make.draft().school)
            answers = await accept(led.core, [make.arrival(make.draft(), key="x"), make.arrival(make.draft(), key="x")])
            assert [a.duplicate for a in answers] == [False, True]
            assert (await account(led.core)).balanced

    run(go())


def test_going_back_to_an_old_content_is_a_new_fact(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            for name in ("A", "B", "B", "A"):
                await accept(led.core, [make.arrival(make.draft(name=name))])
            rows = await led.rows("SELECT version, event, disposition FROM records ORDER BY id")
            assert [tuple(r) for r in rows] == [(1, "NEW", 1), (2, "UPDATE", 1), (2, "UPDATE", 2), (3, "UPDATE", 1)]
            states = await led.rows("SELECT state FROM deliveries ORDER BY seq")
            assert [r["state"] for r in states] == [State.READY, State.HELD, State.HELD]
            assert (await account(led.core)).balanced

    run(go())


def test_cancel_and_again(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(make.draft())])
            await accept(led.core, [make.arrival(make.draft(event="CANCEL"))])
            await accept(led.core, [make.arrival(make.draft())])
            assert [r["event"] for r in await led.rows("SELECT event FROM records ORDER BY id")] == [
                "NEW",
                "CANCEL",
                "NEW",
            ]

    run(go())


def test_versions_of_one_learner_pushed_at_once_from_many_sides_are_a_gapless_row(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger(high=12) as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            await asyncio.gather(
                *(
                    accept(
                        led.core,
                        [
                            make.arrival(
                                *(make.draft(f"HS{k}", f"Tên {i}") for k in (range(5) if i % 2 else range(4, -1, -1)))
                            )
                        ],
                    )
                    for i in range(24)
                )
            )
            for k in range(5):
                versions = [
                    r["version"]
                    for r in await led.rows("SELECT version FROM records WHERE key = $1 ORDER BY version", f"HS{k}")
                ]
                assert versions == list(range(1, 25))
                rows = await led.rows(
                    "SELECT d.state, r.version FROM deliveries d JOIN records r ON r.id = d.record WHERE d.key = $1 ORDER BY d.seq",
                    f"HS{k}",
                )
                assert [r["version"] for r in rows] == list(range(1, 25)), "the queue's order is the versions' order"
                assert [r["state"] for r in rows] == [State.READY] + [State.HELD] * 23, "only the head is ready"
            assert (await account(led.core)).balanced

    run(go())


def test_unknown_school_foreign_school_and_foreign_learner_are_refused_beside_good_ones(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school("S1")
            await led.school("S2")
            mine = Scope("school", "S1")
            await accept(led.core, [make.arrival(make.draft("OTHER", school="S2"))])
            (a,) = await accept(
                led.core,
                [
                    make.arrival(
                        make.draft("OK", school="S1", pointer="/0"), make.draft("X", school="NOWHERE", pointer="/1"),
                        make.draft("Y", school="S2", pointer="/2"), make.draft("OTHER", school="S1", pointer="/3"), scope=mine,
                    )
                ],
            )  # fmt: skip
            assert a.records == 1
            assert [(r.pointer, r.code) for r in a.rejects] == [
                ("/1", "unknown_school"), ("/2", "outside_scope"), ("/3", "owned_by_another_school"),
            ]  # fmt: skip
            found = await account(led.core)
            assert found.balanced and found.rejected == 3

    run(go())


def test_an_invalid_message_is_kept_with_its_reason(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            arrival = make.arrival(make.draft())
            arrival.drafts, arrival.invalid = None, Reject(pointer="", code="garbled", message=Text("hỏng", "garbled"))
            arrival.removed = [Removed("/pic", "ab", 10, "image")]
            (a,) = await accept(led.core, [arrival])
            assert a.invalid
            found = await account(led.core)
            assert (found.invalid, found.messages, found.balanced) == (1, 1, True)
            assert await led.value("SELECT removed->0->>'reason' FROM messages") == "image"

    run(go())


def test_a_message_stored_first_is_worked_off_later_and_a_poisonous_one_blocks_nobody(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            later = [make.arrival(make.draft(f"L{i}")) for i in range(3)]
            for arrival in later:
                arrival.drafts = None
            await accept(led.core, later)
            found = await account(led.core)
            assert (found.pending, found.balanced) == (3, True)
            seen: list[int] = []

            def decode(row: Any) -> Any:
                seen.append(row["message"])
                if len(seen) == 1:
                    raise asyncpg.DataError("poison")
                return [make.draft(f"L{len(seen)}")], [], None

            assert await work_inbox(led.core, decode) == 2
            found = await account(led.core)
            assert (found.pending, found.routed, found.balanced) == (1, 2, True)
            assert await led.value("SELECT problem FROM inbox") == "poison"

    run(go())


def test_ids_carry_the_day_and_rows_lie_in_its_partition(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(make.draft().school)
            (a,) = await accept(led.core, [make.arrival(make.draft())])
            day = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=a.message >> 37)
            table = await led.value("SELECT tableoid::regclass::text FROM messages WHERE id = $1", a.message)
            assert re.fullmatch(rf"(hub\.)?messages_c\d_{day:%Y%m%d}", table)
            assert a.message < 1 << 53
            assert await led.value("SELECT default_rows()") == 0

    run(go())


def test_no_day_has_its_bodies_sampled(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await upkeep.make_partitions(led.core, 20)  # some that were there, some made now
            sampled = await led.rows(
                "SELECT a.attrelid::regclass::text AS part, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
                " WHERE c.relkind = 'r' AND c.relname ~ '_[0-9]{8}$' AND a.attname IN ('body', 'data', 'leaves', 'digest', 'deliveries')"
                " AND a.attstattarget IS DISTINCT FROM 0"
            )
            assert sampled == []
            days = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^records_c1_[0-9]{8}$'"
            assert await led.value(days) >= 22

    run(go())


def test_the_hub_cannot_change_history(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(make.draft())])
            async with led.core.pool.acquire() as connection:
                for statement in (
                    "UPDATE journal SET actor = 'x'",
                    "DELETE FROM journal",
                    "DELETE FROM messages",
                    "UPDATE records SET key = 'x'",
                    "DELETE FROM attempts",
                    "TRUNCATE journal",
                ):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(statement)

    run(go())


def test_commits_are_durable(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led, led.core.pool.acquire() as connection:
            assert await connection.fetchval("SHOW synchronous_commit") == "on"
            assert await connection.fetchval("SHOW fsync") == "on"
            assert await connection.fetchval("SHOW full_page_writes") == "on"

    run(go())


def test_a_thousand_sources_met_at_once_are_one_question_and_two_processes_agree_on_them(
    ledger: Any, make: Any
) -> None:
    async def go() -> None:
        async with ledger() as one, ledger(worker="other") as other:
            asked: list[str] = []
            async with one.core.pool.acquire() as connection:
                connection.add_query_logger(lambda record: asked.append(record.query))
            sources = [Source("device", f"G{n % 1000}") for n in range(1500)]
            mine, theirs = await asyncio.gather(one.core.source_ids(sources), other.core.source_ids(reversed(sources)))
            assert mine == theirs[::-1] and len(set(mine)) == 1000
            assert await one.core.source_ids(sources) == mine and len(asked) <= 2
            assert await one.value("SELECT count(*) FROM sources WHERE kind = 'device'") == 1000

    run(go())


def test_who_stands_still_with_a_key_in_hand_holds_up_that_key_alone_and_not_for_long(ledger: Any, make: Any) -> None:
    """A worker stopped in the middle of concluding: the others' pushes go on, those of its keys once it has been silent too long."""

    async def go() -> None:
        async with ledger(high=8) as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            group = GroupCommit(lambda arrivals: accept(led.core, arrivals), second=16)
            await group.put(make.arrival(make.draft("HS1")))
            core = led.core
            with pytest.raises(asyncpg.InterfaceError):
                async with core.pool.acquire() as still, still.transaction():
                    await still.fetchval(sql.order_locks, [order_hash("HS1")])
                    began = asyncio.get_running_loop().time()
                    stuck = asyncio.create_task(group.put(make.arrival(make.draft("HS1", "Tên mới"))))
                    await asyncio.sleep(0.1)
                    async with asyncio.timeout(2):
                        await asyncio.gather(*(group.put(make.arrival(make.draft(f"HS{n}"))) for n in range(2, 6)))
                    assert not stuck.done(), "whoever concludes it may promote what follows"
                    async with asyncio.timeout(2 * SILENT_MS / 1000):
                        assert (await stuck).records == 1
                    assert asyncio.get_running_loop().time() - began > 0.9 * SILENT_MS / 1000
                    await still.fetchval(sql.order_locks, [1])  # it wakes, and finds that it holds nothing any more

    run(go())
