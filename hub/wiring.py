"""Putting a process of the hub together: settings, keys, database, Redis, catalogue, flows, ledger.

Shared by the gateway, the bridge and the workers. It must never start a service or a child process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from hub.batches import per_call
from hub.bell import Bell
from hub.embedded.airflow_link import Link
from hub.gate_topics import PEOPLE_TAKERS
from hub.kernel.keyed import keyed
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.intake import warm
from hub.kernel.ports import Hasher
from hub.kernel.router import Router, load_flows
from hub.kernel.store.db import open_pool
from hub.kernel.store.migrate import SchemaBehind, current
from hub.keys import Keys
from hub.settings import Settings
from mappings.engine import Catalogue

log = logging.getLogger("hub.wiring")

ROOT = Path(__file__).resolve().parent.parent
FLOWS = ROOT / "flows"
_DATABASE_PATIENCE_S, _DATABASE_SAID_S, _LOOK_S = 60.0, 5.0, 10.0
_IN_THE_MAKING = (
    *TRANSIENT, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, asyncpg.InsufficientPrivilegeError,
    SchemaBehind,
)  # fmt: skip
"""What a database says that is still starting, or whose roles, tables and rights another is just making."""
_REFRESH_S = 5.0
_AGAIN_S = 0.5
_CLOSE_S = 1.0
"""How long the database is waited for to see its connections off."""


@dataclass
class House:
    """What every process of the hub has."""

    settings: Settings
    keys: Keys
    core: Core
    redis: Redis | None
    bell: Bell

    async def refresh(self) -> None:
        """Read the small tables again and bind flows to the connectors there are."""
        await self.core.refresh()
        self.core.router.bind(self.core.connectors)

    async def follow(self) -> None:
        """Keep the small tables fresh, without end: on the bell, and every few seconds without it."""

        async def again() -> None:
            with contextlib.suppress(*TRANSIENT):
                await self.refresh()

        async def by_bell() -> None:
            async for _word in self.bell.heard():
                await again()

        async def by_clock() -> None:
            while True:
                await asyncio.sleep(_REFRESH_S)
                await again()

        async with asyncio.TaskGroup() as both:  # neither goes on when the other breaks off and both are begun anew
            both.create_task(by_bell())
            both.create_task(by_clock())

    def end_within(self, seconds: float) -> None:
        """The process was told to end: the database is waited for so long at most. Then its connections are cut off, and whoever
        waits hears that they are gone: a server that stands still keeps nobody from ending. What it had not answered is
        unknown, as after a kill."""
        asyncio.get_running_loop().call_later(seconds, self._cut)

    def _cut(self) -> None:
        self.core.pool.terminate()
        # Who was cancelled within a transaction waits for its ROLLBACK, and hears of the cut instead of the cancellation:
        # the database's fault, which is tried again for ever. So it is told again, until it has ended.
        for task in asyncio.all_tasks():
            if task.cancelling():
                task.cancel()
        asyncio.get_running_loop().call_later(_AGAIN_S, self._cut)


def airflow_link(settings: Settings) -> Link | None:
    """How this process reaches Airflow; None when it is off."""
    a = settings.airflow
    if a.mode != "url" or a.url is None or a.password is None:
        return None
    return Link(str(a.url).rstrip("/"), a.username, a.password.get_secret_value())


def hasher_of(keys: Keys) -> Hasher:
    """The keyed hash for originals and look-up inputs: 32 bytes, in hex."""
    digest = keyed(keys.hmac("message-digest"))
    return lambda data: digest(data).hex()


async def _looked_at(url: str) -> None:
    # A server that greets and then stands still is asked again like one that is not there.
    async with asyncio.timeout(_LOOK_S):
        connection = await asyncpg.connect(url)
        try:
            await current(connection)
        finally:
            await connection.close()


async def database_ready(settings: Settings) -> None:
    """Wait for the database to be there and its schema to be as new as this code. Raises the database's error, `SchemaBehind` or
    `TimeoutError` after a minute."""
    assert settings.database_url is not None, "the supervisor gives every process its database"
    url = settings.database_url.get_secret_value()
    began, said = time.monotonic(), False
    while True:
        try:
            await _looked_at(url)
            return
        except _IN_THE_MAKING as error:
            waited = time.monotonic() - began
            if waited > _DATABASE_PATIENCE_S:
                raise
            if waited > _DATABASE_SAID_S and not said:
                said = True
                log.warning("still waiting for the database: %s: %s", type(error).__name__, error)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def open_house(
    settings: Settings, application: str, *, pool_min: int = 0, pool_max: int | None = None
) -> AsyncIterator[House]:
    """Open what a process needs, waiting for a database that is still starting, or still being brought up to date: no code works on
    a schema older than itself. Raises the database's error, or `SchemaBehind`, after a minute."""
    assert settings.database_url is not None, "the supervisor gives every process its database"
    keys = Keys.open(settings.key_file, settings.data_dir)
    url = settings.database_url.get_secret_value()
    until = time.monotonic() + _DATABASE_PATIENCE_S
    while True:
        await database_ready(settings)
        try:
            pool = await open_pool(
                url,
                low=min(max(pool_min, settings.database.pool_min), pool_max or settings.database.pool_max),
                high=pool_max or settings.database.pool_max,
                application=application,
                ready=warm,
                keep=pool_min > 0,
            )
            break
        except TRANSIENT:  # it went away again
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)
    redis = Redis.from_url(settings.redis_url.get_secret_value()) if settings.redis_url else None
    try:
        core = Core(
            pool,
            Router(load_flows(FLOWS), {}),
            Catalogue.load(),
            hasher_of(keys),
            worker=f"{application}@{socket.gethostname()}:{os.getpid()}",
        )
        core.punch_window_s = settings.checkins.punch_window_s
        core.people_takers = PEOPLE_TAKERS
        core.per_call = per_call
        bell = Bell(redis)
        core.on_commit = bell.ring
        house = House(settings, keys, core, redis, bell)
        await house.refresh()
        yield house
    finally:
        if redis is not None:
            await redis.aclose()
        cut = asyncio.get_running_loop().call_later(_CLOSE_S, pool.terminate)
        await pool.close()
        cut.cancel()
