"""Devices by the hundred: a whole fleet registered or revoked in one transaction, and what is stored of it.

One concern: the same facts as `hub.kernel.ledger.parties` writes for one device, for many at once. What a kill leaves
is all of a fleet or none of it. It must never return a secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime

from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.gate_ids import namespace_of
from hub.kernel.ledger.operations import note
from hub.kernel.store.db import patient, sql

_PAGE = 20_000


class Device(Struct, frozen=True, kw_only=True):
    """One device to register; `secret` and `signing` (see `gates.sign`) are sealed with the hub's key. `person_ids`: whose its
    person numbers are (see `gate_ids`)."""

    id: str
    family: str
    profile: str
    title: str
    school: str
    entrance: str
    direction: str
    zone: str
    person_ids: str
    secret: bytes
    signing: bytes | None = None


class School(Struct, frozen=True, kw_only=True):
    """One school, as the directory needs it."""

    code: str
    name: str
    ward: str
    level: str | None = None


async def add_schools(core: Core, schools: Sequence[School]) -> None:
    """Put schools into the directory; what it holds of one already is written over."""
    ordered = sorted(schools, key=lambda s: s.code)
    columns = [
        [s.code for s in ordered],
        [s.name for s in ordered],
        [s.ward for s in ordered],
        [s.level for s in ordered],
    ]
    async with core.pool.acquire() as connection:
        await connection.execute(sql.school_write, *columns)
    await core.refresh()


async def add_devices(core: Core, actor: str, devices: Sequence[Device]) -> None:
    """Register devices, or change what is registered of them. Raises the database's error when a school is unknown to
    it or a name is given twice, `ValueError` when `person_ids` says nothing; then none was registered."""
    ordered = sorted(devices, key=lambda d: d.id)
    async with core.pool.acquire() as connection, connection.transaction():
        sources = {r["name"]: r["id"] for r in await connection.fetch(sql.fleet_sources, [d.id for d in ordered])}
        fields = ("id", "family", "profile", "title", "school", "entrance", "direction", "zone", "secret", "signing")
        columns = [[getattr(d, name) for d in ordered] for name in fields]
        spaces = [namespace_of(d.person_ids, d.id) for d in ordered]
        await connection.execute(sql.fleet_add, [sources[d.id] for d in ordered], *columns, spaces)
        families = dict(Counter(d.family for d in ordered))
        await note(
            core, connection, actor, "devices", count=len(ordered), families=families, devices=[d.id for d in ordered]
        )
    core.on_commit("devices")


async def revoke_devices(core: Core, actor: str, devices: Collection[str]) -> int:
    """Revoke the credentials of those that are active; gives how many were."""
    async with core.pool.acquire() as connection, connection.transaction():
        done = sorted(r["id"] for r in await connection.fetch(sql.fleet_revoke, sorted(devices)))
        if done:
            await note(core, connection, actor, "devices_revoked", count=len(done), devices=done)
    core.on_commit("devices")
    return len(done)


async def checkins(
    core: Core, schools: Sequence[str], since: datetime
) -> AsyncIterator[tuple[str, str, str, int, datetime]]:
    """The check-ins of these schools received since a moment: device, person's code, device time as sent, how many
    records say the same, and when the first of them was stored. Reads a whole day's records: for checks, not for a hot path."""
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await patient(connection)
        async for r in connection.cursor(sql.fleet_checkins, list(schools), since.isoformat(), prefetch=_PAGE):
            yield r["device"], r["person"], r["raw"], r["times"], r["stored_at"]
