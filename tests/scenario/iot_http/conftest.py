"""A real gateway with the device listeners on a real database, behind a line to the database that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from pydantic import SecretStr

from hub.api import devices
from hub.app import create
from hub.embedded.postgres import APP, EmbeddedPostgres
from hub.kernel.ledger import parties
from hub.kernel.ledger.gates import SIGNING
from hub.keys import Keys
from hub.settings import load

SCHOOL, OTHER = "31HP0000001", "31HP0000002"


class Line:
    """A unix socket that passes everything on to PostgreSQL's, until it is cut."""

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder = folder
        self._path, self._target = folder / target.name, target
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: Any = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.mend()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def mend(self) -> None:
        async def listen() -> None:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path))

        self._do(listen())

    def cut(self) -> None:
        async def end() -> None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()

        self._do(end())
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(self._target))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        self._open |= {writer, back}
        await asyncio.gather(pump(reader, back), pump(there, writer))
        self._open -= {writer, back}

    def end(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


class Gateway:
    def __init__(self, port: int, keys: Keys, line: Line, open_ledger: Any, log: Any) -> None:
        self.port, self.keys, self.line, self.ledger, self.log = port, keys, line, open_ledger, log
        self.url = f"http://127.0.0.1:{port}"
        self.app: Any = None

    async def register(
        self, core: Any, device: str, family: str, secret: str, profile: str, school: str = SCHOOL,
        signing: str = "",
    ) -> None:  # fmt: skip
        sealed = self.keys.encrypt(secret.encode(), device.encode())
        await parties.add_device(
            core, "test", device, family=family, profile=profile, title=device, school=school, entrance="Cổng chính", direction="in",
            person_ids="department",
            zone="Asia/Ho_Chi_Minh", secret=sealed, signing=self.keys.encrypt(signing.encode(), SIGNING) if signing else None,
        )  # fmt: skip


@pytest.fixture
def gateway(
    ledger: Callable[..., AbstractAsyncContextManager[Any]],
    postgres: EmbeddedPostgres,
    database: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> Iterator[Gateway]:
    """A parameter is settings beside its own."""
    key_file = tmp_path / "keys" / "master.key"
    keys = Keys.open(key_file, tmp_path / "data")
    monkeypatch.setattr(devices, "PATIENCE_S", 1.5)

    async def prepare() -> None:
        async with ledger() as here:
            await here.connector("ministry", "ministry")
            await here.school(SCHOOL)
            await here.school(OTHER)

    asyncio.run(prepare())
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    line = Line(tmp_path_factory.mktemp("pg"), postgres.socket)
    dsn = postgres.dsn(database, APP)
    url = f"postgresql://{dsn.role}:{quote(dsn.password)}@/{dsn.database}?host={quote(str(line.folder), safe='')}"
    settings = load(
        data_dir=tmp_path / "data", master_key_file=key_file, database_url=SecretStr(url), http={"port": port},
        **getattr(request, "param", {}),
    )  # fmt: skip
    app = create(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until and thread.is_alive(), "the gateway did not start"
        time.sleep(0.02)
    given = Gateway(port, keys, line, ledger, caplog)
    given.app = app
    yield given
    server.should_exit = True
    thread.join(15)
    line.end()


@pytest.fixture
def stored(ledger: Any) -> Any:
    """What the ledger holds: `async with stored() as l` gives the ledger to look into."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        async with ledger() as here:
            yield here

    return opened
