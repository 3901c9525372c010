"""A real PostgreSQL with the hub's schema, one connector `portal`, and hands to put deliveries into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from hub.embedded.area import open_area, remove_area
from hub.embedded.postgres import HUB_DATABASE, OWNER, EmbeddedPostgres
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router
from hub.kernel.store.db import open_pool
from hub.kernel.store.migrate import migrate


class _NoCodes:
    """Recovery knows no codes."""

    def overlay(self, approved: list[Any]) -> None:
        """Nothing to take."""


class Bench:
    """A ledger core on an empty database, and a worker made up: what is ready is delivered, or begins to wait again."""

    def __init__(self, core: Core, owner: Any) -> None:
        self.core = core
        self._owner = owner
        self._ids = count(1)
        self.rung: list[str] = []
        core.on_commit = self.rung.append

    async def connector(self, name: str = "portal") -> int:
        number = await self.sql("INSERT INTO connectors (name, system, settings) VALUES ($1, 'x', '{}') RETURNING id", name)
        await self.core.refresh()
        return int(number)

    async def sql(self, text: str, *args: Any) -> Any:
        return await self._owner.fetchval(text, *args)

    async def wait(self, n: int, *, connector: int = 1, due_s: float = 300.0, since_s: float = -10.0) -> list[int]:
        """Deliveries that wait, due `due_s` from now, the first one first."""
        ids = [next(self._ids) for _ in range(n)]
        await self._owner.executemany(
            "INSERT INTO deliveries (id, record, connector, class, state, rank, due_at, since, flow, key, cause)"
            " VALUES ($1::bigint, 1, $2, 2, 4, $1::bigint, now() + ($3::float8 + $1::bigint * 0.001) * interval '1 second',"
            " now() + $4::float8 * interval '1 second', 'f', 'k' || $1::bigint, 'try_later')",
            [(i, connector, due_s, since_s) for i in ids],
        )
        return ids

    async def states(self, connector: int = 1) -> dict[int, int]:
        """How many deliveries stand in each open state."""
        rows = await self._owner.fetch("SELECT state, count(*) AS n FROM deliveries WHERE connector = $1 GROUP BY state", connector)
        return {r["state"]: r["n"] for r in rows}

    async def delivered(self, connector: int = 1) -> int:
        return int(await self.sql("SELECT count(*) FROM deliveries_closed WHERE connector = $1 AND state = 7", connector))

    async def work(self, up: bool, connector: int = 1, due_s: float = 300.0) -> int:
        """What a worker would make of all that is ready. Returns how many it tried."""
        if up:
            done = await self._owner.fetch(
                "WITH gone AS (DELETE FROM deliveries WHERE connector = $1 AND state = 2 RETURNING *)"
                " INSERT INTO deliveries_closed (id, class, seq, record, connector, state, attempts, created_at, flow, key, cause)"
                " SELECT id, class, seq, record, connector, 7, attempts, created_at, flow, key, 'receipt' FROM gone RETURNING id",
                connector,
            )
        else:
            done = await self._owner.fetch(
                "UPDATE deliveries SET state = 4, cause = 'try_later', since = clock_timestamp(),"
                " due_at = clock_timestamp() + $2::float8 * interval '1 second' WHERE connector = $1 AND state = 2 RETURNING id",
                connector,
                due_s,
            )
        return len(done)

    async def end_lease(self) -> None:
        """As if the lease's time were up, a minute ago."""
        await self.sql("UPDATE recoveries SET until = now() - interval '60 seconds'")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    data = tmp_path_factory.mktemp("recovery") / "data"
    postgres = EmbeddedPostgres(open_area(data), shared_buffers_mb=32)
    postgres.start()
    try:
        asyncio.run(postgres.create())
        asyncio.run(migrate(postgres.dsn(HUB_DATABASE, OWNER).url))
        yield postgres
    finally:
        postgres.stop()
        remove_area(data)


@pytest.fixture
def bench(server: EmbeddedPostgres) -> Any:
    """Opens a bench: `async with bench() as b`."""

    @asynccontextmanager
    async def opened(worker: str = "worker@test") -> AsyncIterator[Bench]:
        # What works as hub_app is proved to be allowed to it; the test's own hand is the owner's.
        async with (
            await open_pool(server.dsn().url, high=16) as pool,
            await open_pool(server.dsn(HUB_DATABASE, OWNER).url, high=2) as owner,
        ):
            await owner.execute("TRUNCATE deliveries, deliveries_closed, recoveries, journal, connectors RESTART IDENTITY CASCADE")
            core = Core(pool, Router({}, {}), _NoCodes(), lambda data: data.hex(), worker=worker)  # type: ignore[arg-type]
            bench = Bench(core, owner)
            await bench.connector()
            yield bench

    return opened
