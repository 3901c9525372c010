"""Airflow beside the hub, as child processes.

One concern: Airflow's environment, its database's schema and its four processes. It must never import Airflow, make the
hub wait for it, or hand it a secret of the hub other than the control API's token.

Everything is set through environment variables; what a site sets as `AIRFLOW__...` itself stays unless named here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import aiohttp
import asyncpg

from hub.embedded.airflow_link import Link
from hub.embedded.postgres import Dsn
from hub.embedded.process import write_private
from hub.embedded.supervisor import ChildFailed, ChildSpec, Supervisor
from hub.keys import Keys

_USER = "hub"
_MIGRATE_PAUSES_S = (2.0, 5.0, 15.0, 60.0)
_STOP_S = 10.0
"""Airflow's processes can hang while shutting down. The scheduler waits for running tasks until told a second time;
five seconds after that it is killed."""


@dataclass(frozen=True)
class Control:
    """How DAGs reach the hub's control API: the connection `hub_control`."""

    host: str
    port: int
    token: str
    schema: str = "http"

    def as_connection(self) -> str:
        """The value of `AIRFLOW_CONN_HUB_CONTROL`."""
        return json.dumps(
            {"conn_type": "http", "host": self.host, "port": self.port, "schema": self.schema, "password": self.token}
        )


class EmbeddedAirflow:
    """Airflow in a folder with its own database: `prepare()`, then `run(supervisor)` as a background task."""

    def __init__(
        self,
        home: Path,
        *,
        dags: Path,
        plugins: Path,
        database: Dsn,
        keys: Keys,
        port: int,
        control: Control | None = None,
        parallelism: int = 8,
        host: str = "127.0.0.1",
    ) -> None:
        self.home = home.absolute()
        self._dags = dags
        self._plugins = plugins
        self._database = database
        self._keys = keys
        self._host = host
        self._port = port
        self._control = control
        self._parallelism = parallelism

    @property
    def link(self) -> Link:
        """Its API's address with user and password."""
        return Link(f"http://{self._host}:{self._port}", _USER, self._keys.hmac("airflow password", 18).hex())

    def prepare(self) -> None:
        """Make its folder and the password file (0600)."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._password_file, json.dumps({_USER: self.link.password}))

    def env(self, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
        """The processes' environment: `inherited` (default: ours) without the hub's settings, plus Airflow's own."""
        base = {
            name: value
            for name, value in (os.environ if inherited is None else inherited).items()
            if not name.startswith(("LT_", "PYTHON")) and name not in ("VIRTUAL_ENV", "AIRFLOW_HOME")
        }
        keys = self._keys
        options: dict[str, dict[str, object]] = {
            "core": {
                "executor": "LocalExecutor",
                "dags_folder": self._dags,
                "plugins_folder": self._plugins,
                "load_examples": False,
                "dags_are_paused_at_creation": False,
                "parallelism": self._parallelism,
                "fernet_key": base64.urlsafe_b64encode(keys.hmac("airflow fernet")).decode(),
                "simple_auth_manager_users": f"{_USER}:admin",
                "simple_auth_manager_passwords_file": self._password_file,
            },
            "database": {
                "sql_alchemy_conn": self._database.sqlalchemy,
                "sql_alchemy_conn_async": self._database.sqlalchemy_async,
                "sql_alchemy_pool_size": 5,
                "sql_alchemy_max_overflow": 5,
            },
            "api": {
                "host": self._host,
                "port": self._port,
                # Tasks find the execution API through it: without it every one of them fails off port 8080.
                "base_url": self.link.url,
                "workers": 1,
                "secret_key": keys.hmac("airflow api").hex(),
            },
            "api_auth": {"jwt_secret": keys.hmac("airflow jwt", 64).hex()},
            "scheduler": {
                "scheduler_idle_sleep_time": 0.2,
                # A killed scheduler otherwise holds retries up for 305 s.
                "task_instance_heartbeat_timeout": 60,
            },
            "dag_processor": {"refresh_interval": 30},
            "usage_data_collection": {"enabled": False},
        }
        own = {f"AIRFLOW__{s}__{o}".upper(): str(v) for s, values in options.items() for o, v in values.items()}
        own["AIRFLOW_HOME"] = str(self.home)
        own["PYTHONSAFEPATH"] = "1"
        own["PYTHONUNBUFFERED"] = "1"
        if self._control is not None:
            own["AIRFLOW_CONN_HUB_CONTROL"] = self._control.as_connection()
        return {**base, **own}

    def specs(self) -> list[ChildSpec]:
        """Its four processes. Only the API server has a readiness of its own: it knows the others' health."""
        return [
            self._spec("api-server", ready=True),
            # Their log servers would listen on every address, on fixed ports; logs are read from files here.
            self._spec("scheduler", "--skip-serve-logs"),
            self._spec("dag-processor"),
            self._spec("triggerer", "--skip-serve-logs"),
        ]

    async def run(self, supervisor: Supervisor) -> None:
        """Bring the schema up to date and start the processes, trying again where needed; returns once started.

        Says how far it is in the supervisor's note `airflow`: `{phase: migrating|failed|started, url}`.
        """
        self.prepare()
        for pause in (*_MIGRATE_PAUSES_S, None):
            supervisor.note("airflow", {"phase": "migrating", "url": self.link.url})
            migration = self._spec("migrate", command=("db", "migrate"))
            if await self._migrated() or await supervisor.run_once(migration) == 0:
                break
            supervisor.note("airflow", {"phase": "failed", "url": self.link.url})
            if pause is None:
                raise ChildFailed("airflow-migrate", "see its log")
            await asyncio.sleep(pause)
        await self._remember_migration()
        for spec in self.specs():
            await supervisor.add(spec)
        supervisor.note("airflow", {"phase": "started", "url": self.link.url})

    # -------------------------------------------------------------------------------------------- inside

    @property
    def _password_file(self) -> Path:
        return self.home / "passwords.json"

    @property
    def _stamp(self) -> Path:
        return self.home / "migrated"

    def _spec(self, name: str, *options: str, command: tuple[str, ...] = (), ready: bool = False) -> ChildSpec:
        # The script beside this interpreter: `-m airflow` would look in the working folder first.
        script = str(Path(sys.executable).with_name("airflow"))
        return ChildSpec(
            name=f"airflow-{name}",
            argv=[sys.executable, script, *(command or (name,)), *options],
            env=self.env(),
            cwd=self.home,
            ready=self._answers if ready else None,
            ready_timeout_s=120.0,
            stop_timeout_s=_STOP_S,
            escalate=signal.SIGTERM,
        )

    async def _answers(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"{self.link.url}/api/v2/monitor/health") as reply,
            ):
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _schema(self) -> str | None:
        """What names the schema now: Airflow's version and the database's revision. None before the first migration."""
        try:
            connection = await asyncpg.connect(self._database.url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return None
        try:
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        except asyncpg.UndefinedTableError:
            return None
        finally:
            await connection.close()
        return f"{metadata.version('apache-airflow')} {revision}"

    async def _migrated(self) -> bool:
        """Whether the last migration's result still stands: asking Airflow itself takes seconds at every start."""
        if not self._stamp.exists():
            return False
        return self._stamp.read_text(encoding="ascii") == await self._schema()

    async def _remember_migration(self) -> None:
        schema = await self._schema()
        if schema is not None:
            self._stamp.write_text(schema, encoding="ascii")
