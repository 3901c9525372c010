"""What every embedded MQTT broker has in common.

One concern: the shapes of users, limits and brokers, and what may stand in their files. It must never know a device
family's topics: callers give them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from connectors.transports import mqtt_packets as packets
from hub.embedded.supervisor import ChildSpec
from hub.kernel.ports import Text

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_HASHED = re.compile(r"\$7\$[0-9]{1,7}\$[A-Za-z0-9+/]{8,64}={0,2}\$[A-Za-z0-9+/]{80,92}={0,2}\Z")
_NOT_IN_LEVEL = set("#+$ ")


class BrokerError(Exception):
    """Không cấu hình được máy chủ MQTT. / The MQTT broker could not be configured."""

    def __str__(self) -> str:
        return f"{self.__doc__} {self.args[0] if self.args else ''}".strip()


@dataclass(frozen=True)
class BrokerUser:
    """A client of the broker: name, secret (plain, or Mosquitto's `$7$` form), topic filters it may read and write."""

    name: str
    secret: str
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()

    def check(self) -> None:
        """Refuse what could break out of a line of a broker's file. Raises `BrokerError`."""
        if not _NAME.match(self.name):
            raise BrokerError(f"not a user name: {self.name[:80]!r}")
        if len(self.secret) < 8 or len(self.secret) > 256 or not self.secret.isprintable():
            raise BrokerError(f"{self.name}: a secret has 8 to 256 printable characters")
        for topic in (*self.reads, *self.writes):
            check_filter(topic)

    def __repr__(self) -> str:
        return f"BrokerUser({self.name!r})"


@dataclass(frozen=True)
class BrokerLimits:
    """Windows and queues, per client unless said otherwise."""

    queued_messages: int = 100_000
    queued_bytes: int = 512 * 1024 * 1024
    inflight_messages: int = 4_000
    message_bytes: int = 4 * 1024 * 1024
    """A face terminal's record carries pictures in base64: 1 MiB and more."""
    autosave_s: int = 2
    connections: int = 10_000
    """At once, on each listener."""


@dataclass(frozen=True)
class Tls:
    """A second, encrypted listener. With `ca` clients must show a certificate signed by it."""

    port: int
    cert: Path
    key: Path
    ca: Path | None = None
    host: str = "0.0.0.0"  # noqa: S104 - gates are elsewhere; this listener exists for them

    @property
    def files(self) -> list[Path]:
        """Certificate, key, and the clients' authority where there is one."""
        return [self.cert, self.key, *([self.ca] if self.ca is not None else [])]


class Broker(Protocol):
    """An embedded broker."""

    name: str
    host: str
    port: int
    warning: Text | None

    def write_config(self) -> Path:
        """Write the configuration file and return its path."""
        ...

    def set_devices(self, devices: Sequence[BrokerUser], pid: int | None = None) -> None:
        """Make exactly these devices (and the bridge) the broker's users; process `pid` is told to read them."""
        ...

    def spec(self) -> ChildSpec:
        """How a supervisor runs it."""
        ...

    def drift(self, pid: int | None) -> list[Text]:
        """How what is written differs from what runs, and from what the hub would write; empty: not at all."""
        ...

    def renew_tls(self) -> None:
        """Take the listener's certificate anew from its files: in force when the broker is told of its users next."""
        ...


async def lets_in(host: str, port: int, user: BrokerUser, patience_s: float) -> bool:
    """Whether a broker takes this user now; False also where nobody answers in time. A broker that reads answers when it has read."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(patience_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(packets.connect(user.name, 30, True, user.name, user.secret))
                answers = packets.Packets()
                while data := await reader.read(256):
                    for head, body in answers.feed(data):
                        return head >> 4 == packets.CONNACK and body[1] == 0
            finally:
                writer.transport.abort()
    return False


def check_filter(topic: str) -> None:
    """Refuse what is not a topic filter of MQTT's syntax (`+` and `#` as whole levels, `#` last, no `$` topics)."""
    levels = topic.split("/")
    for position, level in enumerate(levels):
        wildcard = level == "+" or (level == "#" and position == len(levels) - 1)
        # Some devices' topics begin with a slash; an empty level elsewhere is a mistake.
        plain = (
            level.isprintable() and not _NOT_IN_LEVEL & set(level) and (level != "" or position == 0 < len(levels) - 1)
        )
        if not wildcard and not plain:
            raise BrokerError(f"not a topic filter: {topic[:200]!r}")


def hashed_form(secret: str) -> bool:
    """Whether a secret is already in Mosquitto's hashed form."""
    return _HASHED.match(secret) is not None
