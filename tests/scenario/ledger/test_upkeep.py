"""Alarms, corrections, expiry and the net under promotion, on a real database."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.intake import Accepted
from hub.kernel.ledger import alarms, corrections, dispatch, operations, upkeep
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.shapes import Conclusion
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text
from hub.kernel.store.db import patient

SCHOOL = "31HP0000001"


def run(work: Any) -> Any:
    return asyncio.run(work)


def full(**more: Any) -> dict[str, Any]:
    return {
        "learner_code": "3112345678", "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "Nam", "ethnicity": "01",
        "school_code": SCHOOL, "class_code": "6A1", "grade": "6", "school_level": "03", "status": "studying",
    } | more  # fmt: skip


async def one_record(led: Any, make: Any) -> tuple[int, int]:
    connector = await led.connector("ministry", "ministry")
    await led.school(SCHOOL)
    from mappings.engine import TYPES, parse_item

    draft = parse_item("learner", {"data": full()}, "", make.draft().updated_at)
    led.core.catalogue.standardise_record(TYPES["learner"], draft.body, draft.updated_at.date())
    await accept(led.core, [make.arrival(draft)])
    return int(connector), int(await led.value("SELECT id FROM records"))


def test_an_alarm_starts_once_and_ends_once(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(make.draft())])
            assert await alarms.watch(led.core, 3600) == (0, 0)
            assert await alarms.watch(led.core, -1) == (1, 0)
            assert await alarms.watch(led.core, -1) == (0, 0)
            await operations.pause(led.core, "hub", "ministry", Text("hỏng", "broken"), "credentials_refused")
            assert await alarms.watch(led.core, -1) == (1, 0)
            await operations.resume(led.core, "lan", "ministry")
            assert await alarms.watch(led.core, 3600) == (0, 2)
            kinds = [r["kind"] for r in await led.rows("SELECT kind FROM journal WHERE kind LIKE 'alarm%' ORDER BY id")]
            assert kinds == ["alarm_started"] * 2 + ["alarm_ended"] * 2
            assert len(await alarms.recent(led.core)) == 2

    run(go())


def test_an_operators_own_pause_is_no_alarm(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await operations.pause(led.core, "lan", "ministry", Text("bảo trì", "maintenance"))
            assert await alarms.watch(led.core, 3600) == (0, 0)

    run(go())


def test_a_correction_is_a_new_message_linked_to_the_record_it_corrects(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            _, record = await one_record(led, make)
            old = await corrections.original(led.core, record)
            data = corrections.as_pushed(old["body"])
            assert data["sex"] == {"system": "vn-sex", "code": "Nam"}
            wrong = await corrections.edit_and_resend(
                led.core, "lan", record, data | {"birth_date": "x"}, "gõ sai", EVERYWHERE
            )
            assert isinstance(wrong, list) and wrong[0].pointer == "/data/birth_date"
            done = await corrections.edit_and_resend(
                led.core, "lan", record, data | {"full_name": "Nguyễn Văn Đúng"}, "gõ sai", EVERYWHERE
            )
            assert isinstance(done, Accepted) and done.records == 1
            rows = await led.rows("SELECT version, body->>'full_name' AS name FROM records ORDER BY version")
            assert [tuple(r) for r in rows] == [(1, "Nguyễn Văn Mẫu"), (2, "Nguyễn Văn Đúng")]
            assert await led.value("SELECT attributes->>'corrects' FROM messages ORDER BY id DESC LIMIT 1") == str(
                record
            )
            assert await led.value("SELECT count(*) FROM journal WHERE kind = 'correct' AND subject = $1", record) == 1
            face = data | {"photo": "data:image/jpeg;base64," + "/9j/" + "A" * 400}
            refused = await corrections.edit_and_resend(led.core, "lan", record, face, "", EVERYWHERE)
            assert isinstance(refused, list)
            foreign = await corrections.edit_and_resend(led.core, "x", record, data, "", Scope("school", "31HP0000009"))
            assert isinstance(foreign, Accepted) and [r.code for r in foreign.rejects] == ["outside_scope"]
            assert (await account(led.core)).balanced

    run(go())


def test_bodies_expire_while_hashes_and_what_is_still_owed_stay(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c, _ = await one_record(led, make)
            klass = await led.value("SELECT class FROM messages")
            assert await upkeep.expire_bodies(led.core, klass, 1) == 0, "not old enough"
            batch = await dispatch.claim(led.core, c, 10, 30.0)
            assert await upkeep.expire_bodies(led.core, klass, -1) == 1
            assert await led.value("SELECT body IS NULL AND digest IS NOT NULL FROM messages")
            assert await led.value("SELECT body IS NOT NULL FROM records"), "what is to be sent is there"
            await dispatch.conclude(
                led.core,
                c,
                [
                    Conclusion(delivery=d, target=State.DELIVERED, cause="receipt", outcome="Receipt")
                    for d in batch.deliveries
                ],
                [],
            )
            assert (await account(led.core)).balanced

    run(go())


async def _old_calls(led: Any, days: int, *spans: list[int]) -> list[int]:
    """One call of so many days ago for each list of deliveries it stands for; their ids."""
    first = int(await led.value("SELECT id_day((now() AT TIME ZONE 'UTC')::date - $1::int)", days)) + 1
    for n, deliveries in enumerate(spans):
        await led.owner.execute(
            "INSERT INTO calls (id, class, connector, operation, deliveries, idempotent, method, path, headers, content_type, meta,"
            " digest, body, mapping) VALUES ($1, 2, 1, 'push', $2, true, 'POST', '/', '{}', 'text/plain', '{}', '\\x64', '\\x64', '1')",
            first + n, deliveries,
        )  # fmt: skip
    return [first + n for n in range(len(spans))]


async def _open_delivery(led: Any, number: int, resend: int | None = None) -> None:
    await led.owner.execute(
        "INSERT INTO deliveries (id, record, connector, class, state, rank, resend, flow, key, cause)"
        " VALUES ($1, 1, 1, 2, 5, 1, $2, 'f', 'k', 'needs_person')",
        number, resend,
    )  # fmt: skip


_WITH_BODY = "SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM calls WHERE body IS NOT NULL"
_MARKED = "SELECT count(*) FROM bodies_gone WHERE what = 'calls' AND day = (now() AT TIME ZONE 'UTC')::date - 5"


def test_calls_lose_their_bodies_in_bites_but_for_what_is_still_needed(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_BITE", 3)

    async def go() -> None:
        async with ledger() as led:
            calls = await _old_calls(led, 5, [11], [12, 13], [14], [15], [16, 17], [18], [19])
            await _open_delivery(led, 17)
            await _open_delivery(led, 20, resend=calls[1])
            assert await upkeep.expire_bodies(led.core, 2, 1) == 5
            assert await led.value(_WITH_BODY) == [calls[1], calls[4]]
            assert await led.value(_MARKED) == 0, "something is left of that day"
            await led.owner.execute("DELETE FROM deliveries")
            assert await upkeep.expire_bodies(led.core, 1, 1) == 0, "another class"
            assert await upkeep.expire_bodies(led.core, 2, 1) == 2
            assert await led.value(_WITH_BODY) == [] and await led.value(_MARKED) == 1
            assert await upkeep.expire_bodies(led.core, 2, 1) == 0
            assert await led.value("SELECT count(*) FROM days_with_bodies('calls', 2::smallint, current_date - 4)") == 0

    run(go())


class _Breaking:
    """A pool whose database goes away after so many connections were asked for."""

    def __init__(self, pool: Any, after: int) -> None:
        self._pool, self._left = pool, after

    def acquire(self) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ConnectionError("away")
        return self._pool.acquire()


def test_an_expiry_broken_off_keeps_what_went_and_one_at_a_time_is_enough(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_BITE", 2)

    async def go() -> None:
        async with ledger() as led:
            calls = await _old_calls(led, 5, [11], [12], [13], [14], [15])
            pool = led.core.pool
            led.core.pool = _Breaking(pool, 4)  # the days twice, two bites
            with pytest.raises(ConnectionError):
                await upkeep.expire_bodies(led.core, 2, 1)
            led.core.pool = pool
            assert await led.value(_WITH_BODY) == calls[4:]
            async with led.owner.acquire() as other, other.transaction():
                await patient(other)
                await other.execute("SELECT pg_advisory_xact_lock(7026)")
                assert await upkeep.expire_bodies(led.core, 2, 1) == 0, "another process is at it"
            assert await upkeep.expire_bodies(led.core, 2, 1) == 1
            assert await led.value(_WITH_BODY) == []

    run(go())


def test_the_net_under_promotion(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            for n in range(3):
                await accept(led.core, [make.arrival(make.draft(name=f"Tên {n}"))])
            assert await upkeep.promote_orphans(led.core) == 0
            # What no code of ours does: a head vanishes.
            await led.owner.execute("DELETE FROM deliveries WHERE state = 2")
            await led.owner.execute("UPDATE deliveries SET since = now() - interval '5 minutes'")
            assert await upkeep.promote_orphans(led.core) == 1
            assert await upkeep.promote_orphans(led.core) == 0

    run(go())


def test_intake_keys_are_forgotten_after_their_own_time(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(make.draft(), key="k")])
            assert await upkeep.forget_keys(led.core, 30) == 0
            await led.owner.execute("UPDATE intake_keys SET at = now() - interval '31 days'")
            assert await upkeep.forget_keys(led.core, 30) == 1

    run(go())


AHEAD = 30
"""Days, more than any other test makes."""
MADE_OF = """
SELECT regexp_replace(relname, '_[0-9]{8}', '') AS what, array_agg(told ORDER BY told) AS told FROM (
  SELECT c.relname, format('column %s %s %s %s %s %s', a.attname, a.atttypid::regtype, a.attnotnull, a.attstorage, a.attstattarget,
    pg_get_expr(e.adbin, e.adrelid)) AS told
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef e ON e.adrelid = c.oid AND e.adnum = a.attnum
  UNION ALL
  SELECT c.relname, format('index of %s: %s', h.inhparent::regclass, regexp_replace(pg_get_indexdef(i.indexrelid), '.* USING', ''))
  FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
  UNION ALL
  SELECT c.relname, format('constraint %s %s %s', k.contype, k.coninhcount,
    replace(pg_get_constraintdef(k.oid), ' NOT VALID', ''))
  FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
  UNION ALL
  SELECT c.relname, format('in %s, %s, %s', h.inhparent::regclass, c.relpersistence, c.reloptions)
  FROM pg_class c JOIN pg_inherits h ON h.inhrelid = c.oid
) x WHERE relname ~ ('_' || $1 || '$') GROUP BY relname"""


def test_days_are_made_while_somebody_reads_for_long_and_nobody_who_writes_waits(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            assert (await upkeep.make_partitions(led.core, AHEAD - 1))[1] == 0
            async with led.core.pool.acquire() as reader:
                long = reader.transaction(isolation="repeatable_read", readonly=True)
                await long.start()
                await patient(reader)
                for table in ("journal", "records", "messages"):
                    await reader.fetchval(f"SELECT count(*) FROM {table}")
                making = asyncio.create_task(upkeep.make_partitions(led.core, AHEAD))
                for n in range(20):
                    passage = replace(make.arrival(), type="checkin")  # of another class, whose days are others
                    await asyncio.wait_for(accept(led.core, [make.arrival(make.draft(f"A{n}")), passage]), 2.0)
                    await asyncio.sleep(0.05)
                made, strays = await asyncio.wait_for(making, 20)
                assert made < 27 and not strays, "what is being read is left for later"
                await long.rollback()
            assert await upkeep.make_partitions(led.core, AHEAD) == (27 - made, 0)
            last, before = [f"{await upkeep.today(led.core) + timedelta(days=n):%Y%m%d}" for n in (AHEAD, 14)]
            new = {r["what"]: r["told"] for r in await led.rows(MADE_OF, last)}
            old = {r["what"]: r["told"] for r in await led.rows(MADE_OF, before)}
            assert {k: sorted({*v} ^ {*old[k]}) for k, v in new.items() if v != old[k]} == {} and len(new) == 27, (
                "as those made by the first migration"
            )

    run(go())
