"""Sending closed deliveries again: the plan, and the order in chunks that can be cut off and given again.

What is sent again goes through the normal queue, linked to what it repeats. It must never change anything closed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from hub.kernel.intake import order_hash, order_of
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import note
from hub.kernel.ledger.rows import DELIVERY_COLUMNS
from hub.kernel.lifecycle import FINAL, State
from hub.kernel.store.db import Connection, sql

_CHUNK = 1_000
"""Deliveries a replay queues in one transaction."""


class ReplayFilter(Struct, kw_only=True):
    """Which closed deliveries to send again. At least one of the narrowing fields must be set."""

    deliveries: list[int] | None = None
    message: int | None = None
    connector: str | None = None
    schools: list[str] | None = None
    states: list[State] = field(default_factory=lambda: [State.DEAD, State.CANCELLED])
    since: datetime | None = None
    until: datetime | None = None
    """Only what was closed before. Without it: before the order began, or what it sent again would be asked for again."""


class ReplayPlan(Struct, kw_only=True):
    """What a replay would do, before anything is done."""

    count: int
    by_connector: dict[str, int]
    as_of: datetime
    """When it was counted, by the database's clock. As the order's `until` it makes the order mean exactly this plan, also
    when it was cut off and is given again while what it had queued is being delivered."""


class ReplayResult(Struct, kw_only=True):
    """How many were asked for and how many queued; what was replayed before is not asked again."""

    asked: int
    queued: int
    before: int = 0
    """Of those that are meant: replayed before, by an earlier run of this order or by any other."""
    done: int = 0
    """How many of those have ended by now. What this run queued has only begun: the same order given again says how far
    it came."""


def _arguments(core: Core, wanted: ReplayFilter) -> tuple[Any, ...]:
    if not any((wanted.deliveries, wanted.message, wanted.connector, wanted.schools, wanted.since)):
        raise ValueError("a replay needs something to narrow it down")
    if any(s not in FINAL for s in wanted.states):
        raise ValueError("only closed deliveries can be replayed")
    connector = core.connectors[wanted.connector] if wanted.connector else None
    return (
        wanted.deliveries,
        wanted.message,
        connector,
        wanted.schools,
        [int(s) for s in wanted.states],
        wanted.since,
        wanted.until,
    )


async def plan_replay(core: Core, wanted: ReplayFilter) -> ReplayPlan:
    """Count what a replay would send again."""
    async with core.pool.acquire() as connection:
        as_of = await connection.fetchval(sql.clock)
        wanted = replace(wanted, until=wanted.until or as_of)
        rows = await connection.fetch(sql.replay_count, *_arguments(core, wanted), timeout=300)
    names = {number: name for name, number in core.connectors.items()}
    by_connector: dict[str, int] = {}
    for r in rows:
        by_connector[names[r["connector"]]] = by_connector.get(names[r["connector"]], 0) + r["n"]
    return ReplayPlan(count=sum(by_connector.values()), by_connector=by_connector, as_of=wanted.until or as_of)


async def replay(
    core: Core, actor: str, wanted: ReplayFilter, mode: Literal["as_sent", "remap"], why: str
) -> ReplayResult:
    """Queue closed deliveries again, in chunks, each chunk one transaction; interrupted, the same order (with the plan's
    `as_of` as its `until`) goes on.

    `as_sent` pins the request's stored bytes, `remap` renders anew with the mappings now in force. Both are new
    deliveries linked to the old ones; nothing old is changed.
    """
    if wanted.until is None:
        async with core.pool.acquire() as connection:
            wanted = replace(wanted, until=await connection.fetchval(sql.clock))
    arguments = _arguments(core, wanted)
    asked = queued = earlier = done = after = 0
    while True:
        async with core.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                sql.replay_lock
            )  # two orders at once would both find that nothing was replayed yet
            page = await connection.fetch(sql.replay_page, *arguments, after, _CHUNK, timeout=300)
            if not page:
                break
            before = await connection.fetch(sql.replayed_before, [r["id"] for r in page], page[0]["id"], timeout=300)
            known = {r["replay_of"] for r in before}
            earlier += len(known)
            done += len({r["replay_of"] for r in before if r["ended"]})
            rows = [r for r in page if r["id"] not in known]
            after = page[-1]["id"]
            if not rows:
                continue
            asked += len(rows)
            queued += await _requeue(core, connection, rows, mode)
            await note(core, connection, actor, "replay", mode=mode, why=why, deliveries=[r["id"] for r in rows])
    core.on_commit("ready")
    return ReplayResult(asked=asked, queued=queued, before=earlier, done=done)


async def _requeue(core: Core, connection: Connection, rows: list[Any], mode: str) -> int:
    orders: dict[int, int | None] = {}
    records = {r["id"]: r for klass in {r["class"] for r in rows} for r in await connection.fetch(
        sql.records_of, klass, [r["record"] for r in rows if r["class"] == klass])}  # fmt: skip
    for r in rows:
        target = core.router.targets.get((r["flow"], r["connector"]))
        record = records[r["record"]]
        ordered = target is not None and target.order == "key"
        orders[r["id"]] = order_hash(order_of(record["type"], record["key"], record["body"] or {})) if ordered else None
    keys = sorted({k for k in orders.values() if k is not None})
    busy: set[tuple[int, int]] = set()
    if keys:
        await connection.fetchval(sql.order_locks, keys)
        pairs = sorted({(r["connector"], k) for r in rows if (k := orders[r["id"]]) is not None})
        busy = {
            (x[0], x[1]) for x in await connection.fetch(sql.open_keys, [c for c, _ in pairs], [k for _, k in pairs])
        }
    ids = await core.ids.take(connection, len(rows))
    out = []
    for new, r in zip(ids, rows, strict=True):
        key = orders[r["id"]]
        held = key is not None and (r["connector"], key) in busy
        if key is not None:
            busy.add((r["connector"], key))
        out.append(
            (new, r["record"], r["connector"], r["class"], int(State.HELD if held else State.READY), key,
             core.ranks.next(r["connector"], r["school"], 0.0), None, r["flow"], r["key"], r["school"],
             "replayed_behind" if held else "replayed", r["id"], r["call"] if mode == "as_sent" else None)
        )  # fmt: skip
    await connection.copy_records_to_table("deliveries", records=out, columns=(*DELIVERY_COLUMNS, "resend"))
    return len(out)
