"""What every measurement stands on: a real PostgreSQL, fresh databases, the hub's own processes, and a processor meter.

One concern: setting the scene and taking it down. It must never decide what is measured, nor leave a process behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from hub.embedded.area import Area, open_area, remove_area
from hub.embedded.mosquitto import Mosquitto
from hub.embedded.mqtt import BrokerUser
from hub.embedded.postgres import ADMIN, APP, OWNER, EmbeddedPostgres
from hub.embedded.process import free_port, spawn
from hub.embedded.redis import EmbeddedRedis
from hub.embedded.supervisor import ChildSpec
from hub.kernel.ledger import operations, parties
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router, load_flows
from hub.kernel.store.db import open_pool
from hub.kernel.store.migrate import migrate
from hub.keys import Keys
from hub.wiring import FLOWS, ROOT, hasher_of
from mappings.engine import Catalogue

QUICK = os.environ.get("QUICK", "") not in ("", "0")
SCHOOL = "31HP0123001"
API_KEY = "bench-key-0123456789abcdef"
BRIDGE = BrokerUser("lt-bridge", "bench-bridge-secret", reads=("mqtt/#", "campus/#"), writes=("mqtt/#", "campus/#"))
GATES = tuple(
    BrokerUser(name, "bench-gates-secret", reads=("campus/#",), writes=("campus/#",))
    for name in ("bench-load", "bench-watch", *(f"bench-live-{n}" for n in range(10)))
)
"""One for each connection of the load: at the broker a user name is a session."""
_TEMPLATE = "lt_template"


def short(quick: int, full: int) -> int:
    """A size: the first under QUICK, the second otherwise."""
    return quick if QUICK else full


def at_full_size(met: bool) -> bool | None:
    """The verdict on a target that names a size or a length: a short run may miss it, never meet it."""
    return None if QUICK and met else met


@dataclass
class Figure:
    """One line of the table. `value` in `unit`; `bare` is the limit measured beside it, in the same unit."""

    path: str
    unit: str
    value: float
    bare: float | None = None
    bare_is: str = ""
    target: str = ""
    met: bool | dict[str, bool] | None = None
    """Whether the target is met; by limit where several were measured, None where this run cannot tell."""
    also: dict[str, float] = field(default_factory=dict)
    """Other limits measured beside it, by name, in the same unit."""
    cpu: dict[str, float] = field(default_factory=dict)
    """Processor share of each party while the hub's side was measured: 1.0 is one core."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Value to bare limit; None where there is none."""
        return self.value / self.bare if self.bare else None


class Meter:
    """Processor time of processes and what they started, as shares of one core. The measuring process itself is counted alone: all
    that it started, the database first of all, is the rig's."""

    def __init__(self, **pids: int) -> None:
        self._pids = pids
        self._before = {name: _cpu_s(pid) for name, pid in pids.items()}
        self._starved = {name: _starved_s(pid) for name, pid in pids.items()}
        self._started = time.perf_counter()

    def stop(self, wall_s: float | None = None) -> dict[str, float]:
        """Shares since the start, or of the `wall_s` seconds in it that were the load's: a generator's own start and end
        would make everybody else look idle."""
        wall = wall_s or time.perf_counter() - self._started
        return {name: round((_cpu_s(pid) - self._before[name]) / wall, 2) for name, pid in self._pids.items()}

    def starved(self) -> dict[str, float]:
        """Shares of the time since the start in which a process was ready to run and had no core: with everything it has
        started. High values say that the machine, or its other work, is what was measured."""
        wall = time.perf_counter() - self._started
        return {name: round((_starved_s(pid) - self._starved[name]) / wall, 2) for name, pid in self._pids.items()}


def run_delay_s(pid: int | str = "self") -> float:
    """Seconds a process's main thread has waited for a core; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _starved_s(pid: int) -> float:
    total = run_delay_s(pid)
    if pid == os.getpid():
        return total
    with contextlib.suppress(psutil.Error):
        total += sum(run_delay_s(child.pid) for child in psutil.Process(pid).children(recursive=True))
    return total


def _cpu_s(pid: int) -> float:
    if pid == os.getpid():
        return time.process_time()
    total = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        times = process.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                t = child.cpu_times()
                total += t.user + t.system
    return total


async def alternate(
    rounds: int, ours: Callable[[int], Awaitable[float]], bare: Callable[[int], Awaitable[float]]
) -> tuple[float, float]:
    """Measure A B A B …, and give both medians. Whatever else the machine does then falls on both alike."""
    a: list[float] = []
    b: list[float] = []
    for n in range(rounds):
        a.append(await ours(n))
        b.append(await bare(n))
    return statistics.median(a), statistics.median(b)


class Proc:
    """A child process with its output in a file; one JSON line on its standard output may be read back."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.log = log
        self._process = process

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    async def line(self, patience_s: float = 20.0) -> dict[str, Any]:
        """The first JSON line it wrote. Raises RuntimeError when it ends or keeps silent."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            for line in self.log.read_text(errors="replace").splitlines():
                if line.startswith("{"):
                    found: dict[str, Any] = json.loads(line)
                    return found
            if not self.alive:
                break
            await asyncio.sleep(0.02)
        raise RuntimeError(
            f"{self.name} gave no answer; the end of its output: {self.log.read_text(errors='replace')[-1500:]}"
        )

    async def stop(self, patience_s: float = 15.0) -> None:
        """SIGTERM, and SIGKILL when that does not help."""
        if self.alive:
            self._process.terminate()
            until = time.monotonic() + patience_s
            while self.alive and time.monotonic() < until:
                await asyncio.sleep(0.02)
            if self.alive:
                self._process.kill()
        self._process.wait()


@dataclass
class Stage:
    """One fresh database with a core on it, and the owner's hands for filling and looking."""

    rig: Rig
    core: Core
    owner: asyncpg.Pool
    url: str
    name: str

    async def connector(self, name: str, settings: dict[str, Any], secrets: dict[str, str]) -> int:
        """Add a connector and bind the flows to it."""
        number = await operations.add_connector(self.core, self.rig.keys, "bench", name, name, settings, secrets)
        assert number is not None
        await self.core.refresh()
        self.core.router.bind(self.core.connectors)
        return number

    async def client(self) -> None:
        """A machine client with `API_KEY` and every right of a pusher."""
        from hub.api.auth import secret_digest
        from hub.kernel.access import EVERYWHERE

        digest = secret_digest(self.rig.keys, API_KEY)
        await parties.add_client(self.core, "bench", "bench", "Đo hiệu năng", digest, digest, EVERYWHERE, ["push"])

    async def value(self, text: str, *args: Any) -> Any:
        """One value, as the owner."""
        return await self.owner.fetchval(text, *args)

    def env(self, **more: str) -> dict[str, str]:
        """The environment of the hub's processes on this database."""
        return self.rig.env(LT_DATABASE_URL=self.url, **more)


class Rig:
    """Everything that runs during a measurement; `async with Rig(folder)`."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / f"run-{os.getpid()}"
        self.logs = self.data / "bench-logs"
        self._key_file = folder / f"run-{os.getpid()}.key"
        self._numbers = 0
        self._procs: list[Proc] = []
        self._redis_url: str | None = None

    async def __aenter__(self) -> Rig:
        self.area: Area = open_area(self.data)
        self.logs.mkdir(parents=True)
        self.keys = Keys.open(self._key_file, self.data)
        self.postgres = EmbeddedPostgres(self.area)
        self.postgres.start()
        await self.postgres.create()
        admin = await asyncpg.connect(self.postgres.dsn("postgres", ADMIN).url)
        await admin.execute(f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}")
        await admin.close()
        await migrate(self.postgres.dsn(_TEMPLATE, OWNER).url)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in reversed(self._procs):
            await process.stop()
        self.postgres.stop()
        remove_area(self.data)
        self._key_file.unlink(missing_ok=True)
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def postgres_pid(self) -> int:
        """The server's process, for the meter."""
        pid = self.postgres.pid
        assert pid is not None
        return pid

    def env(self, **more: str) -> dict[str, str]:
        """What a child of the rig needs to know."""
        return {
            **os.environ, "PYTHONPATH": str(ROOT), "LT_DATA_DIR": str(self.data), "LT_MASTER_KEY_FILE": str(self._key_file),
            "LT_OUTWARD__ALLOW_PRIVATE": '["127.0.0.0/8"]', "LT_OUTWARD__GATE_NETWORKS": '["127.0.0.0/8"]',
            "LT_AIRFLOW__MODE": "off", "LT_HTTP__CLIENT_REQUESTS_PER_S": "10000",
            **({"LT_REDIS_URL": self._redis_url} if self._redis_url else {}), **more,
        }  # fmt: skip

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        """A database of its own, with one school; dropped afterwards."""
        self._numbers += 1
        name = f"lt_bench_{self._numbers}"
        admin = await asyncpg.connect(self.postgres.dsn("postgres", ADMIN).url)
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} OWNER {OWNER} STRATEGY FILE_COPY")
        await admin.execute(f"GRANT CONNECT ON DATABASE {name} TO {APP}")
        # What the copy left dirty is written now, not in the middle of a measurement.
        await admin.execute("CHECKPOINT")
        url = self.postgres.dsn(name, APP).url
        try:
            async with (
                await open_pool(url) as pool,
                await open_pool(self.postgres.dsn(name, OWNER).url, high=3) as owner,
            ):
                core = Core(pool, Router(load_flows(FLOWS), {}), Catalogue.load(), hasher_of(self.keys), worker="bench")
                await owner.execute(
                    "INSERT INTO schools (code, name, ward, level) VALUES ($1, 'Trường mẫu', '10507', '03')", SCHOOL
                )
                await core.refresh()
                yield Stage(self, core, owner, url, name)
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await admin.close()

    async def checkpoint(self) -> None:
        """Have everything written that is still to be written."""
        admin = await asyncpg.connect(self.postgres.dsn("postgres", ADMIN).url)
        await admin.execute("CHECKPOINT", timeout=600)
        await admin.close()

    def process(self, name: str, argv: Sequence[str], env: dict[str, str]) -> Proc:
        """Start `python <argv>` from the repository's root."""
        self._numbers += 1
        log = self.logs / f"{self._numbers}-{name}.log"
        with log.open("wb") as output:
            started = Proc(name, spawn([sys.executable, *argv], env=env, cwd=ROOT, output=output), log)
        self._procs.append(started)
        return started

    async def _service(self, spec: ChildSpec) -> Proc:
        log = self.logs / f"{spec.name}-{self._numbers}.log"
        with log.open("wb") as output:
            started = Proc(
                spec.name, spawn(spec.argv, env=spec.env, cwd=spec.cwd, identity=spec.identity, output=output), log
            )
        self._procs.append(started)
        for _ in range(500):
            if spec.ready is None or spec.ready():
                return started
            await asyncio.sleep(0.02)
        raise RuntimeError(f"{spec.name} did not start: {log.read_text(errors='replace')[-1500:]}")

    async def redis(self) -> None:
        """Start Redis once; processes started later use it."""
        if self._redis_url is None:
            server = EmbeddedRedis(self.area)
            server.prepare()
            await self._service(server.spec())
            self._redis_url = server.url

    async def mosquitto(self) -> tuple[int, Proc]:
        """A broker as the hub configures it, its port, and its process."""
        broker = Mosquitto(self.area, port=free_port(), bridge=BRIDGE)
        broker.write_config()
        broker.set_devices(GATES)
        return broker.port, await self._service(broker.spec())

    async def child(
        self, module: str, job: dict[str, Any] | None = None, *, patience_s: float = 120.0
    ) -> dict[str, Any]:
        """Run one of this package's modules to its end and give the JSON line it wrote."""
        process = self.process(module, ["-m", f"benchmarks.{module}", json.dumps(job or {})], self.env())
        try:
            return await process.line(patience_s)
        finally:
            await process.stop()


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


async def until(true: Callable[[], Awaitable[bool]], seconds: float, step_s: float = 0.05) -> None:
    """Wait for something. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        await asyncio.sleep(step_s)
