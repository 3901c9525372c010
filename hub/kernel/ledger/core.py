"""What the ledger's parts share: the pool, ids, the catalogue in force, the directory of schools, small dictionaries.

It must never hold state that the database does not: everything here can be thrown away and read again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from hub.kernel.access import Directory, School
from hub.kernel.intake import Source
from hub.kernel.ports import BATCH_MAX, Hasher
from hub.kernel.router import Router
from hub.kernel.store.db import Ids, Pool, sql
from mappings.engine import Catalogue

T = TypeVar("T")

CLASSES = {"short": 1, "standard": 2, "long": 3}

sorted_json = msgspec.json.Encoder(order="sorted").encode

TRANSIENT: tuple[type[BaseException], ...] = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says when the server dies in the middle of its own protocol
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
    asyncpg.DiskFullError,
    ConnectionError,
    OSError,
    asyncio.TimeoutError,
)
"""Faults of the database that say nothing about the data: the same transaction may be tried again."""


def content_hash(event: str, body: bytes) -> bytes:
    """16 bytes over a record's content, given as `sorted_json`: the order of fields does not matter."""
    cancelled = b"[true,%b]" if event == "CANCEL" else b"[false,%b]"
    return hashlib.blake2b(cancelled % body, digest_size=16).digest()


def stored_batch(_system: str, settings: Mapping[str, Any]) -> int:
    """Deliveries in one call as a connector's settings say, or as holds where they say nothing: all the ledger knows by itself."""
    return int((settings.get("policy") or {}).get("batch_max") or BATCH_MAX)


class Ranks:
    """Fair shares without a table: each school's queue at a connector advances its own clock.

    A delivery's rank is a time in microseconds: now by the database's clock, or just after the school's last one. A school that pushes 100,000
    at once spreads over the future, so another school's next delivery goes between, not after. Lost on restart, which
    costs nothing but the memory of who was greedy.
    """

    _MAX_SCHOOLS = 50_000

    def __init__(self, cost_us: int = 1000) -> None:
        self._cost = cost_us
        self.ahead_us = 0
        """How far the database's clock is ahead of this host's: a host a day behind must not go first with all it takes."""
        self._last: dict[tuple[int, str | None], int] = {}

    def next(self, connector: int, school: str | None, priority_s: float) -> int:
        """The rank of the next delivery of a school; a smaller one goes first. `priority_s` moves it that much later."""
        now = time.time_ns() // 1000 + self.ahead_us
        key = (connector, school)
        rank = max(now, self._last.get(key, 0) + self._cost)
        if len(self._last) > self._MAX_SCHOOLS:
            self._last.clear()
        self._last[key] = rank
        return rank + int(priority_s * 1e6)


class Core:
    """The ledger's common ground, one per process."""

    def __init__(self, pool: Pool, router: Router, catalogue: Catalogue, hasher: Hasher, worker: str = "-") -> None:
        self.pool = pool
        self.router = router
        self.catalogue = catalogue
        self.hasher = hasher
        self.worker = worker
        self.ids = Ids()
        self.ranks = Ranks()
        self.directory = Directory()
        self.punch_window_s = 60.0
        """Punches of one person in one direction at one place this close together are one passage."""
        self.people_takers: frozenset[str] = frozenset()
        """Families of gates that take lists of people from the hub, as whoever puts the hub together knows them."""
        self.per_call: Callable[[str, Mapping[str, Any]], int] = stored_batch
        """Deliveries one call of a connector holds at most, by its system and its settings, as whoever puts the hub together knows it."""
        self._sources: dict[tuple[str, str], int] = {}
        self.connectors: dict[str, int] = {}
        self.on_commit: Callable[[str], None] = lambda _what: None
        """The bell: called after commits that leave work for others. It may be lost; a ticker polls anyway."""
        self._refresh_lock = asyncio.Lock()
        self._refreshed = 0.0
        self._approved = 0
        self._ahead_s = 0.0

    async def refresh(self, max_age_s: float = 0.0) -> None:
        """Read the small tables again: schools, connectors, approved codes. At most once per `max_age_s`."""
        async with self._refresh_lock:
            if time.monotonic() - self._refreshed < max_age_s:
                return
            async with self.pool.acquire() as connection:
                asked = time.time()
                there: float = (await connection.fetchval(sql.clock)).timestamp()
                told = time.time()
                ahead = there - (asked + told) / 2
                # What may as well be the asking itself is no difference.
                self._ahead_s = ahead if abs(ahead) > max(1.0, told - asked) else 0.0
                self.ranks.ahead_us = int(self._ahead_s * 1e6)
                schools = await connection.fetch(sql.schools_all)
                connectors = await connection.fetch(sql.connectors_all)
                approved = await connection.fetch(sql.approved_codes_all)
            self.directory.replace(School(**dict(s)) for s in schools)
            self.connectors = {c["name"]: c["id"] for c in connectors}
            if len(approved) != self._approved:
                # Approvals are only ever added, so their number says whether there are new ones.
                self.catalogue = self.catalogue.with_overlay([dict(a) for a in approved])
                self._approved = len(approved)
            self._refreshed = time.monotonic()

    def clock(self) -> float:
        """`moment` now, in epoch seconds: what hosts share, sign, or hand out with an end, goes by it."""
        return time.time() + self._ahead_s

    def moment(self, at: float | None = None) -> datetime:
        """The time of day by the database's clock, as compared at the last refresh. `at`: this host's, in epoch seconds; now
        without it. Hosts may disagree, and gates' clocks are judged by what comes out of here: so all use one."""
        return datetime.fromtimestamp((time.time() if at is None else at) + self._ahead_s, UTC)

    async def source_ids(self, sources: Iterable[Source]) -> list[int]:
        """The numbers of several sources: no waiting where all are known, and one look for all that are not: after a start
        a thousand gates are met within a second. Call it with no connection in hand: it takes its own."""
        known = self._sources
        asked = [(s.kind, s.name) for s in sources]
        if new := sorted({key for key in asked if key not in known}):
            await self._meet(new)
        return [known[key] for key in asked]

    async def source_id(self, source: Source) -> int:
        """The number of a source, made on first sight. Call it with no connection in hand: it takes its own."""
        return (await self.source_ids((source,)))[0]

    async def _meet(self, keys: list[tuple[str, str]]) -> None:
        async with self.pool.acquire() as apart:
            found = await apart.fetch(sql.sources_known, [k for k, _ in keys], [n for _, n in keys])
            self._sources.update(((r["kind"], r["name"]), r["id"]) for r in found)
            if len(found) < len(keys):
                rest = [key for key in keys if key not in self._sources]
                made = await apart.fetch(sql.sources_add, [k for k, _ in rest], [n for _, n in rest])
                self._sources.update(((r["kind"], r["name"]), r["id"]) for r in made)

    async def again(self, work: Callable[[], Awaitable[T]], *, for_s: float = 20.0) -> T:
        """Run a transaction, again while the database's faults are passing ones, for at most `for_s` seconds."""
        try:
            return await work()
        except TRANSIENT:
            # The machinery of trying again costs as much as a small transaction: only those pay that need it.
            await asyncio.sleep(random.uniform(0.0, 0.02))  # noqa: S311 - spreads those that failed together
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(TRANSIENT),
            stop=stop_after_delay(for_s),
            wait=wait_random_exponential(0.02, max=1.0),
            reraise=True,
        ):
            with attempt:
                return await work()
        raise AssertionError("unreachable")
