"""Filings against their dates: what is missed, what will be missed by closing time, what nobody was told of in time.

One concern: that judgement, its alarms, and what people decide about the inbox of filings. It may be run by anyone, at any
time, any number of times. It must never move a filing by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from hub.kernel import filings as states
from hub.kernel.filings import WorkCalendar
from hub.kernel.intake import order_hash
from hub.kernel.ledger import alarms
from hub.kernel.ledger.alarms import Alarm
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.filings import Held, Step, take_step, write_steps
from hub.kernel.ledger.operations import note
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text
from hub.kernel.store.db import sql

_BACK = timedelta(days=30)
_SHOWN = 500


class Due(Struct, frozen=True, kw_only=True):
    """One filing that needs looking at. `left_s`: working seconds to its limit, negative once it has passed."""

    number: str
    agency: str
    state: str
    due_at: datetime
    limit: datetime
    left_s: float
    stuck: str | None = None
    """State of the delivery that has not gone out, for filings whose counterparty was not told."""


class Forecast(Struct, kw_only=True):
    """How the filings stand at `at`. `will_miss`: open, and due by today's closing time or within the warning time."""

    at: datetime
    closes_at: datetime | None
    overdue: list[Due]
    will_miss: list[Due]
    untold: list[Due]
    inbox: int


async def forecast(core: Core, at: datetime, calendar: WorkCalendar, warn_s: float) -> Forecast:
    """Judge every open filing as of `at`; deliveries as they are now."""
    today = at.astimezone(states.ZONE).date()
    closes = calendar.close_of(today) if calendar.works(today) else None
    # However long the holidays between: the limit of a date promised never lies before its own day.
    horizon = calendar.beyond(at, warn_s) + timedelta(days=1)
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.filings_watched, horizon)
        told = await connection.fetch(sql.filings_due_between, at - _BACK, horizon)
        orders = {order_hash(r["number"]): r for r in told}
        open_now = await connection.fetch(sql.filings_open, sorted(core.connectors.values()), sorted(orders))
        inbox = await connection.fetchval(sql.filings_inbox_count)
    found = Forecast(at=at, closes_at=closes, overdue=[], will_miss=[], untold=[], inbox=inbox)
    for r in rows:
        how, left = states.outlook(str(r["state"]), r["since"], r["due_at"], at, calendar, warn_s)
        if how in ("overdue", "today", "soon"):
            (found.overdue if how == "overdue" else found.will_miss).append(_due(r, calendar, left or 0.0))
    stuck: dict[int, int] = {}
    for r in open_now:
        stuck[r["order_key"]] = max(stuck.get(r["order_key"], 0), r["state"])
    for order, state in stuck.items():
        due = _due(orders[order], calendar, calendar.working_s(at, calendar.limit(orders[order]["due_at"])), state)
        if due.left_s <= warn_s or due.limit.date() == today:
            found.untold.append(due)
    found.untold.sort(key=lambda d: (d.limit, d.number))
    return found


def _due(row: Any, calendar: WorkCalendar, left_s: float, stuck: int | None = None) -> Due:
    return Due(
        number=row["number"],
        agency=row["agency"],
        state=str(row["state"]),
        due_at=row["due_at"],
        limit=calendar.limit(row["due_at"]),
        left_s=left_s,
        stuck=State(stuck).word if stuck is not None else None,
    )


async def watch(core: Core, at: datetime, calendar: WorkCalendar, warn_s: float) -> Forecast:
    """`forecast`, and one alarm per agency and kind: said when it begins and when it is over. Repeating it changes nothing."""
    found = await forecast(core, at, calendar, warn_s)
    for kind, due, vi, en in (
        ("filing_overdue", found.overdue, "có hồ sơ đã quá hạn", "has filings past their date"),
        ("filing_will_miss", found.will_miss, "có hồ sơ sắp trễ hẹn", "has filings about to miss their date"),
        ("filing_untold", found.untold, "có hồ sơ sắp đến hạn mà Cổng chưa nhận được", "has filings near their date that did not get out"),
    ):  # fmt: skip
        first: dict[str, Due] = {}
        for one in due:
            first.setdefault(one.agency[:100] or "–", one)
        await alarms.report(core, kind, [_alarm(kind, agency, one, vi, en) for agency, one in first.items()])
    waiting = Text("Có thông báo của Cổng chưa khớp hồ sơ nào.", "The portal told of filings that fit nowhere.")
    await alarms.report(core, "filing_inbox", [Alarm("filing_inbox", "inbox", waiting)] if found.inbox else [])
    return found


def _alarm(kind: str, agency: str, one: Due, vi: str, en: str) -> Alarm:
    when = one.limit.strftime("%H:%M %d/%m/%Y")
    return Alarm(
        kind, agency, Text(f"{agency} {vi}: {one.number}, hạn {when}.", f"{agency} {en}: {one.number}, {when}.")
    )


def told(found: Forecast) -> dict[str, Any]:
    """A forecast for machines: counts, and the most urgent of each kind."""

    def rows(due: Iterable[Due]) -> list[dict[str, Any]]:
        return [
            {"number": d.number, "agency": d.agency, "state": d.state, "limit": d.limit.isoformat(), "left_s": round(d.left_s), "stuck": d.stuck}
            for d in due
        ][:_SHOWN]  # fmt: skip

    return {
        "at": found.at.isoformat(),
        "closes_at": found.closes_at.isoformat() if found.closes_at else None,
        "counts": {"overdue": len(found.overdue), "will_miss": len(found.will_miss), "untold": len(found.untold), "inbox": found.inbox},
        "overdue": rows(found.overdue),
        "will_miss": rows(found.will_miss),
        "untold": rows(found.untold),
    }  # fmt: skip


async def schools_of(core: Core, numbers: Iterable[str]) -> dict[str, str | None]:
    """The schools of filings that are known."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.filings_schools, sorted(set(numbers)))
    return {r["number"]: r["school"] for r in rows}


async def settle_inbox(core: Core, actor: str, entry: int, how: str, why: str) -> bool:
    """Close an entry of the inbox: `applied` makes its state the filing's, whatever the moves allow; `dismissed` leaves it.

    Returns False when it was closed already, or is to be applied to a filing nobody knows.
    """
    async with core.pool.acquire() as connection, connection.transaction():
        about = await connection.fetchval(sql.filing_inbox_number, entry)
        if about is None:
            return False
        # The way intake takes them: order key, filing, inbox.
        await connection.fetchval(sql.order_locks, [order_hash(about)])
        rows = await connection.fetch(sql.filings_lock, [about])
        found = await connection.fetchrow(sql.filing_inbox_lock, entry)
        if found is None or (how == "applied" and not rows):
            return False
        if how == "applied":
            now = rows[0]
            held = Held(
                school=now["school"], state=str(found["state"]), since=found["at"], said_by="portal", step_at=now["step_at"]
            )  # fmt: skip
            step = Step(moved=not found["paid"])
            take_step(step, held, found["at"], found["department"], found["due_at"], found["paid"])
            await write_steps(connection, {about: step}, {about: held})
        await connection.execute(sql.filing_inbox_close, entry, how, actor, why)
        await note(core, connection, actor, "filing_inbox", subject=entry, how=how, why=why, filing=about)
    return True
