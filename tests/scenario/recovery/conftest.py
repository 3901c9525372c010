"""A ledger with one connector `portal`, and hands to put deliveries into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import asyncpg
import pytest
import uvicorn
from fastapi import FastAPI

from hub.embedded.airflow import EmbeddedAirflow
from hub.embedded.postgres import ADMIN, AIRFLOW, Dsn, EmbeddedPostgres


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[int]:
    """An application behind a port of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


class QuickToNotice(EmbeddedAirflow):
    """Notices within seconds what was killed."""

    def env(self, inherited: Any = None) -> dict[str, str]:
        return super().env(inherited) | {
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
            # Shorter, a scheduler on a busy machine takes itself for dead and its tasks for orphans, again and again.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        }


class Bench:
    """A ledger core on an empty database, and a worker made up: what is ready is delivered, or begins to wait again."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.core = core = ledger.core
        self._owner = ledger.owner
        self._ids = count(1)
        self.rung: list[str] = []
        core.on_commit = self.rung.append

    async def connector(self, name: str = "portal") -> int:
        return int(await self._ledger.connector(name, "x"))

    async def sql(self, text: str, *args: Any) -> Any:
        return await self._owner.fetchval(text, *args)

    async def wait(self, n: int, *, connector: int = 1, due_s: float = 300.0, since_s: float = -10.0) -> list[int]:
        """Deliveries that wait, due `due_s` from now, the first one first."""
        ids = [next(self._ids) for _ in range(n)]
        await self._owner.executemany(
            "INSERT INTO deliveries (id, record, connector, class, state, rank, due_at, since, flow, key, cause)"
            " VALUES ($1::bigint, 1, $2, 2, 4, $1::bigint,"
            " now() + ($3::float8 + $1::bigint * 0.001) * interval '1 second',"
            " now() + $4::float8 * interval '1 second', 'f', 'k' || $1::bigint, 'try_later')",
            [(i, connector, due_s, since_s) for i in ids],
        )
        return ids

    async def states(self, connector: int = 1) -> dict[int, int]:
        """How many deliveries stand in each open state."""
        rows = await self._owner.fetch(
            "SELECT state, count(*) AS n FROM deliveries WHERE connector = $1 GROUP BY state", connector
        )
        return {r["state"]: r["n"] for r in rows}

    async def delivered(self, connector: int = 1) -> int:
        return int(
            await self.sql("SELECT count(*) FROM deliveries_closed WHERE connector = $1 AND state = 7", connector)
        )

    async def work(self, up: bool, connector: int = 1, due_s: float = 300.0) -> int:
        """What a worker would make of all that is ready. Returns how many it tried."""
        if up:
            done = await self._owner.fetch(
                "WITH gone AS (DELETE FROM deliveries WHERE connector = $1 AND state = 2 RETURNING *)"
                " INSERT INTO deliveries_closed"
                " (id, class, seq, record, connector, state, attempts, created_at, flow, key, cause)"
                " SELECT id, class, seq, record, connector, 7, attempts, created_at, flow, key, 'receipt' FROM gone"
                " RETURNING id",
                connector,
            )
        else:
            done = await self._owner.fetch(
                "UPDATE deliveries SET state = 4, cause = 'try_later', since = clock_timestamp(),"
                " due_at = clock_timestamp() + $2::float8 * interval '1 second'"
                " WHERE connector = $1 AND state = 2 RETURNING id",
                connector,
                due_s,
            )
        return len(done)

    async def end_lease(self) -> None:
        """As if the lease's time were up, a minute ago."""
        await self.sql("UPDATE recoveries SET until = now() - interval '60 seconds'")


@pytest.fixture
def bench(ledger: Any) -> Any:
    """Opens a bench, emptied: `async with bench() as b`."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Bench]:
        # What works as hub_app is proved to be allowed to it; the test's own hand is the owner's.
        async with ledger(worker="worker@test", high=16) as opened:
            for table in (
                "deliveries",
                "deliveries_closed",
                "recoveries",
                "quotas",
                "connector_revisions",
                "connectors",
                "journal",
            ):
                await opened.owner.execute(f"DELETE FROM {table}")
            await opened.owner.execute("ALTER TABLE connectors ALTER COLUMN id RESTART")
            bench = Bench(opened)
            await bench.connector()
            yield bench

    return opened


@pytest.fixture
def airflow_database(postgres: EmbeddedPostgres) -> Iterator[Dsn]:
    """A database of its own for one Airflow: what another left in its, runs that were killed above all, is none of this one's."""
    name = "airflow_of_a_test"

    async def order(*statements: str) -> None:
        admin = await asyncpg.connect(postgres.dsn("postgres", ADMIN).url)
        for statement in statements:
            await admin.execute(statement)
        await admin.close()

    drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
    asyncio.run(order(drop, f"CREATE DATABASE {name} OWNER {AIRFLOW}"))
    yield postgres.dsn(name, AIRFLOW)
    asyncio.run(order(drop))
