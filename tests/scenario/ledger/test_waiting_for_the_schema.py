"""A process that is started beside a database still being made, or still being brought up to date, waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from hub import wiring
from hub.embedded.postgres import ADMIN, APP, OWNER, EmbeddedPostgres
from hub.kernel.store.migrate import SchemaBehind, migrate
from hub.settings import Settings
from hub.wiring import open_house

NAME, ASIDE = "lt_unmade", "lt_unmade_aside"


async def _as_admin(postgres: EmbeddedPostgres, *statements: str, database: str = "postgres") -> None:
    admin = await asyncpg.connect(postgres.dsn(database, ADMIN).url)
    try:
        for statement in statements:
            await admin.execute(statement)
    finally:
        await admin.close()


async def _create(postgres: EmbeddedPostgres, name: str) -> None:
    await _as_admin(postgres, f"CREATE DATABASE {name} OWNER {OWNER}", f"GRANT CONNECT ON DATABASE {name} TO {APP}")


async def _drop(postgres: EmbeddedPostgres) -> None:
    await _as_admin(postgres, *(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (NAME, ASIDE)))


def _settings(postgres: EmbeddedPostgres, folder: Path) -> Settings:
    return Settings(
        data_dir=folder, master_key_file=folder / "master.key", database_url=SecretStr(postgres.dsn(NAME, APP).url)
    )


def test_nobody_works_before_the_schema_is_whole(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    opened: list[float] = []

    async def process() -> None:
        async with open_house(_settings(postgres, tmp_path), "test") as house:
            opened.append(asyncio.get_running_loop().time())
            assert house.core.connectors == {}

    async def go() -> None:
        await _drop(postgres)
        waiting = asyncio.create_task(process())
        await asyncio.sleep(0.5)
        assert not waiting.done(), "there is no database yet"
        await _create(postgres, NAME)
        await asyncio.sleep(0.5)
        assert not waiting.done(), "it is empty yet"
        # Made aside, so that it is at no moment seen whole.
        await _create(postgres, ASIDE)
        await migrate(postgres.dsn(ASIDE, OWNER).url)
        await _as_admin(
            postgres,
            "UPDATE hub.migrations SET name = '-' || name WHERE name = (SELECT max(name) FROM hub.migrations)",
            database=ASIDE,
        )
        await _as_admin(postgres, f"DROP DATABASE {NAME} WITH (FORCE)", f"ALTER DATABASE {ASIDE} RENAME TO {NAME}")
        await asyncio.sleep(0.5)
        assert not waiting.done() and not opened, "it lacks one migration yet"
        await _as_admin(
            postgres, "UPDATE hub.migrations SET name = substr(name, 2) WHERE name LIKE '-%'", database=NAME
        )
        await asyncio.wait_for(waiting, 20)

    try:
        asyncio.run(go())
    finally:
        asyncio.run(_drop(postgres))
    assert opened


def test_patience_ends_and_says_what_is_missing(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "_DATABASE_PATIENCE_S", 0.5)

    async def go() -> Any:
        await _drop(postgres)
        await _create(postgres, NAME)
        async with open_house(_settings(postgres, tmp_path), "test"):
            pass

    try:
        with pytest.raises(SchemaBehind, match="0001_ledger"):
            asyncio.run(go())
    finally:
        asyncio.run(_drop(postgres))
