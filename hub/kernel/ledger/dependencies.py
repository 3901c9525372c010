"""What a counterparty was given, and what waits there for something else to be given first.

Runs inside TX4: what was delivered is written down, and what waited for it is promoted, in the transaction that concludes
the delivery; a kill before its commit leaves neither. It must never send anything, nor hold up what does not depend.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hub.kernel.intake import order_hash
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.given_codes import TEMPORARY
from hub.kernel.ledger.shapes import Conclusion
from hub.kernel.lifecycle import State
from hub.kernel.ports import Event
from hub.kernel.store.db import Connection, sql
from mappings.canonical.registry import TYPES

OVERDUE = "prerequisite_overdue"
"""Cause of the task that deliveries share whose prerequisite does not come."""
MISSING = "missing_dependency"
"""Reason of a *try later* by which a counterparty says that something a record names is not there."""

CODE = "code_given"
"""The type of what is waited for where that is no record but a learner's lasting code."""

_sorted = msgspec.json.Encoder(order="sorted").encode


def content_of(event: Event, mapped: Mapping[str, Any]) -> bytes:
    """16 bytes over what travels of a record: field order does not matter, nor what the map leaves out."""
    return hashlib.blake2b(_sorted((event == "CANCEL", mapped)), digest_size=16).digest()


def split(name: str) -> tuple[str, str]:
    """(type, leading key fields) of a need's name, `<type>:<leading key fields>/`."""
    record_type, _, stem = name.partition(":")
    return record_type, stem.removesuffix("/")


def names_of(core: Core, connector: int, record_type: str, key: str) -> list[str]:
    """The names others at this connector may wait for an entity by."""
    parts = key.split("/")
    names = [
        f"{record_type}:{'/'.join(parts[:n])}/" for n in sorted(core.router.needed.get((connector, record_type), ()))
    ]
    # A learner kept under a temporary code is given again once there is a lasting one: so are the passages that wait for it.
    return [*names, lasting(key)] if record_type == "learner" and key.startswith(TEMPORARY) else names


def lasting(anchor: str) -> str:
    """The name passages wait by for the lasting code of a learner kept under this key."""
    return f"{CODE}:{anchor}/"


async def settle(
    core: Core, connection: Connection, connector: int, conclusions: list[Conclusion], done: set[int]
) -> None:
    """Write down what was given, note what waits and for what, and promote what need not wait any longer.

    Call it within TX4, when its moves are made. `done`: deliveries whose move this transaction made. Locks on what is
    waited for are taken after order locks, in sorted order, by everybody: of a delivery that begins to wait and the
    conclusion it waits for, the later one sees the earlier.
    """
    given: dict[tuple[str, str], tuple[bytes, int, bool]] = {}
    waits: dict[int, str] = {}
    for c in conclusions:
        out = c.delivery.outgoing
        if c.delivery.id not in done or out is None:
            continue
        if c.target is State.DELIVERED and core.router.tracks(c.delivery.flow, connector, out.type):
            before = given.get((out.type, out.key))
            if before is None or before[1] <= out.version:
                given[out.type, out.key] = (c.delivery.content or b"", out.version, out.event == "CANCEL")
        elif c.target is State.WAITING and (name := c.waits_for or _named_by_refusal(core, connector, c)):
            waits[c.delivery.id] = name
    if given:
        keys = sorted(given)
        rows = [given[k] for k in keys]
        await connection.execute(
            sql.given_write, connector, [t for t, _ in keys], [k for _, k in keys], [c for c, _, _ in rows], [v for _, v, _ in rows],
            [gone for _, _, gone in rows],
        )  # fmt: skip
    met = {n for (t, k), (_, _, gone) in given.items() if not gone for n in names_of(core, connector, t, k)}
    if not met and not waits:
        return
    await connection.fetchval(
        sql.order_locks, sorted({order_hash(f"{connector} needs {n}") for n in met | set(waits.values())})
    )
    if waits:
        met |= await _wait(connection, connector, waits)
    if met:
        await connection.execute(sql.waits_promote, connector, sorted(met))


async def _wait(connection: Connection, connector: int, waits: dict[int, str]) -> set[str]:
    """Note what these wait for; the names among them that have been given meanwhile."""
    await connection.execute(sql.waits_set, list(waits), list(waits.values()))
    return await given_names(connection, connector, set(waits.values()))


def _named_by_refusal(core: Core, connector: int, c: Conclusion) -> str | None:
    """What a record waits for that the counterparty refused for something missing: the last thing its flow says it needs."""
    if c.reason != MISSING or c.delivery.outgoing is None:
        return None
    names = needs_of(
        core, connector, c.delivery.flow, c.delivery.outgoing.type, c.delivery.key, c.delivery.outgoing.body
    )
    return names[-1] if names else None


def needs_of(core: Core, connector: int, flow: str, record_type: str, key: str, body: Mapping[str, Any]) -> list[str]:
    """Names of what a record needs at a connector, in the flow's order.

    The leading field of the record's key is taken from the key: a learner's is not always the code in the body.
    """
    target = core.router.targets.get((flow, connector))
    if target is None or not target.needs:
        return []
    first = TYPES[record_type].key_fields[0]
    known = {**body, first: key.split("/", 1)[0]}
    return [name for need in target.needs if (name := need.of(known)) is not None]


async def given_names(connection: Connection, connector: int, names: Iterable[str]) -> set[str]:
    """Of these needs' names, those met at the connector."""
    return await _asked(connection, sql.needs_met, connector, names=names)


async def missing(core: Core, connector: int, names: set[str]) -> tuple[set[str], set[str]]:
    """(met, to be waited for): an entity the hub has but has not delivered there is waited for. One it never had may be
    there all the same: the counterparty will say."""
    async with core.pool.acquire() as connection:
        met = await given_names(connection, connector, names)
        rest = names - met
        return met, await _asked(connection, sql.needs_known, names=rest) if rest else set()


async def _asked(connection: Connection, statement: str, *first: Any, names: Iterable[str]) -> set[str]:
    ordered = sorted(names)
    parts = [split(n) for n in ordered]
    rows = await connection.fetch(statement, *first, ordered, [t for t, _ in parts], [s for _, s in parts])
    return {r["name"] for r in rows}


async def last_given(
    core: Core, connector: int, wanted: list[tuple[str, str]]
) -> dict[tuple[str, str], tuple[bytes, int]]:
    """(content, version) the counterparty was last given, by (type, key); nothing for what it never was."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.given_of, connector, [t for t, _ in wanted], [k for _, k in wanted])
    return {(r["type"], r["key"]): (r["content"], r["version"]) for r in rows}


async def staff(core: Core, people: list[str]) -> frozenset[str]:
    """Those of these codes that are members of staff, and no learners: by the records there are of them, ended ones too."""
    async with core.pool.acquire() as connection:
        return frozenset(r["key"] for r in await connection.fetch(sql.staff_among, people))


async def facts(core: Core, deliveries: list[int]) -> dict[int, tuple[bool, float]]:
    """(a person had it sent anyway, age in seconds) of open deliveries."""
    async with core.pool.acquire() as connection:
        return {r["id"]: (r["anyway"], r["age_s"]) for r in await connection.fetch(sql.waits_facts, deliveries)}


async def seen_by_person(core: Core, connection: Connection, deliveries: list[int]) -> None:
    """Deliveries a person closed as delivered: what waited for them goes on, in the same transaction."""
    router = core.router
    tracked = [
        (flow, connector, record_type)
        for flow, connector in sorted(router.targets)
        for record_type in router.flows[flow].records
        if router.tracks(flow, connector, record_type)
    ]
    columns = ([x[n] for x in tracked] for n in range(3))
    rows = await connection.fetch(sql.given_seen, deliveries, *columns)
    by_connector: dict[int, set[str]] = {}
    for r in rows:
        if not r["cancelled"]:
            by_connector.setdefault(r["connector"], set()).update(names_of(core, r["connector"], r["type"], r["key"]))
    for connector in sorted(by_connector):
        names = sorted(by_connector[connector])
        await connection.fetchval(sql.order_locks, sorted(order_hash(f"{connector} needs {n}") for n in names))
        await connection.execute(sql.waits_promote, connector, names)


async def overdue_met(core: Core) -> list[int]:
    """Open tasks about a prerequisite that has been delivered by now."""
    async with core.pool.acquire() as connection:
        tasks = await connection.fetch(sql.waits_overdue_open)
        found: list[int] = []
        for connector in sorted({t["connector"] for t in tasks}):
            mine = {t["subject"]: t["id"] for t in tasks if t["connector"] == connector}
            found += [mine[n] for n in await given_names(connection, connector, mine)]
    return found
