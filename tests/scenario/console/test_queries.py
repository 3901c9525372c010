"""The console's statements: they read, every one of them runs, and none needs to walk through history."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import asyncpg

STORE = Path(__file__).resolve().parents[3] / "hub" / "kernel" / "store" / "sql" / "console.sql"
STATEMENTS = {
    part.partition("\n")[0].strip(): part.partition("\n")[2].strip()
    for part in re.split(r"^-- name: ", STORE.read_text(encoding="utf-8"), flags=re.M)[1:]
}
HISTORY = ("messages", "records", "deliveries_closed", "calls", "replies", "attempts", "journal")


def test_every_statement_is_valid_and_changes_nothing(ledger) -> None:
    async def run() -> None:
        async with ledger() as one, one.core.pool.acquire() as connection:
            for name, text in STATEMENTS.items():
                prepared = await connection.prepare(text)
                async with connection.transaction(readonly=True):
                    await prepared.fetch(*[None] * len(prepared.get_parameters()))
                assert not re.search(r"\b(INSERT|UPDATE|DELETE|TRUNCATE|LOCK)\b", text), name

    asyncio.run(run())


def test_growing_tables_are_read_through_an_index_or_from_their_end(ledger) -> None:
    """With sequential scans forbidden, no plan may still hold one of a table that grows for ever."""

    async def run() -> None:
        async with ledger() as one:
            # Its own connection: asyncpg's cache of prepared statements would not survive DEALLOCATE.
            plain = await asyncpg.connect(
                one.url, statement_cache_size=0, server_settings={"search_path": "hub", "enable_seqscan": "off"}
            )
            try:
                await plain.execute("SET plan_cache_mode = force_generic_plan")
                for name, text in STATEMENTS.items():
                    count = len(set(re.findall(r"\$(\d+)", text)))
                    await plain.execute(f"PREPARE p_{name} AS {text}")
                    rows = await plain.fetch(
                        f"EXPLAIN EXECUTE p_{name}" + (f"({', '.join(['NULL'] * count)})" if count else "")
                    )
                    plan = "\n".join(r[0] for r in rows)
                    walked = [t for t in HISTORY if re.search(rf"Seq Scan on {t}_c\d", plan)]
                    assert walked == [], f"{name} walks through {walked}"
            finally:
                await plain.close()

    asyncio.run(run())
