"""`hub run`: everything on one machine, as children of one supervisor.

PostgreSQL, Redis and the broker are embedded unless settings name others; Airflow starts in the background so that the
hub does not wait for it. It must never hold data: killed at any moment, the next start goes on from the database.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import aiohttp
from rich.console import Console

from hub import lean
from hub.api.control import control_token
from hub.broker_keeper import BrokerKeeper
from hub.embedded import mosquitto
from hub.embedded.airflow import Control, EmbeddedAirflow
from hub.embedded.area import Area, open_area
from hub.embedded.authority import Authority
from hub.embedded.broker import Broker, BrokerLimits, BrokerUser, Tls, choose_broker
from hub.embedded.postgres import AIRFLOW, AIRFLOW_DATABASE, HUB_DATABASE, OWNER, EmbeddedPostgres
from hub.embedded.process import free_port
from hub.embedded.redis import EmbeddedRedis
from hub.embedded.supervisor import ChildFailed, ChildSpec, Supervisor
from hub.kernel.ledger import people
from hub.kernel.store.migrate import migrate
from hub.keys import Keys
from hub.settings import Settings
from hub.wiring import ROOT, House, open_house

screen = Console(highlight=False, soft_wrap=True)

_BRIDGE_USER = "lt-bridge"
_AIRFLOW_AGAIN_S = 60.0


@dataclass
class Running:
    """What `hub run` has up: addresses, and how devices become users of the broker."""

    settings: Settings
    keys: Keys
    supervisor: Supervisor
    house: House
    url: str
    mqtt: tuple[str, int]
    renew_devices: Callable[[], Awaitable[None]]
    password: str | None = None
    airflow: asyncio.Task[None] | None = None


def say(vi: str, en: str, started: float) -> None:
    """One line of progress with the seconds since the start."""
    screen.print(f"[dim]{time.monotonic() - started:6.1f}s[/dim]  {vi} [dim]/ {en}[/dim]")


class Runner:
    """Starts everything in order and keeps the pieces other steps need."""

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self.settings = settings
        self.supervisor = supervisor
        self.keys = Keys.open(settings.key_file, settings.data_dir)
        self.started = time.monotonic()
        self.area: Area | None = None
        self.env: dict[str, str] = {
            **lean.ENVIRONMENT,
            **os.environ,
            "LT_DATA_DIR": str(settings.data_dir),
            "LT_MASTER_KEY_FILE": str(settings.key_file),
            "PYTHONPATH": str(ROOT),
            "LT_OUTWARD__ALLOW_PRIVATE": json.dumps(settings.outward.allow_private),
            "LT_OUTWARD__GATE_NETWORKS": json.dumps(settings.outward.gate_networks),
        }
        self.overrides: dict[str, object] = {}
        self.authority: Authority | None = None

    def _area(self) -> Area:
        if self.area is None:
            self.area = open_area(self.settings.data_dir)
        return self.area

    def database_place(self) -> EmbeddedPostgres | None:
        """Where the database is, or will be, for the processes that wait for it. The embedded one; None: settings name another."""
        if self.settings.database_url is not None:
            self.env["LT_DATABASE_URL"] = self.settings.database_url.get_secret_value()
            return None
        embedded = EmbeddedPostgres(
            self._area(),
            shared_buffers_mb=self.settings.database.shared_buffers_mb,
            max_connections=self.settings.database.max_connections,
        )
        self.env["LT_DATABASE_URL"] = embedded.dsn().url
        return embedded

    async def database(self, embedded: EmbeddedPostgres | None) -> None:
        """Start PostgreSQL (or use the one settings name) and bring its schema up to date."""
        if embedded is not None:
            await asyncio.to_thread(embedded.prepare)
            await self.supervisor.add(embedded.spec(), wait=True)
            await embedded.create()
            owner = embedded.dsn(HUB_DATABASE, OWNER).url
        else:
            named = self.settings.database_owner_url or self.settings.database_url
            assert named is not None
            owner = named.get_secret_value()
        say("PostgreSQL sẵn sàng", "PostgreSQL is up", self.started)
        applied = await migrate(owner)
        if applied:
            say(f"Đã áp dụng {len(applied)} migration", f"{len(applied)} migrations applied", self.started)

    async def redis(self) -> None:
        """Start Redis, unless settings name one."""
        if self.settings.redis_url is None:
            embedded = EmbeddedRedis(self._area(), max_memory_mb=self.settings.redis.max_memory_mb)
            embedded.prepare()
            await self.supervisor.add(embedded.spec(), wait=True)
            self.env["LT_REDIS_URL"] = embedded.url
        else:
            self.env["LT_REDIS_URL"] = self.settings.redis_url.get_secret_value()
        say("Redis sẵn sàng", "Redis is up", self.started)

    async def broker(self) -> Broker | None:
        """Start the devices' broker, unless settings name one."""
        m = self.settings.mqtt
        if m.host is not None:
            return None
        bridge = BrokerUser(
            _BRIDGE_USER,
            self.keys.hmac("broker bridge", 24).hex(),
            reads=("mqtt/#", "campus/#", "/topic/detected/+", "topic/face/capture/request/+"),
            # Events are nothing it writes but what clears a copy that a gate left retained.
            writes=("mqtt/#", "campus/#", "/topic/detected/+", "topic/face/capture/+/+"),
        )
        tls = None
        if m.tls_port and m.tls_cert_file and m.tls_key_file:
            tls = Tls(m.tls_port, m.tls_cert_file, m.tls_key_file, m.tls_client_ca_file)
        elif m.tls_port and mosquitto.find_server() is not None:
            # Its key lies beside the master key: who can sign for the broker could stand in for it.
            self.authority = Authority(self.settings.key_file.parent / "gates-ca")
            self.authority.ensure(m.tls_names)
            tls = Tls(m.tls_port, self.authority.cert, self.authority.key, m.tls_client_ca_file)
        limits = BrokerLimits(
            queued_messages=m.queued_messages,
            inflight_messages=m.inflight_messages,
            message_bytes=m.message_max_bytes,
            connections=m.max_connections,
        )
        broker = choose_broker(
            self._area(), port=m.port or free_port(), bridge=bridge, host=m.listen, tls=tls, limits=limits
        )
        broker.write_config()
        await self.supervisor.add(broker.spec(), wait=True)
        self.env |= {
            "LT_MQTT__HOST": broker.host, "LT_MQTT__PORT": str(broker.port), "LT_MQTT__USERNAME": bridge.name,
            "LT_MQTT__PASSWORD": bridge.secret,
        }  # fmt: skip
        say(f"Máy chủ MQTT sẵn sàng ({broker.name})", f"MQTT broker is up ({broker.name})", self.started)
        if broker.warning is not None:
            screen.print(f"[bold yellow]⚠ {broker.warning.vi} / {broker.warning.en}[/bold yellow]")
        return broker

    def airflow(self, embedded: EmbeddedPostgres | None, control_port: int) -> EmbeddedAirflow | None:
        """The embedded Airflow, and where it will be for those who speak with it; None: it is off, or settings name another."""
        a = self.settings.airflow
        if a.mode != "embedded" or embedded is None:
            return None
        own = EmbeddedAirflow(
            self.settings.data_dir / "airflow", dags=ROOT / "airflow" / "dags", plugins=ROOT / "airflow" / "plugins",
            database=embedded.dsn(AIRFLOW_DATABASE, AIRFLOW), keys=self.keys, port=a.port or free_port(),
            control=Control("127.0.0.1", control_port, control_token(self.keys)), parallelism=a.parallelism,
        )  # fmt: skip
        self.env |= {
            "LT_AIRFLOW__MODE": "url", "LT_AIRFLOW__URL": own.link.url, "LT_AIRFLOW__USERNAME": own.link.username,
            "LT_AIRFLOW__PASSWORD": own.link.password,
        }  # fmt: skip
        return own

    async def keep_airflow(self, own: EmbeddedAirflow) -> None:
        """Start Airflow and keep it: the hub does not wait for it, nor need it."""
        while True:
            try:
                await own.run(self.supervisor)
                return
            except Exception as error:
                screen.print(f"[yellow]Airflow: {error}[/yellow]")
                await asyncio.sleep(_AIRFLOW_AGAIN_S)

    def child(self, name: str, *arguments: str, ready: Callable[[], Awaitable[bool]] | None = None) -> ChildSpec:
        """A process of the hub itself."""
        argv = [sys.executable, "-m", "hub.cli", *arguments]
        return ChildSpec(name=name, argv=argv, env=dict(self.env), cwd=ROOT, ready=ready, stop_timeout_s=12.0, stage=2)


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"{url}/healthz") as reply,
            ):
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    return ready


def _allow_files() -> None:
    """Let this process and its children open as many files as the system allows it: a broker needs one for each gate."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def run(settings: Settings, work: Callable[[Running], Awaitable[int]]) -> int:
    """Start everything, hand over to `work`, and stop everything when it returns or is cancelled."""
    _allow_files()
    async with Supervisor(settings.data_dir) as supervisor:
        runner = Runner(settings, supervisor)
        embedded = runner.database_place()
        await runner.redis()
        broker = await runner.broker()
        port = settings.http.port or free_port()
        runner.env["LT_HTTP__PORT"] = str(port)
        url = f"http://{settings.http.host}:{port}"
        own = runner.airflow(embedded, port)
        # It reads its code while the database is started, or made; then it waits for the schema by itself.
        await supervisor.add(runner.child("gateway", "gateway", ready=_answers(url)))
        await runner.database(embedded)
        airflow = asyncio.create_task(runner.keep_airflow(own)) if own is not None else None
        try:
            await supervisor.wait_ready("gateway")
        except ChildFailed:  # it waits a minute; a server that died under load may take more to recover
            await supervisor.restart("gateway")
        say(f"Cổng HTTP sẵn sàng tại {url}", f"gateway is up at {url}", runner.started)
        bridge = runner.child("bridge", "bridge")
        await supervisor.add(replace(bridge, env={**(bridge.env or {}), **lean.LARGE_BODIES}))
        for number in range(1, settings.dispatch.workers + 1):
            await supervisor.add(runner.child(f"worker-{number}", "worker"))
        mine = settings.model_copy(update=_addresses(runner.env))
        try:
            async with open_house(mine, "run", pool_max=4) as house:
                keeper = BrokerKeeper(broker, house, supervisor, settings.mqtt, runner.authority)
                renew = keeper.renew
                await renew()
                mqtt = (
                    runner.env.get("LT_MQTT__HOST") or str(settings.mqtt.host),
                    int(runner.env.get("LT_MQTT__PORT") or settings.mqtt.port),
                )
                supervisor.note("addresses", {"gateway": url, "mqtt": list(mqtt)})
                supervisor.note("gate_networks", list(settings.outward.gate_networks))
                password = await people.ensure_first_admin(house.core)
                running = Running(mine, runner.keys, supervisor, house, url, mqtt, renew, password, airflow)
                _welcome(url, password)
                follow = asyncio.create_task(keeper.run())
                try:
                    return await work(running)
                finally:
                    follow.cancel()
        finally:
            if airflow is not None:
                airflow.cancel()


def _addresses(env: dict[str, str]) -> dict[str, object]:
    from pydantic import SecretStr

    return {"database_url": SecretStr(env["LT_DATABASE_URL"]), "redis_url": SecretStr(env["LT_REDIS_URL"])}


def _welcome(url: str, password: str | None) -> None:
    screen.print()
    screen.print(f"  [bold]Bảng điều khiển / Console[/bold]  {url}/")
    if password is not None:
        screen.print(
            f"  [bold]Tài khoản / User[/bold]          admin\n  [bold]Mật khẩu một lần / One-time password[/bold]  {password}"
        )
    else:
        screen.print(
            "  Tài khoản admin đã có; đặt lại bằng: hub users reset admin --why … / user admin exists; reset with: hub users reset admin --why …"
        )
    screen.print()


async def serve_forever(running: Running) -> int:
    """Stay up until interrupted. Says once more where the console is: much may have scrolled by since."""
    _welcome(running.url, running.password)
    screen.print("Nhấn Ctrl-C để dừng. / Press Ctrl-C to stop.")
    await asyncio.Event().wait()
    return 0
