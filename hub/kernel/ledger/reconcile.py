"""Reconciliation: what the hub has against what a counterparty and the schools have, as hashes, down to the record.

Each side is gathered page by page, page and cursor in one transaction; compared in one; repaired page by page, each page's
deliveries with the mark that they were queued. A kill anywhere leaves a run that goes on, and nothing is queued twice. It must
never send anything, hold more than a page in memory, or keep of anybody more than a key and hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from hub.kernel.breath import breathing
from hub.kernel.hashtree import leaf
from hub.kernel.intake import order_hash, order_of
from hub.kernel.ledger import reconcile_alarm
from hub.kernel.ledger.core import CLASSES, Core
from hub.kernel.ledger.delta import Candidate, queue, route_to
from hub.kernel.ledger.dependencies import content_of
from hub.kernel.ledger.operations import because, note
from hub.kernel.store.db import Connection, sql
from mappings.canonical.registry import TYPES
from mappings.fieldmap import FieldMap, Unmapped

PAGE = 5_000
REPAIR_PAGE = 1_000
KEPT_DAYS = 90.0
_SHOWN_GROUPS = 200
_OURS, _THEIRS = 1, 2
_COLUMNS = ("run", "side", "school", "class", "key", "version", "h1", "h2")
_LONG_S = 600


class NotComparable(Exception):
    """Kết nối này không nhận loại bản ghi đó theo kiểu chỉ gửi phần thay đổi. / No flow sends only changes of that type there."""


class PlanChanged(Exception):
    """Kế hoạch đã khác lúc được xem. / There is more to do than the plan that was seen had; look at it again."""


class Run(Struct, frozen=True, kw_only=True):
    """One reconciliation. `school` None: all schools. `unread`: records whose hash could not be told, on either side."""

    id: int
    key: str
    connector: int
    type: str
    school: str | None
    actor: str
    state: str
    ours_after: str
    ours_done: bool
    ours_rows: int
    theirs_after: str | None
    theirs_done: bool
    theirs_rows: int
    unread: int
    begun_at: datetime
    compared_at: datetime | None
    repaired_at: datetime | None


class Listed(Struct, frozen=True):
    """One record as a counterparty lists it. `content`: 16 bytes as of `content_of`; None: it did not say."""

    key: str
    version: int
    school: str
    group: str
    content: bytes | None


class Result(Struct, kw_only=True):
    """What a comparison found. `differences`: rows of {side, kind, action, done, n}; `plan`: what a repair would queue."""

    schools: int
    schools_differ: int
    classes: int
    classes_differ: int
    ours: int
    theirs: int
    plan: int
    differences: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    """The first classes that differ: {school, class, ours, theirs}."""


class Repaired(Struct, kw_only=True):
    """What some pages of a repair did. `left`: still to be done; 0 is the end."""

    queued: int = 0
    on_their_way: int = 0
    unmapped: int = 0
    expired: int = 0
    left: int = 0


def _run(row: Any) -> Run:
    return Run(**{name: row[name] for name in Run.__struct_fields__})


async def begin(core: Core, actor: str, key: str, connector: int, record_type: str, school: str | None = None) -> Run:
    """Begin a run, or find the one begun under that key. Raises `NotComparable`. Forgets runs older than `KEPT_DAYS`."""
    if record_type not in TYPES or route_to(core, connector, record_type) is None:
        raise NotComparable(record_type)
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.reconcile_forget, KEPT_DAYS, timeout=_LONG_S)
        await connection.execute(sql.reconcile_forget_rows, timeout=_LONG_S)
        await connection.execute(sql.reconcile_begin, key, connector, record_type, school, actor)
        return _run(await connection.fetchrow(sql.reconcile_by_key, key))


async def find(core: Core, run: int) -> Run | None:
    """A run by its number."""
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.reconcile_one, run)
    return _run(row) if row else None


async def latest(core: Core, most: int, schools: list[str] | None = None) -> list[Any]:
    """The last runs with their number of differences; with `schools` only runs of one of these."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.reconcile_latest, most, schools))


def _mapped(core: Core, field_map: FieldMap, row: Any) -> bytes | None:
    """The hash of what would travel; None when that cannot be told (an unmapped code, a body erased by law)."""
    if row["body"] is None:
        return None
    meta = {"event": row["event"], "version": row["version"], "updated_at": row["updated_at"], "key": row["key"]}
    try:
        return content_of(row["event"], field_map.apply(row["body"], meta, core.catalogue))
    except Unmapped:
        return None


async def stage_ours(core: Core, run: Run, field_map: FieldMap) -> Run:
    """Gather one page of the hub's side. Returns the run as it stands then, also when another process was quicker."""
    klass = CLASSES[TYPES[run.type].retention]
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(
            sql.current_page, run.type, run.ours_after, PAGE, klass, run.school, timeout=_LONG_S
        )
    staged = [
        _staged(run.id, _OURS, r["school"] or "", str((r["body"] or {}).get("class_code") or ""), r["key"], r["version"],
                _mapped(core, field_map, r))
        async for r in breathing(rows)
    ]  # fmt: skip
    last = rows[-1]["key"] if rows else run.ours_after
    return await stage(core, run, sql.reconcile_ours, run.ours_after, last, len(rows) < PAGE, staged)


async def stage_theirs(core: Core, run: Run, listed: Sequence[Listed], after: str | None, done: bool) -> Run:
    """Store one page of the counterparty's side; `after`: where its listing goes on."""
    wanted = [x for x in listed if run.school is None or x.content is None or x.school == run.school]
    return await stage(core, run, sql.reconcile_theirs, run.theirs_after, after, done, rows_of(run.id, _THEIRS, wanted))


def rows_of(run: int, side: int, listed: Sequence[Listed]) -> list[Any]:
    """Rows of a side (1 ours, 2 theirs) to be staged."""
    return [_staged(run, side, x.school, x.group, x.key, x.version, x.content) for x in listed]


def _staged(run: int, side: int, school: str, group: str, key: str, version: int, content: bytes | None) -> Any:
    first, second = leaf(key, content) if content is not None else (None, None)
    return (run, side, school, group, key, version, first, second)


async def stage(
    core: Core, run: Run, statement: str, before: str | None, after: str | None, done: bool, rows: list[Any]
) -> Run:
    """Store rows and move the side's cursor from `before` to `after`, in one transaction; neither when it has moved already."""
    unread = sum(r[6] is None for r in rows)
    async with core.pool.acquire() as connection:
        async with connection.transaction():
            if await connection.fetchval(statement, run.id, before, after, done, len(rows), unread) is not None:
                await connection.copy_records_to_table("reconcile_rows", records=rows, columns=_COLUMNS)
        return _run(await connection.fetchrow(sql.reconcile_one, run.id))


async def conclude(core: Core, run: int) -> Run:
    """Compare both sides, and the schools' rosters with the hub's records; empties the gathered rows and says what differs.

    Where the rows gathered are not as many as were counted (the database has crashed since), gathering begins anew.
    """
    async with core.pool.acquire() as connection:
        async with connection.transaction():
            row = await connection.fetchrow(sql.reconcile_lock, run)
            if row["state"] == "gathering" and row["ours_done"] and row["theirs_done"]:
                staged = await connection.fetchrow(sql.reconcile_staged, run, timeout=_LONG_S)
                if (staged["ours"], staged["theirs"]) != (row["ours_rows"], row["theirs_rows"]):
                    await connection.execute(sql.reconcile_anew, run)
                else:
                    await _compare(connection, row)
                    await reconcile_alarm.judge(core, connection, row)
                await connection.execute(sql.reconcile_empty, run, timeout=_LONG_S)
        return _run(await connection.fetchrow(sql.reconcile_one, run))


async def _compare(connection: Connection, row: Any) -> None:
    await connection.execute(sql.reconcile_group, row["id"], timeout=_LONG_S)
    await connection.execute(sql.reconcile_descend, row["id"], row["type"], row["connector"], timeout=_LONG_S)
    await connection.execute(sql.reconcile_school_side, row["id"], row["type"], row["school"], timeout=_LONG_S)
    await connection.execute(sql.reconcile_compared, row["id"])


async def result(core: Core, run: int, schools: list[str] | None = None) -> Result:
    """What was found; with `schools` of these alone."""
    async with core.pool.acquire() as connection:
        totals = await connection.fetchrow(sql.reconcile_totals, run, schools)
        counts = [dict(r) for r in await connection.fetch(sql.reconcile_counts, run, schools)]
        groups = [dict(r) for r in await connection.fetch(sql.reconcile_groups_differ, run, schools, _SHOWN_GROUPS)]
    plan = sum(c["n"] for c in counts if c["action"] in ("send", "cancel") and c["done"] is None)
    return Result(**dict(totals), plan=plan, differences=counts, groups=groups)


async def differences(
    core: Core, run: int, after: tuple[str, str], most: int, schools: list[str] | None = None
) -> list[Any]:
    """Differing records in order of (side, key), from behind `after` on."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.reconcile_differences_page, run, *after, schools, most))


async def repair(
    core: Core, actor: str, run: Run, field_map: FieldMap, planned: int, most: int = 50_000, why: str = ""
) -> Repaired:
    """Queue current versions for what the counterparty lacks or has older, and nothing else; about `most` of them. `why`: for the
    journal, where a person orders it.

    `planned`: how many the plan that was seen had. Raises `PlanChanged` when there are more by now. Page by page, each in one
    transaction with its mark: broken off, the same order goes on; given again, it finds nothing left.
    """
    done = Repaired()
    looked = 0
    async with core.pool.acquire() as connection:
        if await connection.fetchval(sql.reconcile_left, run.id) > planned:
            raise PlanChanged(str(planned))
    while looked < most:
        async with core.pool.acquire() as connection, connection.transaction():
            await connection.fetchrow(sql.reconcile_lock, run.id)
            rows = await connection.fetch(
                sql.reconcile_repair_page,
                run.id,
                run.type,
                CLASSES[TYPES[run.type].retention],
                REPAIR_PAGE,
                timeout=_LONG_S,
            )
            if not rows:
                await connection.execute(sql.reconcile_repaired, run.id)
                break
            fates = await _repair_page(core, connection, run, field_map, rows)
            await connection.execute(sql.reconcile_done, run.id, list(fates), list(fates.values()))
            queued = sum(f == "queued" for f in fates.values())
            await note(
                core,
                connection,
                actor,
                "reconcile",
                connector=run.connector,
                run=run.id,
                queued=queued,
                looked=len(rows),
                **because(why),
            )
        looked += len(rows)
        done.queued += queued
        done.on_their_way += sum(f == "on_its_way" for f in fates.values())
        done.unmapped += sum(f == "unmapped" for f in fates.values())
        done.expired += sum(f == "expired" for f in fates.values())
        core.on_commit("ready")
    async with core.pool.acquire() as connection:
        done.left = await connection.fetchval(sql.reconcile_left, run.id)
    return done


async def _repair_page(
    core: Core, connection: Connection, run: Run, field_map: FieldMap, rows: list[Any]
) -> dict[str, str]:
    """What became of each key."""
    route = route_to(core, run.connector, run.type)
    if route is None:
        raise NotComparable(run.type)
    fates: dict[str, str] = {}
    wanted: list[Candidate] = []
    async for r in breathing(rows):
        content = _mapped(core, field_map, r)
        if content is None:
            fates[r["key"]] = "expired" if r["body"] is None else "unmapped"
            continue
        order = order_hash(order_of(run.type, r["key"], r["body"]))
        wanted.append(Candidate(r["key"], r["record"], r["school"], content, order))
    if wanted:
        await connection.fetchval(sql.order_locks, sorted({c.order for c in wanted}))
        missing = {r["key"] for r in rows if r["kind"] == "missing_there"}
        keys = [c.key for c in wanted]
        await connection.execute(sql.reconcile_unlearn, run.connector, run.type, keys, [k in missing for k in keys])
        queued = set(await queue(core, connection, run.connector, run.type, route, wanted))
        fates |= {k: "queued" if k in queued else "on_its_way" for k in keys}
    return fates


class Roster(Struct, kw_only=True):
    """What a school's roster and the hub's records differ in; `items`: the first of them."""

    school: str
    count: int
    missing_here: int = 0
    missing_there: int = 0
    differs: int = 0
    items: list[dict[str, str]]


async def take_roster(
    core: Core, client: str, record_type: str, school: str, rows: Sequence[tuple[str, str, bytes]], shown: int = 200
) -> Roster:
    """Keep a school's full roster, as (key, class, 16 bytes over its canonical content), in place of its last, and compare it.

    One transaction: a kill leaves the last one.
    """
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.roster_begin, record_type, school, client, len(rows))
        await connection.execute(sql.roster_empty, record_type, school)
        await connection.copy_records_to_table(
            "roster_rows",
            records=[(record_type, school, group, key, content) for key, group, content in rows],
            columns=("type", "school", "class", "key", "content"),
        )
        found = await connection.fetch(sql.roster_compare, record_type, school, timeout=_LONG_S)
    told = Roster(school=school, count=len(rows), items=[dict(r) for r in found[:shown]])
    for r in found:
        setattr(told, r["kind"], getattr(told, r["kind"]) + 1)
    return told
