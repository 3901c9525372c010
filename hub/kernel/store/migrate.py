"""Numbered SQL migrations with checksums, each in one transaction. It must never run two at once or skip one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import asyncpg

FOLDER = Path(__file__).parent / "migrations"


class MigrationChanged(Exception):
    """Tệp migration đã áp dụng bị sửa. / An applied migration's file was changed: restore it and add a new one."""


class SchemaBehind(Exception):
    """Lược đồ cơ sở dữ liệu chưa có đủ migration của phiên bản này. / The database's schema lacks migrations of this version."""


async def current(connection: Any) -> None:
    """Return where the schema has all that this code knows; more is no harm. Raises `SchemaBehind`."""
    done = set()
    if await connection.fetchval("SELECT to_regclass('hub.migrations')") is not None:
        done = {r["name"] for r in await connection.fetch("SELECT name FROM hub.migrations")}
    if lacking := sorted({path.name for path in FOLDER.glob("[0-9]*.sql")} - done):
        raise SchemaBehind(lacking[0])


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing, in order, and return the names applied. Raises `MigrationChanged`."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock(7000)")
        await connection.execute("CREATE SCHEMA IF NOT EXISTS hub")
        await connection.execute("SET search_path = hub")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, checksum text NOT NULL,"
            " at timestamptz NOT NULL DEFAULT now())"
        )
        done = {r["name"]: r["checksum"] for r in await connection.fetch("SELECT name, checksum FROM migrations")}
        applied = []
        for path in sorted(FOLDER.glob("[0-9]*.sql")):
            text = path.read_text(encoding="utf-8")
            checksum = hashlib.sha256(text.encode()).hexdigest()
            if path.name in done:
                if done[path.name] != checksum:
                    raise MigrationChanged(path.name)
                continue
            async with connection.transaction():
                await connection.execute(text)
                await connection.execute("INSERT INTO migrations (name, checksum) VALUES ($1, $2)", path.name, checksum)
            applied.append(path.name)
        return applied
    finally:
        await connection.close()
