"""The embedded PostgreSQL, for real."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psycopg2
import pytest

from hub.embedded.area import AreaError, open_area, remove_area
from hub.embedded.postgres import (
    AIRFLOW,
    AIRFLOW_DATABASE,
    APP,
    HUB_DATABASE,
    OWNER,
    Dsn,
    EmbeddedPostgres,
    PostgresError,
)
from hub.embedded.process import processes_in, started_at, wait_until
from hub.embedded.supervisor import Supervisor


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(open_area(data_dir), shared_buffers_mb=32)
    yield server
    server.stop()
    assert processes_in(server.data) == []


def ask(dsn: Dsn, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(dsn.url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def modes(path: Path) -> dict[Path, int]:
    return {parent: parent.stat().st_mode for parent in [path, *path.parents]}


def test_roles_databases_and_settings(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    asyncio.run(postgres.create())
    asyncio.run(postgres.create())  # a repeat changes nothing
    assert ask(postgres.dsn(), "SELECT current_user || '@' || current_database()") == f"{APP}@{HUB_DATABASE}"
    assert ask(postgres.dsn(HUB_DATABASE, OWNER), "SELECT current_user") == OWNER
    assert ask(postgres.dsn(AIRFLOW_DATABASE, AIRFLOW), "SELECT current_user") == AIRFLOW
    with psycopg2.connect(postgres.dsn(AIRFLOW_DATABASE, AIRFLOW).url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    wanted = {
        "synchronous_commit": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "jit": "off",
        "password_encryption": "scram-sha-256",
    }
    assert {name: ask(postgres.dsn(), f"SHOW {name}") for name in wanted} == wanted


def test_nobody_gets_in_without_the_right_password_and_database(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    asyncio.run(postgres.create())
    right = postgres.dsn()
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(Dsn(right.host, right.database, right.role, "wrong"), "SELECT 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ask(postgres.dsn(AIRFLOW_DATABASE, APP), "SELECT 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ask(postgres.dsn(HUB_DATABASE, AIRFLOW), "SELECT 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ask(right, "CREATE TABLE public.mine (a int)")
    assert right.password not in repr(right)


def test_a_killed_server_keeps_its_data(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    asyncio.run(postgres.create())
    ask(postgres.dsn(HUB_DATABASE, OWNER), "CREATE TABLE kept AS SELECT 7 AS a")
    postgres.kill()
    assert (postgres.data / "postmaster.pid").exists()
    postgres.start()
    assert ask(postgres.dsn(HUB_DATABASE, OWNER), "SELECT a FROM kept") == 7


def test_a_recycled_pid_does_not_keep_it_from_starting(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.kill()
    identity = _owner(postgres.data)
    drop = {"user": identity[0], "group": identity[1], "extra_groups": []} if os.geteuid() == 0 else {}
    bystander = subprocess.Popen(["sleep", "60"], cwd="/", **drop)  # type: ignore[call-overload]
    try:
        pid_file = postgres.data / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        postgres.start()
        assert ask(postgres.dsn("postgres", "hub_admin"), "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def test_an_orphaned_server_is_ended_before_a_new_one_starts(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    postgres.start()
    old = postgres.pid
    assert old is not None
    other = EmbeddedPostgres(open_area(data_dir), shared_buffers_mb=32)
    try:
        other.start()
        assert other.pid != old
        assert started_at(old) is None
    finally:
        other.stop()


def test_nothing_outside_its_folders_is_opened(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    before = modes(home)
    area = open_area(home / "hub" / "data")
    server = EmbeddedPostgres(area, shared_buffers_mb=32)
    try:
        server.start()
        assert modes(home) == before
        owner = _owner(Path(f"/proc/{server.pid}"))[0]
        assert owner == (area.identity[0] if area.identity else os.geteuid())
        assert owner != 0
        assert len(os.fsencode(server.socket)) <= 107
    finally:
        server.stop()
        remove_area(area.data_dir)
    assert not area.root.exists()


def test_a_long_path_still_gets_a_socket(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long-" * 12) / ("path-" * 12)
    area = open_area(data_dir)
    server = EmbeddedPostgres(area, shared_buffers_mb=32)
    try:
        server.start()
        assert ask(server.dsn("postgres", "hub_admin"), "SELECT 1") == 1
    finally:
        server.stop()
        removed = remove_area(data_dir)
    assert removed
    assert not any(folder.exists() for folder in removed)


def test_what_is_not_ours_is_neither_used_nor_removed(data_dir: Path) -> None:
    area = open_area(data_dir)
    server = EmbeddedPostgres(area, shared_buffers_mb=32)
    server.data.mkdir(parents=True)
    (server.data / "precious").write_text("x")
    with pytest.raises(PostgresError, match="in the way"):
        server.start()
    assert (server.data / "precious").read_text() == "x"
    mark = area.root / ".lien-thong-area"
    mark.write_text("/another/data/folder")
    with pytest.raises(AreaError, match="not ours"):
        open_area(data_dir)
    assert area.root not in remove_area(data_dir)
    assert server.data.exists()
    shutil.rmtree(area.root)


def test_the_supervisor_brings_it_back(data_dir: Path) -> None:
    async def run() -> None:
        server = EmbeddedPostgres(open_area(data_dir), shared_buffers_mb=32)
        server.prepare()
        async with Supervisor(data_dir) as supervisor:
            await supervisor.add(server.spec(), wait=True)
            await server.create()
            connection = await asyncpg.connect(server.dsn(HUB_DATABASE, OWNER).url)
            await connection.execute("CREATE TABLE kept AS SELECT 7 AS a")
            first = supervisor.pid("postgres")
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await asyncio.to_thread(wait_until, lambda: supervisor.pid("postgres") not in (first, None), 10)
            await asyncio.to_thread(wait_until, lambda: supervisor.state("postgres") == "up", 10)
            connection = await asyncpg.connect(server.dsn(HUB_DATABASE, OWNER).url)
            assert await connection.fetchval("SELECT a FROM kept") == 7
            await connection.close()
            assert supervisor.status()["children"]["postgres"]["restarts"] == 1
        assert processes_in(server.data) == []

    asyncio.run(run())
