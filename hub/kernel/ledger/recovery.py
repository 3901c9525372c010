"""Recovery of a connector: who leads it, and the release of what waits, step by step.

A leader (Airflow's DAG, or the hub's ticker) never sends: it moves deliveries from *waiting* to *ready*, and the
workers send them as ever. Everything here may be repeated: an epoch names one outage, a step one release. It must never
send anything, and never let two leaders release for one connector: each change is made under the recovery's row lock,
by the owner of a lease that still runs.
"""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Any

from msgspec import Struct, field

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import note
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text
from hub.kernel.store.db import Connection, sql

TICKER = "ticker:"
"""Owners whose name begins so are the hub's own tickers. They stand in: any other leader may take over from them."""

RELEASE_MAX = 40_000
LEASE_MAX_S = 300.0
STOCK_S = 4.0
"""Seconds of a quota in the largest step: the next follows when half of one is taken up, so at least half of these lie ready,
and a leader may be late by half of it before the quota goes short. The quota in deliveries is that of calls times what one call
holds at most (`Core.per_call`)."""
_STEP_LEAST, _STEP_FREE = 200, 2_000
"""The largest step where the quota is small, and where there is none per second."""
_DUE_PER_CONNECTOR = 2_000


class UnknownConnector(Exception):
    """Không có kết nối này. / There is no such connector."""


class RecoveryConflict(Exception):
    """Yêu cầu không còn hợp với việc khôi phục đang diễn ra. / The request does not fit the recovery as it stands."""

    code = "conflict"


class StaleEpoch(RecoveryConflict):
    """Đợt khôi phục này đã kết thúc hoặc đã có đợt mới. / This recovery is over, or a newer one has been opened."""

    code = "stale_epoch"


class NotLeader(RecoveryConflict):
    """Bên khác đang điều phối, hoặc quyền điều phối đã hết hạn. / Another leads, or the lease has ended."""

    code = "not_leader"


class OutOfStep(RecoveryConflict):
    """Số bước không nối tiếp bước trước. / The step does not follow the last one."""

    code = "out_of_step"


class ConnectorPaused(RecoveryConflict):
    """Kết nối đang tạm dừng. / The connector is paused: nothing to lead until it is resumed."""

    code = "connector_paused"


class Recovery(Struct, frozen=True, kw_only=True):
    """How a recovery stands. `owner` is None when nobody's lease runs."""

    connector: str
    epoch: int
    state: str
    connector_state: str
    opened_at: datetime | None
    reason: str | None
    step: int
    released: int
    triggered: bool
    owner: str | None
    lease_left_s: float | None
    now: datetime


class Leadership(Struct, frozen=True, kw_only=True):
    """A lease taken or extended. The next release is `step + 1`; `now` is the database's clock."""

    connector: str
    epoch: int
    owner: str
    lease_s: float
    step: int
    released: int
    now: datetime
    most: int = _STEP_LEAST
    """The most to release in one step while all goes well."""


class Release(Struct, frozen=True, kw_only=True):
    """What a step released: `count` deliveries, at the database's time `at`. `repeated`: the step was made before."""

    step: int
    count: int
    at: datetime
    deliveries: list[int] = field(default_factory=list)
    """Named only when few: a canary is asked about by its id."""
    repeated: bool = False


class Progress(Struct, frozen=True, kw_only=True):
    """Counts of one connector. `queued`: released, not taken up yet. `failed`: waiting or uncertain since `since`.

    The others read all that waits: they are None for who asked for these two alone."""

    queued: int
    failed: int
    waiting: int | None = None
    waiting_due: int | None = None
    ready: int | None = None
    sending: int | None = None
    uncertain: int | None = None
    oldest: datetime | None = None
    canary: str | None = None
    """State of the delivery asked for."""
    delivered_since_open: int | None = None
    """Counted only when asked for: it reads history."""


class Finish(Struct, frozen=True, kw_only=True):
    """Whether a recovery is over, and else why not."""

    done: bool
    reason: Text | None = None


_NAMED_MAX = 20


async def _number(core: Core, connector: str) -> int:
    if connector not in core.connectors:
        await core.refresh(max_age_s=1.0)
    try:
        return core.connectors[connector]
    except KeyError:
        raise UnknownConnector(connector) from None


async def open_recovery(core: Core, connector: str, reason: str) -> int:
    """Open a connector's recovery and return its epoch; while one is open, that one's. Cheap: one read."""
    number = await _number(core, connector)
    async with core.pool.acquire() as connection:
        while True:
            row = await connection.fetchrow(sql.recovery_find, number)
            if row is not None and row["state"] == "open":
                return int(row["epoch"])
            async with connection.transaction():
                epoch = await connection.fetchval(sql.recovery_begin, number, reason[:500])
                if epoch is not None:
                    await note(
                        core, connection, "hub", "recovery_opened", connector=number, epoch=epoch, reason=reason[:500]
                    )
                    break
    core.on_commit("recovery")
    return int(epoch)


async def overview(core: Core, *, open_only: bool = False) -> list[Recovery]:
    """All recoveries, by connector. Reads no deliveries."""
    async with core.pool.acquire() as connection:
        return [Recovery(**dict(r)) for r in await connection.fetch(sql.recovery_row, None, open_only)]


async def find(core: Core, connector: str) -> Recovery | None:
    """One connector's recovery; None when it never had one. Raises `UnknownConnector`."""
    number = await _number(core, connector)
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.recovery_row, number, False)
    return Recovery(**dict(row)) if row else None


async def _locked(connection: Connection, number: int, epoch: int) -> Any:
    row = await connection.fetchrow(sql.recovery_lock, number)
    if row is None or row["epoch"] != epoch or row["state"] != "open":
        raise StaleEpoch(f"{epoch}; stands: {row['epoch']} {row['state']}" if row else str(epoch))
    return row


def _led_by(row: Any, owner: str) -> None:
    if not row["led"] or row["owner"] != owner:
        raise NotLeader(row["owner"] if row["led"] else "nobody")


def _per_s(core: Core, row: Any) -> float | None:
    """A connector's quota in deliveries a second: calls, as full as they can be. None: it has none per second."""
    quota = (row["settings"].get("policy") or {}).get("quota") or {}
    calls = quota.get("per_second")
    return None if calls is None else float(calls) * core.per_call(row["system"], row["settings"])


def step_most(per_s: float | None) -> int:
    """The largest step under a quota of so many deliveries a second; None: no quota per second."""
    return _STEP_FREE if per_s is None else min(max(_STEP_LEAST, ceil(per_s * STOCK_S)), RELEASE_MAX)


async def lead(
    core: Core, connector: str, owner: str, epoch: int, lease_s: float, *, after_alone_s: float = 0.0
) -> Leadership:
    """Take or extend the lease, for `lease_s` seconds (at most `LEASE_MAX_S`).

    Another's running lease is respected, a ticker's gives way to any other leader. With `after_alone_s` a new lease is
    taken only once nobody has led for so long. Raises `StaleEpoch`, `NotLeader`, `ConnectorPaused`.
    """
    number = await _number(core, connector)
    lease_s = min(max(lease_s, 0.1), LEASE_MAX_S)
    async with core.pool.acquire() as connection, connection.transaction():
        row = await _locked(connection, number, epoch)
        if row["connector_state"] != "active":
            raise ConnectorPaused(connector)
        current = row["owner"] or ""
        gives_way = current.startswith(TICKER) and not owner.startswith(TICKER)
        if row["led"] and current != owner and not gives_way:
            raise NotLeader(current)
        if not row["led"] and current != owner and row["alone_s"] < after_alone_s:
            raise NotLeader("nobody, but not long enough")
        await connection.execute(sql.recovery_lead, number, owner, lease_s)
        if not (row["led"] and current == owner):
            await note(core, connection, owner, "recovery_led", connector=number, epoch=epoch, before=current or None)
        return Leadership(
            connector=connector, epoch=epoch, owner=owner, lease_s=lease_s,
            step=row["step"], released=row["released"], now=row["now"], most=step_most(_per_s(core, row)),
        )  # fmt: skip


async def release(
    core: Core,
    connector: str,
    owner: str,
    epoch: int,
    step: int,
    count: int,
    *,
    waiting_since_before: datetime | None = None,
) -> Release:
    """Move up to `count` (at most `RELEASE_MAX`) waiting deliveries to the queue, the longest due first.

    What is due goes; with `waiting_since_before` also what began to wait before that time. `step` is the last step + 1;
    a step made before releases nothing more. Raises `StaleEpoch`, `NotLeader`, `OutOfStep`.
    """
    number = await _number(core, connector)
    async with core.pool.acquire() as connection, connection.transaction():
        row = await _locked(connection, number, epoch)
        _led_by(row, owner)
        if step <= row["step"]:
            return Release(step=step, count=0, at=row["now"], repeated=True)
        if step != row["step"] + 1:
            raise OutOfStep(f"{step} after {row['step']}")
        limit = max(0, min(count, RELEASE_MAX))
        released = [r["id"] for r in await connection.fetch(sql.recovery_release, number, limit, waiting_since_before)]
        await connection.execute(sql.recovery_step, number, step, len(released))
        if released:
            await note(
                core,
                connection,
                owner,
                "recovery_released",
                connector=number,
                epoch=epoch,
                step=step,
                count=len(released),
            )
    if released:
        core.on_commit("ready")
    return Release(
        step=step, count=len(released), at=row["now"], deliveries=released if len(released) <= _NAMED_MAX else []
    )


async def progress(
    core: Core,
    connector: str,
    epoch: int,
    *,
    since: datetime | None = None,
    canary: int | None = None,
    delivered: bool = False,
    brief: bool = False,
) -> Progress:
    """Counts now; `since` (default: the opening) bounds `failed`. Reads only, needs no lease. Raises `StaleEpoch`.

    With `brief` only `queued` and `failed` are counted: what a leader goes by at every step, however much waits.
    """
    number = await _number(core, connector)
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(sql.recovery_row, number, False)
        if row is None or row["epoch"] != epoch:
            raise StaleEpoch(str(epoch))
        counts = await connection.fetchrow(
            sql.recovery_seen if brief else sql.recovery_counts, number, since or row["opened_at"]
        )
        fate = await connection.fetchval(sql.recovery_fate, canary, number) if canary is not None else None
        total = await connection.fetchval(sql.recovery_delivered, number) if delivered else None
    return Progress(**dict(counts), canary=State(fate).word if fate is not None else None, delivered_since_open=total)


async def finish(core: Core, connector: str, owner: str, epoch: int) -> Finish:
    """Close the recovery when nothing due waits and nothing released lies in the queue any more.

    What waits for a later time is released when due, as ever.

    A repeat after success says done again. Raises `StaleEpoch`, `NotLeader`.
    """
    number = await _number(core, connector)
    async with core.pool.acquire() as connection, connection.transaction():
        ended = await connection.fetchrow(sql.recovery_find, number)
        if ended is not None and ended["epoch"] == epoch and ended["state"] == "idle":
            return Finish(done=True)
        row = await _locked(connection, number, epoch)
        _led_by(row, owner)
        if n := await connection.fetchval(sql.recovery_due, number):
            return Finish(
                done=False, reason=Text(f"Còn {n} lượt gửi đến hạn đang chờ.", f"{n} due deliveries still wait.")
            )
        if n := (await connection.fetchrow(sql.recovery_seen, number, row["now"]))["queued"]:
            return Finish(
                done=False, reason=Text(f"Còn {n} lượt gửi trong hàng đợi.", f"{n} deliveries are still queued.")
            )
        counts = await connection.fetchrow(sql.recovery_counts, number, row["now"])
        await connection.execute(sql.recovery_end, number)
        await note(
            core, connection, owner, "recovery_finished", connector=number, epoch=epoch, steps=row["step"],
            released=row["released"], waiting=counts["waiting"],
        )  # fmt: skip
    core.on_commit("recovery")
    return Finish(done=True)


async def hand_over(core: Core, connector: str, owner: str, epoch: int) -> bool:
    """Give the lease up at once. False when it was not (or no longer) the owner's. Raises `StaleEpoch`."""
    number = await _number(core, connector)
    async with core.pool.acquire() as connection, connection.transaction():
        row = await _locked(connection, number, epoch)
        if not row["led"] or row["owner"] != owner:
            return False
        await connection.execute(sql.recovery_leave, number)
        await note(core, connection, owner, "recovery_handed_over", connector=number, epoch=epoch)
    core.on_commit("recovery")
    return True


async def mark_triggered(core: Core, connector: str, epoch: int) -> None:
    """Remember that Airflow has been told of this epoch."""
    number = await _number(core, connector)
    async with core.pool.acquire() as connection:
        await connection.execute(sql.recovery_triggered, number, epoch)


async def release_due(core: Core) -> int:
    """Release what is due at connectors with no recovery open: everyday retries. Returns how many."""
    async with core.pool.acquire() as connection:
        released = len(await connection.fetch(sql.recovery_release_due, _DUE_PER_CONNECTOR))
    if released:
        core.on_commit("ready")
    return released
