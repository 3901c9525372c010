"""The embedded MQTT broker, Mosquitto.

One concern: Mosquitto's configuration, its devices' passwords and rights, and how it is run. It must never let a client
in without a password, or decide what a device's topics are: callers say that.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from hub.embedded.area import Area
from hub.embedded.drift import Applied
from hub.embedded.mqtt import BrokerError, BrokerLimits, BrokerUser, Tls, hashed_form
from hub.embedded.process import tcp_open, write_private
from hub.embedded.supervisor import ChildSpec
from hub.kernel.ports import Text

_ITERATIONS = 1
"""The hub's secrets are random, 96 bits and more: stretching them guards nothing. And Mosquitto hashes the secrets of all that are
connected anew whenever it reads its users, and at every reconnect: at 1,000 rounds each a thousand gates stood still for a second."""


def find_server() -> Path | None:
    """Mosquitto's binary, also in the folders that hold system programs."""
    found = shutil.which("mosquitto", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def password_hash(secret: str, salt: bytes | None = None, iterations: int = _ITERATIONS) -> str:
    """A password in Mosquitto's own form, `$7$iterations$salt$hash` (PBKDF2-HMAC-SHA512, base64)."""
    salt = os.urandom(12) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


class Mosquitto:
    """Mosquitto in an area: `write_config()`, `set_devices()`, then hand `spec()` to a supervisor."""

    warning: Text | None = None
    name = "mosquitto"

    def __init__(
        self,
        area: Area,
        *,
        port: int,
        bridge: BrokerUser,
        host: str = "127.0.0.1",
        tls: Tls | None = None,
        limits: BrokerLimits | None = None,
    ) -> None:
        self._area = area
        self.host = host
        self.port = port
        self._bridge = bridge
        self._tls = tls
        self._limits = limits or BrokerLimits()
        self._home = area.root / "mosquitto"
        self._hashes: dict[str, tuple[str, str]] = {}
        self._applied = Applied("mosquitto.conf")

    def write_config(self) -> Path:
        """Write the configuration file and return its path; files of devices appear with the bridge alone."""
        home = self._area.folder("mosquitto", owned=False)
        persistence = self._area.folder("mosquitto", "data")
        self._area.folder("mosquitto", "users", owned=False)
        limits = self._limits
        # By its own word a client could take the session of another, the bridge's too: its user name is its session.
        own_names = ["use_username_as_clientid true", f"max_connections {limits.connections}"]
        lines = [
            "per_listener_settings false",
            "allow_anonymous false",
            f"password_file {self._passwords}",
            f"acl_file {self._rights}",
            "persistence true",
            f"persistence_location {persistence}/",
            # On changes, every message would rewrite the whole file; by interval at most this many seconds are lost,
            # and a gate sends again what the hub has not acknowledged.
            "autosave_on_changes false",
            f"autosave_interval {limits.autosave_s}",
            f"max_queued_messages {limits.queued_messages}",
            f"max_queued_bytes {limits.queued_bytes}",
            f"max_inflight_messages {limits.inflight_messages}",
            f"message_size_limit {limits.message_bytes}",
            f"max_packet_size {limits.message_bytes + 64 * 1024}",
            "queue_qos0_messages false",
            "set_tcp_nodelay true",
            "sys_interval 10",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "connection_messages false",
            f"listener {self.port} {self.host}",
            *own_names,
        ]
        if self._tls is not None:
            copies = self._copies()
            lines += [
                f"listener {self._tls.port} {self._tls.host}",
                f"certfile {copies[0]}",
                f"keyfile {copies[1]}",
                "tls_version tlsv1.2",  # and later
                *own_names,
            ]
            if len(copies) > 2:
                lines += [f"cafile {copies[2]}", "require_certificate true"]
        config = home / "mosquitto.conf"
        write_private(config, "\n".join(lines) + "\n", self._area.identity)
        self._applied.wrote(config)
        if not self._passwords.exists():
            self.set_devices([])
        return config

    def set_devices(self, devices: Sequence[BrokerUser], pid: int | None = None) -> None:
        """Make exactly these devices (and the bridge) the broker's users; `pid` is told to read them now.

        A secret may be given in Mosquitto's hashed form. Connected devices whose password changed are put out.
        Raises `BrokerError` for names or topics a file could not hold safely.
        """
        users = [self._bridge, *devices]
        for user in users:
            user.check()
        if len({user.name for user in users}) != len(users):
            raise BrokerError("two users of one name")
        self._hashes = {user.name: self._hash(user) for user in users}
        rights = []
        for user in users:
            rights.append(f"user {user.name}")
            rights += [f"topic read {topic}" for topic in user.reads]
            rights += [f"topic write {topic}" for topic in user.writes]
        passwords = "".join(f"{name}:{line}\n" for name, (_, line) in self._hashes.items())
        write_private(self._rights, "\n".join(rights) + "\n", self._area.identity)
        write_private(self._passwords, passwords, self._area.identity)
        self._applied.wrote(self._rights, self._passwords)
        if pid is not None:
            os.kill(pid, signal.SIGHUP)
            self._applied.told(pid)

    def spec(self) -> ChildSpec:
        """How a supervisor runs it. Needs `write_config()`."""
        server = find_server()
        if server is None:
            raise BrokerError("mosquitto is not installed")
        return ChildSpec(
            name="mqtt",
            argv=[str(server), "-c", str(self._home / "mosquitto.conf")],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            cwd=self._home,
            identity=self._area.identity,
            ready=lambda: tcp_open(self.host, self.port),
            ready_timeout_s=30.0,
            stage=0,
        )

    def drift(self, pid: int | None) -> list[Text]:
        """How the files differ from what the hub wrote, and from what process `pid` has read; empty: not at all."""
        return self._applied.drift(pid)

    def renew_tls(self) -> None:
        """Take the certificate anew from its files; new connections get it once it is told of its users again, those that stand
        are left alone."""
        if self._tls is not None:
            self._copies()

    def _copies(self) -> list[Path]:
        assert self._tls is not None
        copies = [self._copy(path, f"tls-{number}.pem") for number, path in enumerate(self._tls.files)]
        self._applied.wrote(*copies)
        return copies

    @property
    def _passwords(self) -> Path:
        return self._home / "users" / "passwords"

    @property
    def _rights(self) -> Path:
        return self._home / "users" / "rights"

    def _hash(self, user: BrokerUser) -> tuple[str, str]:
        if hashed_form(user.secret):
            return user.secret, user.secret
        digest = hashlib.sha256(user.secret.encode()).hexdigest()
        known = self._hashes.get(user.name)
        return known if known is not None and known[0] == digest else (digest, password_hash(user.secret))

    def _copy(self, source: Path, name: str) -> Path:
        """The servers' user may not read a site's key file; nor may the hub open it to others."""
        target = self._home / name
        write_private(target, source.read_bytes(), self._area.identity)
        return target
