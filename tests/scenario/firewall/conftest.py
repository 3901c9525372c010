"""A database in which nothing is compressed, so that its files can be searched; a gateway, Redis and Mosquitto on disk."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis
import uvicorn
from pydantic import SecretStr

from hub.api.auth import secret_digest
from hub.app import create
from hub.embedded.postgres import ADMIN, APP, EmbeddedPostgres
from hub.embedded.process import free_port
from hub.embedded.redis import find_server as find_redis
from hub.kernel.access import Scope
from hub.kernel.ledger import parties
from hub.kernel.ledger.gates import SIGNING
from hub.keys import Keys
from hub.settings import load
from tests import brokers

SCHOOL = "31HP0000001"

_PLAIN = """
DO $$ DECLARE c record; BEGIN
  FOR c IN SELECT a.attrelid::regclass AS t, a.attname AS n FROM pg_attribute a JOIN pg_class k ON k.oid = a.attrelid
    WHERE k.relnamespace = 'hub'::regnamespace AND k.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attlen = -1 AND a.attstorage <> 'p' ORDER BY k.relkind DESC LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE EXTERNAL', c.t, c.n);
  END LOOP;
END $$;
"""


@pytest.fixture
def database(postgres: EmbeddedPostgres, own_database: str) -> str:
    async def plain() -> None:
        owner = await asyncpg.connect(postgres.dsn(own_database, ADMIN).url, server_settings={"search_path": "hub"})
        await owner.execute(_PLAIN)
        await owner.close()

    asyncio.run(plain())
    return own_database


class Store:
    """A server of ours with its folder."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, port: int, url: str) -> None:
        self.process, self.folder, self.port, self.url = process, folder, port, url


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Store]:
    if brokers.MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path / "broker"
    with brokers.broker(
        folder, "persistence true", f"persistence_location {folder}/", "autosave_interval 1", "max_queued_messages 100000",
        "log_type error", "log_type warning", "log_type notice", "message_size_limit 20000000",
    ) as made:  # fmt: skip
        yield Store(made.process, folder, made.port, "")


@pytest.fixture
def redis_server(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path / "redis"
    folder.mkdir()
    path = tmp_path_factory.mktemp("r") / "s"
    process = subprocess.Popen(
        [str(find_redis()), "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--rdbcompression", "no",
         "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 10
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    yield Store(process, folder, 0, f"unix://{path}")
    process.terminate()
    process.wait(10)


def saved(store: Store) -> None:
    """Have Redis write everything it holds to its folder."""
    client = redis.Redis.from_url(store.url)
    client.save()
    client.close()


class Gateway:
    def __init__(self, url: str, keys: Keys, log: Any) -> None:
        self.url, self.keys, self.log = url, keys, log

    async def register(self, core: Any, device: str, family: str, profile: str, secret: str, signing: str = "") -> None:  # fmt: skip
        sealed = self.keys.encrypt(secret.encode(), device.encode())
        await parties.add_device(
            core, "test", device, family=family, profile=profile, title=device, school=SCHOOL, entrance="Cổng chính",
            direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=sealed,
            signing=self.keys.encrypt(signing.encode(), SIGNING) if signing else None,
        )  # fmt: skip


@pytest.fixture
def pictures() -> dict[str, Any]:
    """The settings of pictures: none is kept, as by default."""
    return {}


@pytest.fixture
def gateway(
    ledger: Any, postgres: EmbeddedPostgres, database: str, redis_server: Store, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, pictures: dict[str, Any],
) -> Iterator[Gateway]:  # fmt: skip
    caplog.set_level("DEBUG")
    key_file = tmp_path / "keys" / "master.key"
    keys = Keys.open(key_file, tmp_path / "data")

    async def prepare() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(SCHOOL)
            await parties.add_client(
                led.core, "test", "c1", "c1", secret_digest(keys, "secret"), secret_digest(keys, "key"),
                Scope("department"), ["push", "query", "xroad"],
            )  # fmt: skip

    asyncio.run(prepare())
    port = free_port()
    settings = load(
        data_dir=tmp_path / "data", master_key_file=key_file, database_url=SecretStr(postgres.dsn(database, APP).url),
        redis_url=SecretStr(redis_server.url), http={"port": port, "client_requests_per_s": 10_000}, pictures=pictures,
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(create(settings), port=port, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until and thread.is_alive(), "the gateway did not start"
        time.sleep(0.02)
    yield Gateway(f"http://127.0.0.1:{port}", keys, caplog)
    server.should_exit = True
    thread.join(15)
