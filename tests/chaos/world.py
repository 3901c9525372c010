"""The hub as it really runs, in pieces that can be hurt: every process a child of one supervisor, each by name and pid.

One concern: starting, addressing, hurting and restoring processes. It must never look into the ledger: what came of
everything is the oracle's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import orjson
import yaml

from adapters.ministry.simulator import TOKEN
from adapters.population.simulator import API_KEY, SECRET
from adapters.public_service.simulator import PASSWORD
from connectors.settings import dump, validate
from hub import run as running
from hub.api.auth import secret_digest
from hub.broker_keeper import BrokerKeeper
from hub.embedded import supervisor as supervising
from hub.embedded.area import remove_area
from hub.embedded.broker import Broker
from hub.embedded.postgres import EmbeddedPostgres
from hub.embedded.process import free_port, tcp_open
from hub.embedded.supervisor import ChildSpec, Supervisor
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import gates, operations, parties
from hub.kernel.ledger.core import TRANSIENT
from hub.settings import load
from hub.wiring import ROOT, House, open_house
from tests.chaos import families
from tests.chaos.books import Effect, read_effects
from tests.chaos.disk import small_disk

SYSTEMS = ("ministry", "population", "public_service")
HUB = ("gateway", "bridge", "worker-1", "worker-2")
SERVERS = ("postgres", "redis", "mqtt")
LEASE_S = 4.0
SETTLE_S = 0.8
POLICY: dict[str, Any] = {
    "concurrency": 4, "settle_after_s": SETTLE_S, "absent_gap_s": 0.5, "timeouts": {"connect_s": 0.8, "read_s": 1.2},
    "retry": {"base_s": 0.2, "cap_s": 1.0}, "quick_tries": {"attempts": 2, "wait_s": 0.1},
    "breaker": {"failures": 12, "window_s": 5, "open_s": 0.4, "open_max_s": 0.8, "probe_s": 2.0},
}  # fmt: skip
_SETTINGS: dict[str, Any] = {
    "airflow": {"mode": "off"},
    "outward": {"allow_private": ["127.0.0.0/8"], "gate_networks": ["127.0.0.0/8"]},
    "dispatch": {"workers": 2, "lease_s": LEASE_S, "poll_interval_s": 0.2},
    "database": {"shared_buffers_mb": 64, "pool_max": 6},
    "intake": {"chunk": 10},
    "http": {"client_requests_per_s": 10_000},
}
Person = dict[str, str]


@dataclass
class Device:
    """A gate that may log in at the broker."""

    id: str
    family: str
    secret: str


class World:
    """Everything running. Made by `world()`."""

    def __init__(self, supervisor: Supervisor, runner: running.Runner, folder: Path) -> None:
        self._installing = asyncio.Lock()
        self.supervisor = supervisor
        self.runner = runner
        self.folder = folder
        self.takes_twice = False
        """Whether the portal takes a second creation of a filing, so that its books would show one."""
        self.disk: Path | None = None
        """Where PostgreSQL's small file system is mounted, if there is one."""
        self.expired = False
        """Whether bodies of today's have been erased: what was sent cannot be sent again as it was."""
        self._exit: contextlib.AsyncExitStack
        self.house: House
        self.http: aiohttp.ClientSession
        self.broker: Broker
        self.database: EmbeddedPostgres
        self.url = ""
        self.sims: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.devices: dict[str, Device] = {}
        self.stopped: set[str] = set()
        self.altered: set[str] = set()
        """Processes that run with a failpoint armed or a safety off."""
        self.kills = 0
        self.ill: Counter[str] = Counter()
        """How often each process was killed, frozen or given a fault."""

    # ------------------------------------------------------------------ starting

    async def start(self, people: list[Person], clients: Iterable[str]) -> None:
        """Start all in the order `hub run` does, then connect the simulators and let the clients in."""
        embedded = self.runner.database_place()
        assert embedded is not None
        await self.runner.database(embedded)
        self.database = embedded
        await self.runner.redis()
        broker = await self.runner.broker()
        assert broker is not None
        self.broker = broker
        port = free_port()
        self.runner.env["LT_HTTP__PORT"] = str(port)
        self.url = f"http://127.0.0.1:{port}"
        for system in SYSTEMS:
            await self.simulator(system, people)
        for name in HUB:
            await self.boot(name, wait=False)
        settings = self.runner.settings.model_copy(update=running._addresses(self.runner.env))
        self.house = await self._exit.enter_async_context(open_house(settings, "chaos", pool_max=4))
        self.http = await self._exit.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=4.0))
        )
        for system, url in self.sims.items():
            await operations.add_connector(
                self.house.core, self.house.keys, "chaos", system, system, connector(system, url), _SECRETS[system]
            )
        await self.house.refresh()
        for name in clients:
            key = secrets.token_urlsafe(16)
            keys = self.house.keys
            await parties.add_client(
                self.house.core,
                "chaos",
                name,
                name,
                secret_digest(keys, key),
                secret_digest(keys, key),
                EVERYWHERE,
                ["push"],
            )
            self.keys[name] = key
        await self.supervisor.wait_ready("gateway")
        # A moment, so that workers have seen the connectors.
        await asyncio.sleep(1.0)

    async def simulator(self, system: str, people: list[Person]) -> None:
        """Start a counterparty as a process of its own."""
        port = free_port()
        argv = [
            sys.executable,
            "-m",
            f"adapters.{system}.simulator",
            "--port",
            str(port),
            "--books",
            str(self.books_of(system)),
        ]
        if system == "population":
            crowd = self.folder / "people.json"
            crowd.write_bytes(msgspec.json.encode(people))
            argv += ["--people", str(crowd), "--quota-per-s", "0"]
        if system == "public_service" and self.takes_twice:
            argv.append("--takes-twice")
        spec = ChildSpec(
            name=system,
            argv=argv,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            ready=lambda: tcp_open("127.0.0.1", port),
            stage=1,
        )
        await self.supervisor.add(spec)
        self.sims[system] = f"http://127.0.0.1:{port}"

    def books_of(self, system: str) -> Path:
        """Where a simulator keeps its books."""
        return self.folder / f"{system}.jsonl"

    def effects(self, system: str) -> list[Effect]:
        """A simulator's own books, read from its file."""
        return read_effects(self.books_of(system))

    async def boot(
        self, name: str, *, failpoints: str = "", sabotage: str = "", clock_s: float = 0.0, restart: bool = True, wait: bool = True,
    ) -> None:  # fmt: skip
        """Start one of the hub's processes (ended before): as it is, with failpoints armed, with one safety off, or with
        a clock that is wrong by `clock_s`."""
        env = dict(self.runner.env)
        (self.altered.add if failpoints or sabotage or clock_s else self.altered.discard)(name)
        if failpoints:
            env |= {"LIEN_THONG_FAILPOINTS": failpoints, "LIEN_THONG_FAILPOINT_SEED": "1"}
        command = name.partition("-")[0]
        argv = [sys.executable, "-m", "hub.cli", command]
        if sabotage:
            argv = [sys.executable, "-m", "tests.chaos.sabotage", sabotage, command]
        if clock_s:
            argv = [sys.executable, "-m", "tests.chaos.skewed", f"{clock_s:.0f}", command]
        ready = running._answers(self.url) if command == "gateway" else None
        spec = ChildSpec(
            name=name, argv=argv, env=env, cwd=ROOT, ready=ready, restart=restart, stop_timeout_s=12.0, stage=2
        )
        await self.supervisor.add(spec)
        if wait and ready is not None:
            await self.supervisor.wait_ready(name)

    async def install(self, *devices: tuple[str, str]) -> None:
        """Register gates `(id, family)` at the school and at the broker."""
        for device, family in devices:
            secret = secrets.token_hex(12)
            self.devices[device] = Device(device, family, secret)
            # A HANET account signs its calls besides knowing the address.
            signs = self.house.keys.encrypt(SIGNING.encode(), gates.SIGNING) if family == "hanet" else None
            await parties.add_device(
                self.house.core, "chaos", device, family=family, profile=_PROFILES.get(family, "standard"),
                title=device, school=SCHOOL, entrance="Cổng thử", direction="in",
                person_ids="department", zone="Asia/Ho_Chi_Minh",
                secret=self.house.keys.encrypt(secret.encode(), device.encode()), signing=signs,
            )  # fmt: skip
        async with self._installing:  # two keepers would write the same files
            await BrokerKeeper(self.broker, self.house, self.supervisor, self.house.settings.mqtt, None).renew()

    # ------------------------------------------------------------------ hurting

    def pid(self, name: str) -> int:
        """The process's id. Raises `ProcessLookupError` while it does not run."""
        pid = self.supervisor.pid(name)
        if pid is None:
            raise ProcessLookupError(name)
        return pid

    def kill(self, name: str) -> None:
        """SIGKILL; the supervisor starts it again."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid(name), signal.SIGKILL)
            self.kills += 1
            self.ill[name] += 1
            self.stopped.discard(name)

    def freeze(self, name: str) -> None:
        """SIGSTOP the process and all it has started."""
        self.ill[name] += 1
        with contextlib.suppress(ProcessLookupError):
            families.tell(self.pid(name), signal.SIGSTOP)
            self.stopped.add(name)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        with contextlib.suppress(ProcessLookupError):
            families.tell(self.pid(name), signal.SIGCONT)
        self.stopped.discard(name)

    async def ended(self, name: str, timeout_s: float) -> int | None:
        """How a process started with `restart=False` has ended; None when it has not within the time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.supervisor.state(name) == "stopped":
                code: int | None = self.supervisor.status()["children"][name]["exit_code"]
                return code
            await asyncio.sleep(0.03)
        return None

    async def fault(self, system: str, kind: str, **more: Any) -> None:
        """Switch a fault of a counterparty on."""
        self.ill[system] += kind != "none"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.http.post(
                f"{self.sims[system]}/_sim/fault", data=orjson.dumps({"kind": kind, **more})
            ) as reply:
                assert reply.status == 200, await reply.text()

    async def heal(self) -> None:
        """Everything runs, nothing is faulty."""
        for name in list(self.stopped):
            self.thaw(name)
        for name in (*SERVERS, *SYSTEMS, *HUB):
            if self.supervisor.state(name) == "stopped":
                await self.boot(name, wait=False)
        end = time.monotonic() + 20
        while time.monotonic() < end and any(self.supervisor.state(n) != "up" for n in (*SERVERS, *SYSTEMS, *HUB)):
            await asyncio.sleep(0.05)
        for system in SYSTEMS:
            await self.fault(system, "none")

    async def settings_of(self, system: str, **policy: Any) -> None:
        """Change a connector's policy while everything runs."""
        settings = connector(system, self.sims[system], **policy)
        await operations.update_connector(self.house.core, self.house.keys, "chaos", system, settings, None)

    async def patiently(self, work: Any, for_s: float = 30.0) -> Any:
        """Run a look at the database again while it is away."""
        end = time.monotonic() + for_s
        while True:
            try:
                return await work()
            except TRANSIENT:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


SCHOOL = "31HP0990001"
SIGNING = "bi-mat-ky-cua-tai-khoan"
_PROFILES = {"face_mqtt": "push-ack", "zkteco": "secret-path", "hanet": "camera"}
_SECRETS = {
    "ministry": {"token": TOKEN},
    "population": {"secret": SECRET, "api_key": API_KEY},
    "public_service": {"password": PASSWORD},
}


def connector(system: str, url: str, **policy: Any) -> dict[str, Any]:
    """A simulator's connector, as it is stored."""
    parts: dict[str, dict[str, Any]] = {
        "ministry": {
            "transport": {"kind": "rest", "base_url": url},
            "auth": {"scheme": "bearer"},
            "adapter": {"province_code": "31", "source": "SGDDT-HP"},
        },
        "population": {
            "transport": {"kind": "soap", "base_url": url},
            "auth": {"scheme": "population_signed", "user": "so-gddt", "xroad_client": "VN/GOV/000.00.00.H24/so-gddt"},
            "adapter": {"MaDVC": "H24-GDDT", "MaCanBo": "cb.gddt.01"},
        },
        "public_service": {
            "transport": {"kind": "rest", "base_url": url},
            "auth": {"scheme": "portal_session", "login_url": f"{url}/mapi/login", "username": "hub"},
            "adapter": {"agency": "000.00.12.H24"},
        },
    }
    return dump(validate({"name": system, "system": system, **parts[system], "policy": POLICY | policy}))


@asynccontextmanager
async def world(
    data_dir: Path,
    people: list[Person],
    clients: Iterable[str],
    *,
    disk_mb: int | None = None,
    takes_twice: bool = False,
) -> AsyncIterator[World]:
    """A world in `data_dir`, gone when the block ends. Restarts are quick here: many are wanted.

    With `takes_twice` the portal does not refuse a second creation of a filing but writes it down.
    With `disk_mb` PostgreSQL lies on a file system of that size; `disk.NoSmallDisk` where that cannot be.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "hub.yaml").write_text(yaml.safe_dump(_SETTINGS), encoding="utf-8")
    settings = load(data_dir=data_dir, master_key_file=data_dir.parent / "chaos-master.key")
    before = supervising._STABLE_S, supervising._FIRST_BACKOFF_S, running.screen.quiet
    supervising._STABLE_S, supervising._FIRST_BACKOFF_S, running.screen.quiet = 0.0, 0.2, True
    disks = contextlib.ExitStack()
    try:
        disk = disks.enter_context(small_disk(data_dir, disk_mb)) if disk_mb is not None else None
        async with Supervisor(data_dir) as supervisor, contextlib.AsyncExitStack() as stack:
            made = World(supervisor, running.Runner(settings, supervisor), data_dir)
            made._exit, made.disk, made.takes_twice = stack, disk, takes_twice
            try:
                await made.start(people, clients)
                yield made
            finally:
                for name in list(made.stopped):
                    made.thaw(name)
    finally:
        supervising._STABLE_S, supervising._FIRST_BACKOFF_S, running.screen.quiet = before
        disks.close()
        remove_area(data_dir)


def now() -> datetime:
    """The time as the books write it."""
    return datetime.now(UTC)
