"""Habits learnt from what gates did, days off and timetables in the ledger, and one alarm with its end."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, time, timedelta
from typing import Any

from hub.kernel.ledger import parties, silence
from hub.kernel.silence import ZONE

SCHOOL = "31HP0123001"
MONDAY = date(2026, 11, 23)


def never(day: date) -> bool:
    return False


async def gates(led: Any, *names: str) -> None:
    await led.school(SCHOOL)
    for name in names:
        await parties.add_device(
            led.core, "test", name, family="native", profile="native", title=f"Cổng {name}", school=SCHOOL, entrance="cổng chính",
            direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"s" * 32,
        )  # fmt: skip


async def heard(led: Any, name: str, day: date, at_seven: int) -> None:
    slots = [0] * 48
    slots[14] = at_seven
    await led.owner.execute("INSERT INTO gate_noise (device, day, slots) VALUES ($1, $2, $3)", name, day, slots)


def test_counting_learning_and_one_alarm_with_its_end(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await gates(led, "g1", "g2", "new")
            for week in range(1, 6):
                await heard(led, "g1", MONDAY - timedelta(weeks=week), 100 if week != 2 else 4000)
                await heard(led, "g2", MONDAY - timedelta(weeks=week), 50)
            await heard(led, "new", MONDAY - timedelta(weeks=1), 70)
            await silence.learn(led.core, MONDAY, never)
            await silence.learn(led.core, MONDAY, never)
            usual = {r["device"]: (r["slots"][14], r["days"]) for r in await led.rows("SELECT * FROM gate_habits")}
            assert usual == {"g1": (100.0, 5), "g2": (50.0, 5), "new": (70.0, 1)}, (
                "a median: one wild day moves nothing"
            )

            now = datetime.combine(MONDAY, time(7, 30), ZONE)
            await led.owner.execute(
                "INSERT INTO device_state (device, seen_at, last_event_at) SELECT id, $1, $2 FROM devices",
                now, now - timedelta(days=3),
            )  # fmt: skip
            watch = (led.core, now, never, 8.0, 1200.0)
            assert await silence.watch(*watch) == (2, 0), "not of the gate that is too new to have a habit"
            assert await silence.watch(*watch) == (0, 0), "an alarm that stands is not said again"
            await led.owner.execute("UPDATE device_state SET last_event_at = $1 WHERE device = 'g1'", now)
            assert await silence.watch(*watch) == (0, 1)
            # Whoever closes the school ends the other's too.
            number = await silence.add_day_off(led.core, "an", SCHOOL, MONDAY, MONDAY, "Đại hội")
            assert await silence.watch(*watch) == (0, 1)
            assert not await silence.remove_day_off(led.core, "an", number, ["31HP0999001"])
            assert await silence.remove_day_off(led.core, "an", number, [SCHOOL])
            assert await silence.watch(*watch) == (1, 0)
            await silence.set_sessions(led.core, "an", SCHOOL, [([1, 2, 3, 4, 5], time(13), time(17))])
            assert await silence.watch(*watch) == (0, 1), "by the timetable nobody comes in the morning"

    asyncio.run(go())


def test_passages_are_counted_where_they_happen(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await gates(led, "g1", "g2")
            facts = {"g1": {"events": 3, "live": 2}, "g2": {"events": 5}, "stranger": {"events": 1, "live": 1}}
            await parties.touch_devices(led.core, facts)
            await parties.touch_devices(led.core, facts)
            rows = await led.rows("SELECT device, slots FROM gate_noise")
            assert [(r["device"], sum(r["slots"]), max(r["slots"])) for r in rows] == [("g1", 4, 4)] or sum(
                sum(r["slots"]) for r in rows
            ) == 4, "what was stored for later tells nothing about now"

    asyncio.run(go())
