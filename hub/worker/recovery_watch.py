"""The alarm for a recovery that lasts too long: whoever leads it, Airflow or a ticker.

One concern: how long each open recovery has had while its counterparty was open, held against a limit. It may be run
by anyone, at any time. It must never lead, release or end a recovery.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from connectors.policy.calendar import Calendar, CalendarSettings
from hub.kernel.ledger import alarms, recovery
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Text
from hub.kernel.store.db import sql

KIND = "recovery"


async def watch(core: Core, limit_s: float, now: datetime) -> tuple[int, int]:
    """Look at every open recovery of a connector that is not paused. Returns how many alarms started and ended."""
    found = [r for r in await recovery.overview(core, open_only=True) if r.connector_state == "active" and r.opened_at]
    calendars: dict[str, Calendar] = {}
    if found:
        async with core.pool.acquire() as connection:
            calendars = {r["name"]: _calendar(r["settings"]) for r in await connection.fetch(sql.connectors_all)}
    late = [
        _alarm(row, limit_s)
        for row in found
        if row.opened_at is not None
        and row.opened_at < now
        and calendars.get(row.connector, _ALWAYS).open_s(row.opened_at, now) > limit_s
    ]
    return await alarms.report(core, KIND, late)


_ALWAYS = Calendar(CalendarSettings())


def _calendar(settings: dict[str, Any] | None) -> Calendar:
    """A connector's opening hours; one whose stored hours no longer fit counts as always open, and is late the sooner."""
    try:
        return Calendar(CalendarSettings.model_validate(((settings or {}).get("policy") or {}).get("calendar") or {}))
    except ValidationError:
        return _ALWAYS


def _alarm(row: recovery.Recovery, limit_s: float) -> alarms.Alarm:
    hours, why = f"{limit_s / 3600:g}", row.reason or "?"
    text = Text(
        f"Kết nối {row.connector}: phục hồi kéo dài quá {hours} giờ đối tác mở cửa (kỳ {row.epoch}; lý do: {why}).",
        f"Connector {row.connector}: its recovery has lasted for more than {hours} hours of open time (epoch {row.epoch}; reason: {why}).",
    )
    return alarms.Alarm(KIND, row.connector, text)
