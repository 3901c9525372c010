"""The alarm for a recovery that lasts too long: whoever leads it, Airflow or a ticker.

One concern: how long each open recovery has had while its counterparty was open, held against a limit. It may be run
by anyone, at any time. It must never lead, release or end a recovery.
"""

from __future__ import annotations

from datetime import datetime

from connectors.policy.calendar import Calendar, CalendarSettings
from hub.kernel.ledger import alarms, recovery
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Text
from hub.kernel.store.db import sql

KIND = "recovery"


async def watch(core: Core, limit_s: float, now: datetime) -> tuple[int, int]:
    """Look at every open recovery of a connector that is not paused. Returns how many alarms started and ended."""
    late: list[alarms.Alarm] = []
    for row in await recovery.overview(core, open_only=True):
        if row.connector_state != "active" or row.opened_at is None:
            continue
        async with core.pool.acquire() as connection:
            found = await connection.fetchrow(sql.connector_by_name, row.connector)
        given = ((found["settings"] or {}).get("policy") or {}).get("calendar") or {}
        calendar = Calendar(CalendarSettings.model_validate(given))
        if row.opened_at < now and calendar.open_s(row.opened_at, now) > limit_s:
            late.append(_alarm(row, limit_s))
    return await alarms.report(core, KIND, late)


def _alarm(row: recovery.Recovery, limit_s: float) -> alarms.Alarm:
    hours, why = f"{limit_s / 3600:g}", row.reason or "?"
    text = Text(
        f"Kết nối {row.connector}: phục hồi kéo dài quá {hours} giờ đối tác mở cửa (kỳ {row.epoch}; lý do: {why}).",
        f"Connector {row.connector}: its recovery has lasted for more than {hours} hours of open time (epoch {row.epoch}; reason: {why}).",
    )
    return alarms.Alarm(KIND, row.connector, text)
