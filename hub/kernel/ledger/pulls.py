"""Lists pulled from counterparties: where each run stands, and each page's records with its cursor in one transaction.

A kill between pages leaves a run that whoever comes next takes over at the page that was next; one before a page's commit
leaves nothing of it, and it is asked for again. A complete list's missing entries are withdrawn with its last page, unless
so much is missing that a person must look. It must never call anybody.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from hub.kernel.failpoints import reach
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.intake import accept_within
from hub.kernel.ledger.operations import note
from hub.kernel.ports import Call, Draft, Text
from hub.kernel.store.db import Connection, sql

_json = msgspec.json.Encoder().encode

_FEW = 10
_SHARE = 0.2
"""More missing than this share (and than a few) is taken for a fault of the list, not for news."""


class PullBusy(Exception):
    """Danh mục này đang được lấy về ở nơi khác. / This list is being pulled elsewhere right now."""


class PullLost(Exception):
    """Lượt lấy về này đã có tiến trình khác làm tiếp. / Another process went on with this run."""


class Shrunk(Exception):
    """Danh mục mới thiếu quá nhiều mục so với lần trước; cần người xác nhận. / The new list lacks too much of the last one; a person must confirm."""


class Accepting(Struct, frozen=True):
    """Somebody's word, with their reason, that what is gone from a list is really gone."""

    actor: str
    why: str


class Run(Struct, kw_only=True):
    """A run of one list in a caller's hands, or the finished one its key already names."""

    connector: int
    what: str
    number: int
    page: int
    cursor: str | None
    next: Call | None
    first: bool
    """True while no run of this list was ever complete: everything is new then, nothing of it is news."""
    done: bool = False
    records: int = 0
    unchanged: int = 0
    rejected: int = 0
    changes: int = 0
    removals_accepted: bool = False
    """Whether removals too many to be believed were taken on somebody's word, in these hands."""


class Change(Struct, frozen=True, kw_only=True):
    """What one entry of a complete list became."""

    key: str
    kind: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class Page(Struct, kw_only=True):
    """One page on its way into the ledger. `at`: when it was asked for."""

    arrival: Arrival
    drafts: list[Draft]
    at: datetime
    cursor: str | None
    next: Call | None
    complete: bool = False
    withdraw: list[Draft] = field(default_factory=list)


async def begin(core: Core, connector: int, what: str, key: str, owner: str, lease_s: float) -> Run:
    """Begin a run, go on with one whose owner is gone, or find that this key's run is done. Raises `PullBusy`."""

    async def once() -> Run:
        async with core.pool.acquire() as connection, connection.transaction():
            await connection.execute(sql.pull_row, connector, what)
            r = await connection.fetchrow(sql.pull_lock, connector, what)
            run = Run(
                connector=connector, what=what, number=r["run"], page=r["page"], cursor=r["cursor"], first=not r["whole"],
                next=msgspec.convert(r["next"], Call) if r["next"] else None, records=r["records"],
                unchanged=r["unchanged"], rejected=r["rejected"], changes=r["changes"],
            )  # fmt: skip
            if r["state"] == "done" and r["key"] == key:
                run.done = True
                return run
            if r["state"] == "running":
                if r["led"] and r["owner"] != owner:
                    raise PullBusy(what)
                await connection.execute(sql.pull_take_over, connector, what, key, owner, lease_s)
                return run
            number = await connection.fetchval(sql.pull_begin, connector, what, key, owner, lease_s)
            return Run(
                connector=connector, what=what, number=number, page=0, cursor=run.cursor, next=None, first=run.first
            )

    return await core.again(once)


async def store_page(
    core: Core, run: Run, owner: str, page: Page, lease_s: float, *, accepting: Accepting | None = None
) -> Accepted:
    """One page: its records, its entries, what changed, and where the run goes on. Moves `run` along.

    Raises `PullLost` when the run is another's by now, `Shrunk` when the last page of a complete list leaves too much out and
    nobody accepts that. Who does, and why, is journaled in the same transaction, and only where it is needed.
    """
    ids: list[int] = []

    async def once() -> tuple[Accepted, list[Change], bool]:
        source = await core.source_id(page.arrival.source)
        async with core.pool.acquire() as connection:
            if not ids:
                ids.extend(await core.ids.take(connection, 1))
            async with connection.transaction():
                held = (run.connector, run.what, run.number, run.page, owner)
                if await connection.fetchval(sql.pull_held, *held) is None:
                    raise PullLost(run.what)
                page.withdraw.clear()
                changes, taken = (
                    await _entries(core, connection, run, page, accepting) if page.complete else ([], False)
                )
                page.arrival.drafts = [*page.drafts, *page.withdraw]
                (accepted,) = await accept_within(core, connection, [page.arrival], ids, [source])
                if changes and not run.first:
                    await connection.execute(
                        sql.changes_add, run.connector, run.what, run.number, [c.key for c in changes], [c.kind for c in changes],
                        [_json(c.before) for c in changes], [_json(c.after) for c in changes],
                    )  # fmt: skip
                await connection.execute(
                    sql.pull_page, *held, page.cursor, _json(page.next) if page.next else None, lease_s, accepted.records,
                    accepted.unchanged, len(accepted.rejects), 0 if run.first else len(changes),
                )  # fmt: skip
                reach("pull.inside")
            reach("pull.after")
            return accepted, changes, taken

    accepted, changes, taken = await core.again(once)
    run.page, run.next, run.cursor = run.page + 1, page.next, page.cursor or run.cursor
    run.done = page.next is None
    run.records += accepted.records
    run.unchanged += accepted.unchanged
    run.rejected += len(accepted.rejects)
    run.changes += 0 if run.first else len(changes)
    run.removals_accepted = run.removals_accepted or taken
    core.on_commit("ready")
    return accepted


async def _entries(
    core: Core, connection: Connection, run: Run, page: Page, accepting: Accepting | None
) -> tuple[list[Change], bool]:
    """Note what this page holds, and with the last one what no page held; and whether that had to be accepted."""
    taken = False
    mine = {d.key: d.body for d in page.drafts}
    before = {r["key"]: r for r in await connection.fetch(sql.entries_of, run.connector, run.what, sorted(mine))}
    changes: list[Change] = []
    for key in sorted(mine):
        held = before.get(key)
        if held is None:
            changes.append(Change(key=key, kind="added", after=mine[key]))
        elif held["gone_at"] is not None:
            changes.append(Change(key=key, kind="returned", before=held["body"], after=mine[key]))
        elif held["body"] != mine[key]:
            changes.append(Change(key=key, kind="changed", before=held["body"], after=mine[key]))
    if mine:
        keys = sorted(mine)
        await connection.execute(
            sql.entries_write, run.connector, run.what, keys, [_json(mine[k]) for k in keys], run.number
        )
    if page.next is None:
        missing = await connection.fetch(sql.entries_missing, run.connector, run.what, run.number)
        held_now = await connection.fetchval(sql.entries_held, run.connector, run.what)
        if len(missing) > max(_FEW, held_now * _SHARE):
            if accepting is None:
                raise Shrunk(f"{len(missing)}/{held_now}")
            taken = True
            await note(
                core, connection, accepting.actor, "pull", connector=run.connector, what=run.what, run=run.number,
                accepted_removals=True, missing=len(missing), held=held_now, why=accepting.why,
            )  # fmt: skip
        if missing:
            await connection.execute(sql.entries_gone, run.connector, run.what, [r["key"] for r in missing])
        for r in missing:
            changes.append(Change(key=r["key"], kind="removed", before=r["body"]))
            page.withdraw.append(
                Draft(type=page.arrival.type, key=r["key"], body=r["body"], event="CANCEL", updated_at=page.at)
            )
    return changes, taken


async def fault(core: Core, run: Run, owner: str, text: Text, *, over: bool) -> None:
    """Note why a run stopped. `over`: it has failed, and the next one begins anew; else it goes on where it stopped."""
    async with core.pool.acquire() as connection:
        said = msgspec.to_builtins(text)
        await connection.execute(sql.pull_fault, run.connector, run.what, owner, said, over)


async def let_go(core: Core, run: Run, owner: str) -> None:
    """Leave a run to whoever comes next, at once."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.pull_let_go, run.connector, run.what, owner)


async def standing(core: Core) -> dict[tuple[int, str], Any]:
    """Every list's last run, by connector and name."""
    async with core.pool.acquire() as connection:
        return {(r["connector"], r["what"]): r for r in await connection.fetch(sql.pulls_all)}
