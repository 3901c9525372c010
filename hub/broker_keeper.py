"""Keeping the embedded broker as the registry says: its users, its certificate, and what is told of it.

One concern: those. Runs in the supervisor's process. It must never let one gate's bad entry keep the others from the
broker, nor put a secret into the status it writes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Collection
from typing import Any

from hub.embedded.authority import Authority
from hub.embedded.broker import Broker, BrokerError, BrokerUser, lets_in
from hub.embedded.supervisor import Supervisor
from hub.gate_topics import gate_topics
from hub.kernel.ledger import gates, parties
from hub.kernel.ports import COMMANDS_USER, PROBE
from hub.keys import CannotDecrypt, Keys
from hub.setting_groups import Mqtt
from hub.wiring import House

log = logging.getLogger("hub.broker")

LOOK_S = 30.0
"""How often drift is looked for, and users written without the bell: it may be lost."""
_CERT_LOOK_S = 3600.0
_TOLD_S, _ANSWER_S, _AGAIN_S, _AGAIN_MAX_S = 30.0, 10.0, 0.05, 3.0
"""How long a broker has to go by what it was told; how long one answer may take; after how long it is told again, at first and
at most."""
_KEEPER = "lt-keeper"


def users_of(rows: list[Any], keys: Keys, own: Collection[str] = ()) -> list[BrokerUser]:
    """The broker's users out of the registry: one for each gate that speaks to it, two while a rotation overlaps. `own`: the
    hub's own users; a gate of such a name is passed over."""
    found: list[BrokerUser] = []
    for d in rows:
        topics = gate_topics(d["id"], d["family"], d["school"], (p["school"] for p in d["places"] or ()))
        if topics is None:
            continue
        if d["id"] in own:
            log.error("gate %s cannot be a user of the broker: the name is the hub's own", d["id"])
            continue
        known = [(gates.username(d["id"], d["generation"]), d["secret"])]
        if d["old_secret"] is not None and d["generation"] > 1:
            known.append((gates.username(d["id"], d["generation"] - 1), d["old_secret"]))
        for name, sealed in known:
            try:
                secret = keys.decrypt(sealed, d["id"].encode()).decode()
                user = BrokerUser(name, secret, reads=topics[0], writes=topics[1])
                user.check()
                found.append(user)
            except (CannotDecrypt, UnicodeDecodeError, BrokerError) as error:
                log.error("gate %s cannot be a user of the broker: %s", d["id"], error)
    return found


def commands_user(keys: Keys) -> BrokerUser:
    """Who a connector that sends people to gates is at the embedded broker: it writes to gates and hears their answers."""
    secret = keys.hmac("broker commands", 24).hex()
    return BrokerUser(COMMANDS_USER, secret, reads=["mqtt/face/+/Ack"], writes=["mqtt/face/+"])


def probe_user(keys: Keys) -> BrokerUser:
    """Who tries that connector's account: the same secret, a session of its own, and no topics."""
    return BrokerUser(COMMANDS_USER + PROBE, commands_user(keys).secret)


async def _kept(work: Awaitable[None]) -> None:
    """Whatever goes wrong once must not end the keeping: a gate that is revoked later would keep its access."""
    try:
        await work
    except Exception as error:
        log.error("the broker could not be brought up to date: %s: %s", type(error).__name__, error)


class BrokerKeeper:
    """One per hub. `renew` at once, `run` for good."""

    def __init__(
        self, broker: Broker | None, house: House, supervisor: Supervisor, settings: Mqtt, authority: Authority | None
    ) -> None:
        self._broker = broker
        self._house = house
        self._supervisor = supervisor
        self._settings = settings
        self._authority = authority
        # Two at once would write the same files, and the one with the older list might be the last.
        self._one_at_a_time = asyncio.Lock()
        self._written: list[BrokerUser] | None = None
        self._certificate_at = time.monotonic()

    async def renew(self) -> None:
        """Make the registry's gates the broker's users now. Does nothing where nothing has changed."""
        if self._broker is None:
            return
        async with self._one_at_a_time:
            rows, keys = await parties.devices(self._house.core), self._house.keys
            own = [commands_user(keys), probe_user(keys)]
            users = [*own, *users_of(rows, keys, (*gates.RESERVED, self._settings.username))]
            if users != self._written and await self._told(users):
                self._written = users
            self._note()

    async def run(self) -> None:
        """Follow the registry, the certificate's end and the files."""
        if self._broker is None:
            return
        await asyncio.gather(self._by_bell(), self._by_clock())

    async def _by_bell(self) -> None:
        async for word in self._house.bell.heard():
            if word in ("devices", "lost"):
                await _kept(self.renew())

    async def _by_clock(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await _kept(self.renew())
            await _kept(self._certificate())

    async def _certificate(self) -> None:
        authority, broker = self._authority, self._broker
        if authority is None or broker is None or time.monotonic() - self._certificate_at <= _CERT_LOOK_S:
            return
        self._certificate_at = time.monotonic()
        if await asyncio.to_thread(authority.ensure, self._settings.tls_names):
            async with self._one_at_a_time:
                await asyncio.to_thread(broker.renew_tls)
                self._written = None  # it is told of its users once more, and takes the certificate with them
            await self.renew()
            log.warning("the broker's certificate was renewed")

    async def _told(self, users: list[BrokerUser]) -> bool:
        """Make these the broker's users; whether it goes by them.

        Mosquitto that is told while it still reads may forget that it was told, and reading takes it long when many are
        connected: a gate revoked would keep its access. So a user nobody had before is among them, it signs in, and the broker is
        told again until that succeeds."""
        assert self._broker is not None
        mine, broker = BrokerUser(_KEEPER, secrets.token_hex(16)), self._broker
        until, again_s = time.monotonic() + _TOLD_S, _AGAIN_S
        while time.monotonic() < until:
            pid = self._pid()
            await asyncio.to_thread(broker.set_devices, [*users, mine], pid)
            if pid is None:
                return True  # it reads them when it starts
            await asyncio.sleep(again_s)
            if await lets_in(broker.host, broker.port, mine, _ANSWER_S):
                return True
            again_s = min(2 * again_s, _AGAIN_MAX_S)
        log.error("the broker does not go by its %d users: it is told again", len(users))
        return False

    def _pid(self) -> int | None:
        assert self._broker is not None
        return self._supervisor.pid(self._broker.spec().name)

    def _note(self) -> None:
        broker, authority = self._broker, self._authority
        assert broker is not None
        ends = authority.ends() if authority else None
        self._supervisor.note(
            "broker",
            {
                "name": broker.name,
                "warning": {"vi": broker.warning.vi, "en": broker.warning.en} if broker.warning else None,
                "port": broker.port,
                "tls_port": self._settings.tls_port or None,
                "ca_pem": authority.ca.read_text() if authority else None,
                "certificate_ends": ends.isoformat() if ends else None,
                "users": len(self._written or []),
                "looked_at": time.time(),
                "drift": [{"vi": t.vi, "en": t.en} for t in broker.drift(self._pid())],
            },
        )
