"""What every test may use: one real PostgreSQL for the session, and a fresh copy of the hub's schema for each test that asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import asyncpg
import pytest

from hub.embedded.area import open_area, remove_area
from hub.embedded.postgres import ADMIN, APP, OWNER, EmbeddedPostgres
from hub.gate_topics import PEOPLE_TAKERS
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import add_connector
from hub.kernel.router import Router, load_flows
from hub.kernel.store.db import open_pool
from hub.kernel.store.migrate import migrate
from hub.keys import Keys
from hub.wiring import FLOWS, hasher_of
from mappings.engine import Catalogue

_TEMPLATE = "lt_template"
_numbers = count(1)


@dataclass
class Ledger:
    """A core on its own database, with the owner's hands for looking and for making trouble."""

    core: Core
    keys: Keys
    owner: Any
    database: str
    url: str

    async def value(self, text: str, *args: Any) -> Any:
        return await self.owner.fetchval(text, *args)

    async def rows(self, text: str, *args: Any) -> list[Any]:
        return list(await self.owner.fetch(text, *args))

    async def school(self, code: str, name: str = "Trường thử", ward: str = "11500") -> None:
        await self.owner.execute(
            "INSERT INTO schools (code, name, ward, level) VALUES ($1, $2, $3, '03') ON CONFLICT DO NOTHING",
            code,
            name,
            ward,
        )
        await self.core.refresh()

    async def connector(
        self, name: str, system: str, settings: dict[str, Any] | None = None, secrets: dict[str, str] | None = None
    ) -> int:
        number = await add_connector(self.core, self.keys, "test", name, system, settings or {}, secrets or {})
        assert number is not None
        return number


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """PostgreSQL as `make run` starts it, with a template database that holds the hub's schema."""
    data = tmp_path_factory.mktemp("postgres") / "data"
    server = EmbeddedPostgres(open_area(data), shared_buffers_mb=64)
    server.start()

    async def prepare() -> None:
        await server.create()
        admin = await asyncpg.connect(server.dsn("postgres", ADMIN).url)
        await admin.execute(f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}")
        await admin.close()
        await migrate(server.dsn(_TEMPLATE, OWNER).url)

    try:
        asyncio.run(prepare())
        yield server
    finally:
        server.stop()
        remove_area(data)


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys(bytes(range(32)))


async def _create(postgres: EmbeddedPostgres, name: str) -> None:
    admin = await asyncpg.connect(postgres.dsn("postgres", ADMIN).url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} OWNER {OWNER} STRATEGY FILE_COPY")
    await admin.execute(f"GRANT CONNECT ON DATABASE {name} TO {APP}")
    await admin.close()


@pytest.fixture(scope="session")
def _shared(postgres: EmbeddedPostgres) -> str:
    asyncio.run(_create(postgres, "lt_shared"))
    return "lt_shared"


_EMPTY = """
DO $$ DECLARE t text; BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'hub_app';
  -- Every table there is, whatever points at what: keys are not asked while rows are thrown away.
  SET session_replication_role = replica;
  FOR t IN SELECT oid::regclass FROM pg_class
    WHERE relnamespace = 'hub'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'migrations' LOOP
    EXECUTE format('DELETE FROM %s', t);
  END LOOP;
END $$;
"""


@pytest.fixture
def database(postgres: EmbeddedPostgres, _shared: str) -> str:
    """The name of a database with the hub's schema and no rows: emptied, which is quicker than made anew."""

    async def empty() -> None:
        owner = await asyncpg.connect(postgres.dsn(_shared, ADMIN).url, server_settings={"search_path": "hub"})
        await owner.execute(_EMPTY)
        await owner.close()

    asyncio.run(empty())
    return _shared


@pytest.fixture
def own_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of the test's own, for tests that change the schema's shape."""
    name = f"lt_test_{next(_numbers)}"
    asyncio.run(_create(postgres, name))
    yield name

    async def drop() -> None:
        admin = await asyncpg.connect(postgres.dsn("postgres", ADMIN).url)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()

    asyncio.run(drop())


OpenLedger = Callable[..., AbstractAsyncContextManager[Ledger]]


@pytest.fixture
def ledger(postgres: EmbeddedPostgres, database: str, keys: Keys) -> OpenLedger:
    """Opens a core as hub_app on the test's database: `async with ledger() as led`. May be opened several times at once."""

    @asynccontextmanager
    async def opened(worker: str = "test", high: int = 8) -> AsyncIterator[Ledger]:
        url = postgres.dsn(database, APP).url
        async with (
            await open_pool(url, high=high) as pool,
            await open_pool(postgres.dsn(database, OWNER).url, high=2) as owner,
        ):
            core = Core(pool, Router(load_flows(FLOWS), {}), Catalogue.load(), hasher_of(keys), worker=worker)
            core.people_takers = PEOPLE_TAKERS
            await core.refresh()
            core.router.bind(core.connectors)
            yield Ledger(core, keys, owner, database, url)

    return opened
