"""A real gateway on a real database, asked over HTTP."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from hub.api.auth import secret_digest
from hub.app import create
from hub.embedded.postgres import APP, EmbeddedPostgres
from hub.kernel.access import Scope
from hub.kernel.ledger import parties
from hub.keys import Keys
from hub.settings import load

S1, S2 = "31HP0000001", "31HP0000002"
WARD_1, WARD_2 = "11500", "11503"


class Gateway:
    def __init__(self, url: str, keys: Keys) -> None:
        self.url = url
        self.keys = keys

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={**({"X-API-Key": key} if key else {}), **headers}, timeout=30)


CLIENTS = {
    "department": Scope("department"),
    "school-1": Scope("school", S1),
    "school-2": Scope("school", S2),
    "ward-1": Scope("ward", WARD_1),
}


@pytest.fixture
def gateway(ledger: Any, postgres: EmbeddedPostgres, database: str, keys: Keys, tmp_path: Path) -> Iterator[Gateway]:
    key_file = tmp_path / "keys" / "master.key"
    own = Keys.open(key_file, tmp_path / "data")

    async def prepare() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            for code, ward in ((S1, WARD_1), (S2, WARD_2)):
                await led.school(code, ward=ward)
            for name, scope in CLIENTS.items():
                await parties.add_client(
                    led.core,
                    "test",
                    name,
                    name,
                    secret_digest(own, f"secret-of-{name}"),
                    secret_digest(own, f"key-of-{name}"),
                    scope,
                    ["push"],
                )

    asyncio.run(prepare())
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    settings = load(
        data_dir=tmp_path / "data", master_key_file=key_file, database_url=SecretStr(postgres.dsn(database, APP).url), http={"port": port},
        intake={"chunk": 100},
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(create(settings), port=port, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until and thread.is_alive(), "the gateway did not start"
        time.sleep(0.02)
    yield Gateway(f"http://127.0.0.1:{port}", own)
    server.should_exit = True
    thread.join(15)


def learner(code: str, school: str = S1, **data: Any) -> dict[str, Any]:
    full = {
        "learner_code": code, "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "Nam", "ethnicity": "01", "school_code": school,
        "class_code": "6A1", "grade": "6", "school_level": "03", "status": "studying",
    }  # fmt: skip
    return {"data": full | data}


@pytest.fixture
def make_learner() -> Any:
    return learner
