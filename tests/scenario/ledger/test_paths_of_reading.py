"""Reads that must find their way by an index however much is stored: what would read every day's partition takes minutes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from hub.kernel.ledger import gate_rolls, parties
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Draft
from hub.kernel.store.db import sql

SCHOOL = "31030001"
AT = datetime(2030, 1, 1, tzinfo=UTC)
TODAY = "id_day((now() AT TIME ZONE 'UTC')::date)"


def scans(plan: Any) -> Iterator[dict[str, Any]]:
    """Every node of a plan that reads a table."""
    for node in plan if isinstance(plan, list) else [plan]:
        if "Relation Name" in node:
            yield node
        yield from scans(node.get("Plans", [node["Plan"]] if "Plan" in node else []))


async def reads_of(led: Any, day: str, statement: str, *args: Any) -> list[str]:
    """By what conditions a statement finds its rows in one day's partition; empty texts for what is read through."""
    async with led.owner.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *args)
    nodes = scans(plan if isinstance(plan, list) else json.loads(plan))
    return [n.get("Index Cond", n.get("Recheck Cond", "")) for n in nodes if n["Relation Name"] == day]


def test_what_an_inquiry_asks_about_is_found_by_its_deliveries(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            at = "INSERT INTO attempts (id, class, delivery, call, number, kind, outcome, worker) "
            await led.owner.execute(
                at
                + f"SELECT {TODAY} + g, 2, {TODAY} + g, {TODAY} + g, 1, 'send', 'Unknown', 'w' FROM generate_series(1, 20000) g"
            )
            day = await led.owner.fetchval(f"SELECT tableoid::regclass::text FROM attempts WHERE id = {TODAY} + 1")
            await led.owner.execute(f"ANALYZE {day}")
            found = await reads_of(led, day, sql.evidence_asked_about, 7, [1, 2])
            assert found and all("delivery = ANY" in by for by in found), found
            await led.owner.execute(
                at + "VALUES (1, 2, 11, 5, 1, 'send', 'Unknown', 'w'), (2, 2, 12, 6, 1, 'send', 'Unknown', 'w'), (3, 2, 11, 8, 2, 'send', 'Accepted', 'w'), "
                "(4, 2, 11, 7, 1, 'inquire', 'Absent', 'w')"
            )  # fmt: skip
            asked = [await led.core.pool.fetchval(sql.evidence_asked_about, call, [11]) for call in (7, 5, 8)]
            assert asked == [5, None, None]

    asyncio.run(go())


def test_a_filings_records_are_found_by_their_keys(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.owner.execute(
                "INSERT INTO records (id, class, message, pointer, type, key, event, version, updated_at, school, body, content, catalogue, disposition, due) "
                f"SELECT {TODAY} + g, 2, 1, '', 'filing', 'F-' || g, 'NEW', 1, now(), '{SCHOOL}', '{{}}', '', 'c', 1, 0 FROM generate_series(1, 20000) g"
            )  # fmt: skip
            day = await led.owner.fetchval(f"SELECT tableoid::regclass::text FROM records WHERE id = {TODAY} + 1")
            await led.owner.execute(f"ANALYZE {day}")
            found = await reads_of(led, day, sql.evidence_filing, "000.00.12.H24-261122-0001", [SCHOOL], 7, 199)
            assert found and all("key" in by for by in found), found

    asyncio.run(go())


def test_the_next_page_of_a_gates_people_goes_on_after_one_who_has_changed_meanwhile(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(SCHOOL)
            await parties.add_device(
                led.core, "test", "G1", family="face_mqtt", profile="push-ack", title="G1", school=SCHOOL, entrance="", direction="in",
                person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"sealed",
            )  # fmt: skip

            def person(code: str, name: str) -> Draft:
                body = {"device": "G1", "person_code": code, "full_name": name}
                return Draft(
                    type="gate_person", key=f"G1/{code}", body=body, updated_at=make.draft().updated_at, school=SCHOOL
                )

            await accept(led.core, [make.arrival(*(person(f"HS{n}", "An") for n in range(1, 6)))])
            first = await gate_rolls.of_gate(led.core, "G1", None, None, 2)
            assert [r["person"] for r in first] == ["HS1", "HS2"]
            mark = first[-1]["record"]
            for _ in range(2):
                rest = await gate_rolls.of_gate(led.core, "G1", None, mark, 10)
                assert [r["person"] for r in rest] == ["HS3", "HS4", "HS5"]
                await accept(led.core, [make.arrival(person("HS2", "Bình"))])
            # A number of another gate's or of nothing is no place on this page.
            for stranger in (1, 1 << 60):
                assert len(await gate_rolls.of_gate(led.core, "G1", None, stranger, 10)) == 5

    asyncio.run(go())


async def _ways(connection: Any, text: str, *args: Any) -> set[str]:
    """How a statement comes to the open deliveries: the names of the indexes, and `all` for reading them through."""
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {text}", *args)

    def names(node: Any) -> Iterator[str]:
        for n in node if isinstance(node, list) else [node]:
            if n.get("Index Name", "").startswith("deliveries_"):
                yield n["Index Name"]
            if n.get("Node Type") == "Seq Scan" and n["Relation Name"] == "deliveries":
                yield "all"
            yield from names(n.get("Plans", [n["Plan"]] if "Plan" in n else []))

    return set(names(plan if isinstance(plan, list) else json.loads(plan)))


_FILL = """
INSERT INTO deliveries (id, record, connector, class, state, order_key, rank, due_at, since, flow, key, cause)
SELECT g, g, 1, 2, CASE WHEN g % 100 = 0 THEN 2 WHEN g % 2 = 0 THEN 1 ELSE 4 END, g / 200, g, now() + interval '1 hour',
       now() - interval '1 hour', 'f', 'k', 'try_later' FROM generate_series(1, 20000) g
"""


def test_neither_expiry_nor_a_recoverys_leader_reads_all_that_is_open(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.owner.execute(_FILL)
            await led.owner.execute("ANALYZE deliveries")
            async with led.owner.acquire() as connection, connection.transaction():
                assert await _ways(connection, sql.recovery_seen, 1, AT) == {
                    "deliveries_stopped",
                    "deliveries_released",
                }
                assert await _ways(connection, sql.recovery_due, 1) == {"deliveries_due"}
                await connection.execute("SET LOCAL enable_seqscan = off")
                assert await _ways(connection, sql.expire_calls, 2, 1, 1 << 50) == {
                    "deliveries_pkey",
                    "deliveries_resend",
                }

    asyncio.run(go())


def test_plans_made_while_little_was_open_read_nothing_through_when_much_is(ledger: Any) -> None:
    async def go() -> None:
        async with ledger(high=1) as led:
            await led.connector("ministry", "ministry")
            await led.owner.execute("VACUUM ANALYZE deliveries")
            await led.owner.execute("VACUUM ANALYZE streams")
            asked: tuple[Any, ...] = ([], [], [], [], ["learner"] * 3, ["a", "b", "c"], [1, 1, 1], [3, 4, 5])
            async with led.core.pool.acquire() as connection:
                for _ in range(12):  # so often that the session keeps its plans
                    await connection.fetchrow(sql.intake_look, *asked)
                await led.owner.execute(_FILL)
                async with connection.transaction():
                    found = await connection.fetchrow(sql.intake_look, *asked)
                    through = await connection.fetchval(
                        "SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE relname IN ('deliveries', 'streams')"
                    )
            assert sorted(found["busy"]) == [1, 2, 3] and through == 0

    asyncio.run(go())
