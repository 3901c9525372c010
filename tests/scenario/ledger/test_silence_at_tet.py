"""A whole Tết without anybody at the gates, by the state's own calendar and the worker's own look: nobody is told, until school is back."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any

import holidays
import pytest

from hub.kernel.ledger import silence
from hub.kernel.silence import ZONE
from hub.worker.main import Worker
from tests.scenario.ledger.test_silence import gates, heard

TET = date(2027, 2, 6)
"""New Year's Day of the Đinh Mùi year."""


def test_nobody_is_told_of_silence_over_tet(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    public = holidays.country_holidays("VN", years=[2027])
    assert TET in public and TET - timedelta(days=1) in public, "the calendar knows the lunar year"
    free = [day for day in (TET + timedelta(days=n) for n in range(-3, 10)) if day in public and day.weekday() < 5]
    back = next(
        day for day in (TET + timedelta(days=n) for n in range(1, 20)) if day not in public and day.weekday() < 5
    )
    assert len(free) >= 3 and back > max(free)

    async def go() -> None:
        async with ledger() as led:
            await gates(led, "g1")
            for days in range(1, 29):
                day = min(free) - timedelta(days=days)
                if day.weekday() < 5 and day not in public:
                    await heard(led, "g1", day, 100)
            now = datetime.combine(min(free) - timedelta(days=3), time(7, 45), ZONE)
            await led.owner.execute(
                "INSERT INTO device_state (device, seen_at, last_event_at) VALUES ('g1', $1, $2)", now, now
            )
            alarms = SimpleNamespace(silent_expected=8.0, silent_minutes=20)
            worker: Any = SimpleNamespace(core=led.core, settings=SimpleNamespace(alarms=alarms), _learnt_at=None)
            moment = [now]

            monkeypatch.setattr(led.core, "moment", lambda: moment[0])

            async def silent_at(day: date) -> int:
                moment[0] = datetime.combine(day, time(8, 0), ZONE)
                await Worker._listen_for_silence(worker)
                return int(
                    await led.value("SELECT count(*) FROM alarms WHERE kind = $1 AND ended_at IS NULL", silence.KIND)
                )

            await led.owner.execute(
                "UPDATE device_state SET last_event_at = $1",
                datetime.combine(min(free) - timedelta(days=1), time(23), ZONE),
            )
            for day in free:
                assert await silent_at(day) == 0, day
            assert await silent_at(back) == 1, "and on the first day of school it is told"

    asyncio.run(go())
