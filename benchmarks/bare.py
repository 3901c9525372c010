"""The bare limit of storing: the very rows the ledger wrote, copied into tables without indexes. fsync is on for both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from benchmarks.rig import Stage
from hub.kernel.ledger.rows import DELIVERY_COLUMNS, MESSAGE_COLUMNS, RECORD_COLUMNS
from hub.kernel.store.db import open_pool

KEY_COLUMNS = ("digest", "message", "body_digest")
TABLES = {
    "intake_keys": KEY_COLUMNS,
    "messages": MESSAGE_COLUMNS,
    "records": RECORD_COLUMNS,
    "deliveries": DELIVERY_COLUMNS,
}
_JSON = {"removed", "attributes", "body"}


async def prepare(stage: Stage) -> None:
    """Tables of the same columns, defaults included, without keys, indexes or checks."""
    await stage.owner.execute("CREATE SCHEMA IF NOT EXISTS bare")
    for table in TABLES:
        await stage.owner.execute(f"CREATE TABLE IF NOT EXISTS bare.{table} (LIKE hub.{table} INCLUDING DEFAULTS)")
    await stage.owner.execute(
        "CREATE TABLE IF NOT EXISTS bare.mqtt_keys (digest uuid, message bigint, body_digest bytea)"
    )
    await stage.owner.execute("CREATE TABLE IF NOT EXISTS bare.mqtt_messages (id bigint, topic text, body bytea)")
    await stage.owner.execute(
        "CREATE TABLE IF NOT EXISTS bare.one (at timestamptz DEFAULT clock_timestamp(), body bytea)"
    )


async def written(stage: Stage, since: int, per_batch: int) -> list[dict[str, list[tuple[Any, ...]]]]:
    """The rows of messages with ids above `since`, ready for COPY again, in batches of `per_batch` messages."""
    ids = [r[0] for r in await stage.owner.fetch("SELECT id FROM messages WHERE id > $1 ORDER BY id", since)]
    where = {
        "intake_keys": "message BETWEEN $1 AND $2", "messages": "id BETWEEN $1 AND $2", "records": "message BETWEEN $1 AND $2",
        "deliveries": "record IN (SELECT id FROM records WHERE message BETWEEN $1 AND $2)",
    }  # fmt: skip
    batches = []
    for first in range(0, len(ids), per_batch):
        mine = ids[first : first + per_batch]
        batch = {}
        for table, columns in TABLES.items():
            found = await stage.owner.fetch(
                f"SELECT {', '.join(columns)} FROM {table} WHERE {where[table]}", mine[0], mine[-1]
            )
            batch[table] = [_plain(table, columns, r) for r in found]
        batches.append(batch)
    return batches


def _plain(table: str, columns: Sequence[str], row: Any) -> tuple[Any, ...]:
    """A row as the ledger hands it over: JSON columns as ready bytes."""
    ready = [
        msgspec.json.encode(row[c])
        if c in _JSON and row[c] is not None and not (table == "messages" and c == "body")
        else row[c]
        for c in columns
    ]
    return tuple(ready)


async def copy(stage: Stage, batches: list[dict[str, list[tuple[Any, ...]]]], lanes: int) -> float:
    """Copy the batches, one transaction each, over `lanes` connections; gives the seconds it took."""
    waiting = list(reversed(batches))
    async with await open_pool(stage.rig.postgres.dsn(stage.name, "hub_owner").url, low=lanes, high=lanes) as pool:

        async def lane() -> None:
            async with pool.acquire() as connection:
                while waiting:
                    batch = waiting.pop()
                    async with connection.transaction():
                        for table, columns in TABLES.items():
                            if batch[table]:
                                await connection.copy_records_to_table(
                                    table, schema_name="bare", records=batch[table], columns=columns
                                )

        started = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(lanes)))
        return time.perf_counter() - started
