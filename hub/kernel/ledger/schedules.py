"""Schedules that are late: a run that has not ended by its deadline is told of, as an alarm of the hub's.

One concern: which of these alarms stand. A run that leads recoveries is late for each of them, and these alarms end with the
recovery, whoever ends it; any other is late for its schedule, until a run of it has ended. Every call may be repeated. It must
never judge how long a run may take (its own deadline does), nor take a lease from it.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hub.kernel.ledger import alarms, recovery
from hub.kernel.ledger.alarms import Alarm
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Text
from hub.kernel.store.db import sql

LEADS, WORKS = "recovery_late", "schedule_late"
_AIRFLOW = "airflow:"
_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


async def late(core: Core, schedule: str, run: str, deadline: datetime, *, leads: bool) -> list[str]:
    """Say that a run has not ended by `deadline`: the subjects now told of. `leads`: its work is leading recoveries; then it is late
    for those it leads at this moment, and for nothing while another does or while it waits for an opening."""
    when = deadline.astimezone(_ZONE).strftime("%H:%M %d/%m/%Y")
    if not leads:
        text = Text(
            f"Lịch {schedule}: lượt chạy {run} chưa xong lúc {when}.",
            f"Schedule {schedule}: its run {run} had not ended by {when}.",
        )
        found = [Alarm(WORKS, schedule, text)]
    else:
        mine = [r for r in await recovery.overview(core, open_only=True) if r.owner == _AIRFLOW + run]
        found = [
            Alarm(
                LEADS,
                r.connector,
                Text(
                    f"Kết nối {r.connector}: lượt chạy {run} điều phối phục hồi, chưa xong lúc {when} (kỳ {r.epoch}).",
                    f"Connector {r.connector}: the run {run} leads its recovery and had not ended by {when} (epoch {r.epoch}).",
                ),
            )
            for r in mine
        ]
    async with core.pool.acquire() as connection, connection.transaction():
        await alarms.judge(core, connection, LEADS if leads else WORKS, (), found)
    return [a.subject for a in found]


async def ended(core: Core, schedule: str) -> None:
    """A run of the schedule has come to its end: what was said of a late one is over."""
    async with core.pool.acquire() as connection, connection.transaction():
        await alarms.judge(core, connection, WORKS, (schedule,), [])


async def settle(core: Core) -> None:
    """End the alarms of recoveries that are over, whoever ended them."""
    async with core.pool.acquire() as connection:
        standing = {r["subject"] for r in await connection.fetch(sql.alarms_of_kind, LEADS)}
    if not standing:
        return
    over = standing - {r.connector for r in await recovery.overview(core, open_only=True)}
    async with core.pool.acquire() as connection, connection.transaction():
        await alarms.judge(core, connection, LEADS, over, [])
