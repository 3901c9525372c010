"""Whole days go, what is still true stays: carried versions, seals of dropped days, and a kill in the middle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from hub.evidence.pack import pack
from hub.evidence.verify import check
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import dispatch, evidence, upkeep
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.core import CLASSES
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.shapes import Conclusion
from hub.kernel.lifecycle import State
from hub.kernel.store.db import patient
from hub.wiring import ROOT
from mappings.engine import TYPES

KLASS = CLASSES[TYPES["learner"].retention]
OLD_DAYS = 400

_AGE = """
DO $$ DECLARE t record; c int; d date; back bigint := %(days)s::bigint << 37; BEGIN
  FOR t IN SELECT * FROM partitioned() LOOP FOR c IN 1..3 LOOP FOR d IN
    SELECT (now() AT TIME ZONE 'UTC')::date - %(days)s + g FROM generate_series(-1, 1) g LOOP
    EXECUTE format('CREATE TABLE IF NOT EXISTS %%I PARTITION OF %%I FOR VALUES FROM (%%s) TO (%%s)',
      format('%%s_c%%s_%%s', t.name, c, to_char(d, 'YYYYMMDD')), t.name || '_c' || c, id_day(d), id_day(d + 1));
  END LOOP; END LOOP; END LOOP;
  UPDATE messages SET id = id - back;
  UPDATE message_results SET message = message - back;
  UPDATE records SET id = id - back, message = message - back;
  UPDATE deliveries_closed SET id = id - back, record = record - back, call = call - back;
  UPDATE deliveries SET id = id - back, record = record - back;
  UPDATE attempts SET id = id - back, delivery = delivery - back;
  UPDATE journal SET id = id - back;
  UPDATE streams SET record = record - back;
END $$
"""


def before() -> date:
    return datetime.now(UTC).date() - timedelta(days=365)


def the_day() -> str:
    """The partition of records in which everything of long ago stands."""
    return f"records_c{KLASS}_{datetime.now(UTC).date() - timedelta(days=OLD_DAYS):%Y%m%d}"


async def _work_off(led: Any, connector: int) -> None:
    while batch := (await dispatch.claim(led.core, connector, 200, 30.0)).deliveries:
        done = [
            Conclusion(delivery=d, target=State.DELIVERED, cause="receipt", outcome="Receipt", reference="R")
            for d in batch
        ]
        await dispatch.conclude(led.core, connector, done, [])


async def _long_ago(led: Any, make: Any, *, deliver: bool = True) -> dict[str, tuple[int, bytes, Any]]:
    """Thirty learners of long ago: ten in a second version, three cancelled, five with a version of today.

    Gives what is current of the living: key → (version, content, body).
    """
    connector = int(await led.connector("ministry", "ministry"))
    await led.school(make.draft().school)
    keys = [f"HS{n:02d}" for n in range(30)]
    await accept(led.core, [make.arrival(*(make.draft(k) for k in keys))])
    await accept(led.core, [make.arrival(*(make.draft(k, "Tên mới") for k in keys[:10]))])
    await accept(led.core, [make.arrival(*(make.draft(k, event="CANCEL") for k in keys[10:13]))])
    if deliver:
        await _work_off(led, connector)
    await led.owner.execute(_AGE % {"days": OLD_DAYS})
    await upkeep.seal(led.core)
    await accept(led.core, [make.arrival(*(make.draft(k, "Tên hôm nay") for k in keys[20:25]))])
    if deliver:
        await _work_off(led, connector)
    await upkeep.seal(led.core)
    return await _current(led)


async def _current(led: Any) -> dict[str, tuple[int, bytes, Any]]:
    rows = await led.rows(
        "SELECT s.key, r.version, r.content, r.body FROM streams s JOIN records r ON r.id = s.record WHERE s.event <> 'CANCEL'"
    )
    return {r["key"]: (r["version"], r["content"], r["body"]) for r in rows}


async def _old_rows(led: Any) -> int:
    return int(await led.value(f"SELECT count(*) FROM records WHERE class = {KLASS} AND id < id_day($1)", before()))


async def _all_well(led: Any, current: dict[str, tuple[int, bytes, Any]]) -> None:
    assert await _current(led) == current
    assert (await account(led.core)).balanced
    assert await upkeep.verify_seals(led.core) == []


def test_what_is_current_outlives_its_day_and_everything_else_goes(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            current = await _long_ago(led, make)
            assert len(current) == 27
            assert await _old_rows(led) == 43
            dropped = await upkeep.drop_partitions(led.core, KLASS, before())
            assert any(name.startswith(f"records_c{KLASS}_") for name in dropped)
            assert await _old_rows(led) == 0
            await _all_well(led, current)
            assert await led.value("SELECT count(*) FROM records WHERE disposition = 4") == 22
            # Once more: nothing left to do, and nothing carried twice.
            assert await upkeep.drop_partitions(led.core, KLASS, before()) == []
            assert await led.value("SELECT count(*) FROM records WHERE disposition = 4") == 22
            # History goes on from what was kept: the same content is known, another is the next version.
            await accept(led.core, [make.arrival(make.draft("HS00", "Tên mới"), make.draft("HS01", "Tên thứ ba"))])
            found = await led.rows(
                "SELECT version, disposition FROM records WHERE key IN ('HS00', 'HS01') ORDER BY id DESC LIMIT 2"
            )
            assert [tuple(r) for r in found] == [(3, 1), (2, 2)]
            # A cancelled entity's number goes on as well, though its content is gone.
            await accept(led.core, [make.arrival(make.draft("HS10"))])
            assert await led.value("SELECT version FROM streams WHERE key = 'HS10'") == 3
            assert (await account(led.core)).balanced

    asyncio.run(go())


def test_a_journal_altered_after_its_neighbours_were_dropped_is_still_found(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await _long_ago(led, make)
            for klass in (1, 2, 3):
                await upkeep.drop_partitions(led.core, klass, before())
            await upkeep.seal(led.core)
            assert await led.value("SELECT count(*) FROM journal WHERE id < id_day($1)", before()) == 0
            assert await led.value("SELECT count(*) FROM journal WHERE kind = 'retired'") >= 1
            assert await upkeep.verify_seals(led.core) == []
            await led.owner.execute("UPDATE journal SET actor = 'nobody' WHERE kind = 'carried'")
            assert len(await upkeep.verify_seals(led.core)) == 1
            # Nor may a dropped day's seal itself be touched: the chain runs over it.
            first = await led.value("SELECT min(number) FROM seals")
            await led.owner.execute("UPDATE seals SET root = sha256('x') WHERE number = $1", first)
            assert first in await upkeep.verify_seals(led.core)

    asyncio.run(go())


def test_a_day_is_not_dropped_while_a_delivery_needs_it_or_its_journal_is_not_sealed(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            current = await _long_ago(led, make, deliver=False)
            assert the_day() not in await upkeep.drop_partitions(led.core, KLASS, before())
            assert await _old_rows(led) == 43
            await _all_well(led, current)
            with pytest.raises(Exception, match="past"):
                await led.core.pool.fetchval(
                    "SELECT retire_day($1, $2)", KLASS, datetime.now(UTC).date() - timedelta(days=1)
                )

    asyncio.run(go())


def test_what_reads_the_whole_history_is_not_waited_for_and_holds_nobody_up(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            current = await _long_ago(led, make)
            async with led.core.pool.acquire() as reader, reader.transaction():
                await patient(reader)
                await reader.fetchval("SELECT count(*) FROM records")
                dropping = asyncio.create_task(upkeep.drop_partitions(led.core, KLASS, before()))
                await asyncio.sleep(0.3)
                await asyncio.wait_for(accept(led.core, [make.arrival(make.draft("HS99"))]), 8)
                assert the_day() not in await dropping
            await upkeep.drop_partitions(led.core, KLASS, before())
            assert await _old_rows(led) == 0
            found = await _current(led)
            assert found.pop("HS99")[0] == 1
            assert found == current

    asyncio.run(go())


_CHILD = """
import asyncio, sys
from datetime import date
from hub.kernel.ledger import upkeep
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router
from hub.kernel.store.db import open_pool

async def go():
    pool = await open_pool(sys.argv[1], high=2)
    core = Core(pool, Router([], {}), None, None, worker="child")
    await upkeep.carry_current(core, int(sys.argv[2]), date.fromisoformat(sys.argv[3]), batch=4)

asyncio.run(go())
"""


def test_killed_in_the_middle_it_goes_on_where_it_was(ledger: Any, make: Any) -> None:
    """A process that carries is killed again and again within its transaction, until one comes through."""

    async def go() -> None:
        async with ledger() as led:
            current = await _long_ago(led, make)
            argv = [sys.executable, "-c", _CHILD, led.url, str(KLASS), before().isoformat()]
            env = os.environ | {"PYTHONPATH": str(ROOT), "LIEN_THONG_FAILPOINTS": "carry.inside=kill@0.5"}
            killed = 0
            for seed in range(40):
                done = await asyncio.to_thread(
                    subprocess.run,
                    argv,
                    env=env | {"LIEN_THONG_FAILPOINT_SEED": str(seed)},
                    capture_output=True,
                    timeout=60,
                )
                await _all_well(led, current)
                if done.returncode == 0:
                    break
                assert done.returncode == -9, done.stderr.decode()
                killed += 1
            assert killed > 0
            assert await led.value("SELECT count(*) FROM records WHERE disposition = 4") == 22, "nothing carried twice"
            await upkeep.drop_partitions(led.core, KLASS, before())
            assert await _old_rows(led) == 0
            await _all_well(led, current)

    asyncio.run(go())


def test_a_version_that_arrives_meanwhile_wins(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await _long_ago(led, make)
            newer = [make.arrival(make.draft(f"HS{n:02d}", f"Tên lúc dọn {n}")) for n in range(10)]
            results = await asyncio.gather(
                upkeep.carry_current(led.core, KLASS, before(), batch=3), *(accept(led.core, [a]) for a in newer),
                upkeep.carry_current(led.core, KLASS, before(), batch=5),
            )  # fmt: skip
            assert len(results) == 12
            rows = await led.rows(
                "SELECT s.key, s.version, r.version AS stands, r.disposition FROM streams s JOIN records r ON r.id = s.record WHERE s.key < 'HS10'"
            )
            assert {(r["version"], r["stands"], r["disposition"]) for r in rows} == {(3, 3, 1)}
            assert (
                await led.value(
                    "SELECT count(*) FROM (SELECT key FROM records WHERE disposition = 4 GROUP BY key HAVING count(*) > 1) x"
                )
                == 0
            )

    asyncio.run(go())


def test_the_pack_of_a_copy_is_its_records_while_that_is_there_and_afterwards_says_what_remains(
    ledger: Any, make: Any
) -> None:
    async def go() -> None:
        async with ledger() as led:
            await _long_ago(led, make)
            (old,) = [r["record"] for r in await led.rows("SELECT record FROM streams WHERE key = 'HS15'")]
            await upkeep.carry_current(led.core, KLASS, before())
            copy = await led.value("SELECT record FROM streams WHERE key = 'HS15'")
            assert copy != old and await evidence.find(led.core, "HS15", "learner") == copy
            # The day is still there: the copy says nothing that its record does not.
            found = await evidence.gather(led.core, copy, EVERYWHERE)
            assert found is not None and found.numbers == [old]
            assert pack(found) == pack(await evidence.gather(led.core, old, EVERYWHERE))  # type: ignore[arg-type]
            assert not any("a copy of the record" in line for line in check(pack(found)).lines)
            # What is sent of it since is sent of the copy, and is in the record's pack.
            await led.owner.execute("UPDATE deliveries_closed SET record = $1 WHERE record = $2", copy, old)
            again = await evidence.gather(led.core, old, EVERYWHERE)
            assert again is not None and [d["record"] for d in again.deliveries] == [copy]
            await upkeep.drop_partitions(led.core, KLASS, before())
            assert await evidence.gather(led.core, old, EVERYWHERE) is None
            left = await evidence.gather(led.core, copy, EVERYWHERE)
            assert left is not None and left.numbers == [copy] and left.message is None
            told = check(pack(left))
            assert told.state == "proven", "what it holds was written down when it was made"
            assert any("a copy of the record" in line for line in told.lines)

    asyncio.run(go())
