"""Gates' habits, schools' open days, and the alarm for a gate that is silent when it should not be.

One concern: the data around `hub.kernel.silence`. It must never hold up an intake: what is noted here may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from hub.kernel.ledger import alarms
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import because, note
from hub.kernel.ports import Text
from hub.kernel.silence import ZONE, is_silent
from hub.kernel.store.db import sql

LEARN_DAYS = 42
"""How far back habits look; six of each weekday."""
_WEEKS = 6
_LEAST_DAYS = 3
"""A weekday's habit is believed once it was seen on so many days."""
KIND = "silent_gate"

Holiday = Callable[[date], bool]
"""Whether a day is a public holiday (Tết, exchanged days among them)."""


Noise = tuple[str, datetime | None, int]
"""A gate, when (any moment of a half hour; None: now), and how many passages."""


async def add_noise(core: Core, noise: Sequence[Noise]) -> None:
    """Count passages by gate and half hour. May be lost."""
    columns = [n[0] for n in noise], [n[1] for n in noise], [n[2] for n in noise]
    async with core.pool.acquire() as connection:
        await connection.execute(sql.noise_add, *columns)


async def learn(core: Core, today: date, holiday: Holiday) -> None:
    """Learn every gate's habit anew from its last open days before today. Repeating it changes nothing."""
    days = [d for d in (today - timedelta(days=n) for n in range(1, LEARN_DAYS + 1)) if not holiday(d)]
    async with core.pool.acquire() as connection:
        await connection.execute(sql.habits_learn, days, _WEEKS, timeout=300)
        await connection.execute(sql.noise_forget, today - timedelta(days=2 * LEARN_DAYS))


async def watch(
    core: Core, now: datetime, holiday: Holiday, threshold: float, patience_s: float, only_asked: Collection[str] = ()
) -> tuple[int, int]:
    """Look at every gate; alarms start and end once. Returns how many started and ended. `only_asked`: families whose gates
    send nothing by themselves: of one of these nothing is missed until it has been asked."""
    async with core.pool.acquire() as connection:
        gates = await connection.fetch(sql.gates_heard)
        habits: dict[str, dict[int, list[float]]] = {}
        for r in await connection.fetch(sql.habits_all, _LEAST_DAYS):
            habits.setdefault(r["device"], {})[r["weekday"]] = r["slots"]
        sessions: dict[str, dict[int, list[tuple[time, time]]]] = {}
        for r in await connection.fetch(sql.timetables_all):
            sessions.setdefault(r["school"], {}).setdefault(r["weekday"], []).append((r["opens"], r["closes"]))
        off = await connection.fetch(sql.days_off_all, now.astimezone(ZONE).date() - timedelta(days=10), None)
    closed: dict[str, list[tuple[date, date]]] = {}
    for r in off:
        closed.setdefault(r["school"], []).append((r["since"], r["until"]))
    silent = [
        g
        for g in gates
        if g["id"] in habits
        and is_silent(
            habits[g["id"]], g["last_at"], _known_to(g, now, only_asked), _open_at(g["school"], closed, holiday), sessions.get(g["school"]),
            threshold=threshold, patience_s=patience_s,
        )
    ]  # fmt: skip
    return await alarms.report(core, KIND, [_alarm(g) for g in silent])


def _known_to(gate: Any, now: datetime, only_asked: Collection[str]) -> datetime:
    """Up to when the hub would know of a gate's passages."""
    asked: datetime | None = gate["listed_to"] if gate["family"] in only_asked else None
    return now if asked is None else min(now, asked)


def _open_at(school: str, closed: dict[str, list[tuple[date, date]]], holiday: Holiday) -> Callable[[date], bool]:
    spans = closed.get("", []) + closed.get(school, [])

    def opened(day: date) -> bool:
        # Saturdays and Sundays are a matter of habit: some schools teach on them.
        return not holiday(day) and not any(a <= day <= b for a, b in spans)

    return opened


def _alarm(gate: Any) -> alarms.Alarm:
    since = gate["last_at"].astimezone(ZONE).strftime("%H:%M %d/%m")
    text = Text(
        f"Cổng {gate['title']} im lặng từ {since}, trong khi theo thói quen và lịch trường phải có người qua.",
        f"Gate {gate['title']} has been silent since {since}, though its habit and the school's calendar say there should be passages.",
    )
    return alarms.Alarm(KIND, gate["id"], text)


# ------------------------------------------------------------------------------------------------ the calendar


async def days_off(core: Core, since: date, schools: list[str] | None) -> list[Any]:
    """Days off not over before a date: every school's, and those of the schools asked for (None: of all)."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.days_off_all, since, schools))


async def add_day_off(core: Core, actor: str, school: str, since: date, until: date, title: str) -> int:
    """Close one school ('': every school) from a date to another, both included."""
    async with core.pool.acquire() as connection, connection.transaction():
        number = int(await connection.fetchval(sql.day_off_add, school, since, until, title, actor))
        await note(
            core,
            connection,
            actor,
            "day_off",
            school=school,
            since=since.isoformat(),
            until=until.isoformat(),
            title=title,
        )
    return number


async def remove_day_off(core: Core, actor: str, number: int, schools: list[str] | None, why: str = "") -> bool:
    """Open them again. `schools`: whose the actor may change (None: all); `why`: for the journal."""
    async with core.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(sql.day_off_remove, number, schools)
        if row is not None:
            await note(
                core,
                connection,
                actor,
                "day_off_removed",
                school=row["school"],
                since=row["since"].isoformat(),
                title=row["title"],
                **because(why),
            )
    return row is not None


async def sessions_of(core: Core, school: str) -> list[Any]:
    """A school's timetable: weekday, opens, closes."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.timetable_of, school))


async def set_sessions(
    core: Core, actor: str, school: str, spans: list[tuple[list[int], time, time]], why: str = ""
) -> None:
    """Replace a school's timetable: (ISO weekdays, opens, closes) each. None of them: judged by habit alone. `why`: for the journal."""
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.timetable_clear, school)
        for weekdays, opens, closes in spans:
            await connection.execute(sql.timetable_add, school, weekdays, opens, closes)
        said = [[days, a.isoformat("minutes"), b.isoformat("minutes")] for days, a, b in spans]
        await note(core, connection, actor, "sessions", school=school, spans=said, **because(why))
