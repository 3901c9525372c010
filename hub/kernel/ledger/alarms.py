"""Alarms that say start and recovery, each once: something waits too long, a connector is paused, partitions or accounts are off.

Judged on the oldest age over all states, so that nothing that is merely throttled goes unseen. It must never repeat an
alarm that stands, and never end one that was not looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import note
from hub.kernel.ports import Text
from hub.kernel.store.db import Connection, sql

log = logging.getLogger("hub.alarms")

_json = msgspec.json.Encoder().encode

WATCHED = ("oldest", "inbox", "paused")
"""Kinds judged by `watch`: what it does not find any more has ended."""


class Alarm(Struct, frozen=True):
    """Something a person should know, by kind and subject."""

    kind: str
    subject: str
    text: Text


async def watch(core: Core, oldest_s: float) -> tuple[int, int]:
    """Look at the inbox and every connector. Returns how many alarms started and ended. One process at a time."""
    async with core.pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(sql.alarm_lock):
            return 0, 0
        rows = await connection.fetch(sql.alarms_watch)
        inbox = await connection.fetchrow(sql.inbox_oldest)
        return await _settle(core, connection, _standing(rows, inbox, oldest_s), WATCHED)


def _standing(rows: list[Any], inbox: Any, oldest_s: float) -> list[Alarm]:
    found: list[Alarm] = []
    limit = round(oldest_s / 60)
    if inbox["oldest_s"] is not None and inbox["oldest_s"] > oldest_s:
        text = Text(
            f"Bản tin đã nhận chưa được xử lý thành bản ghi quá {limit} phút ({inbox['n']} bản tin đang chờ).",
            f"A message taken in has waited for more than {limit} minutes to become records ({inbox['n']} are waiting).",
        )
        found.append(Alarm("inbox", "inbox", text))
    for r in rows:
        if r["oldest_s"] is not None and r["oldest_s"] > oldest_s:
            text = Text(
                f"Kết nối {r['name']}: có lượt gửi đã chờ quá {limit} phút ({r['n']} lượt đang mở).",
                f"Connector {r['name']}: a delivery has been open for more than {limit} minutes ({r['n']} are open).",
            )
            found.append(Alarm("oldest", r["name"], text))
        if r["state"] == "paused" and r["pause_cause"] != "operator":
            said = r["pause_message"] or {}
            text = Text(
                f"Kết nối {r['name']} tự tạm dừng: {said.get('vi', r['pause_cause'])}",
                f"Connector {r['name']} paused itself: {said.get('en', r['pause_cause'])}",
            )
            found.append(Alarm("paused", r["name"], text))
    return found


async def report(core: Core, kind: str, standing: list[Alarm]) -> tuple[int, int]:
    """Say what stands of one kind now, for whoever judges it elsewhere: partitions, accounts."""
    async with core.pool.acquire() as connection, connection.transaction():
        return await settle(core, connection, kind, standing)


async def settle(core: Core, connection: Connection, kind: str, standing: list[Alarm]) -> tuple[int, int]:
    """The same within the caller's transaction, which orders who says it."""
    return await _settle(core, connection, standing, (kind,))


async def _settle(core: Core, connection: Connection, standing: list[Alarm], kinds: tuple[str, ...]) -> tuple[int, int]:
    started = await _start(connection, standing)
    ended = await connection.fetch(sql.alarm_end, [f"{a.kind} {a.subject}" for a in standing], list(kinds))
    return await _say(core, connection, started, ended)


async def judge(
    core: Core, connection: Connection, kind: str, looked_at: Iterable[str], standing: list[Alarm]
) -> tuple[int, int]:
    """The same for the subjects that were looked at alone: alarms of others stand as they did."""
    started = await _start(connection, standing)
    over = set(looked_at) - {a.subject for a in standing}
    ended = await connection.fetch(sql.alarm_end_of, kind, sorted(over)) if over else []
    return await _say(core, connection, started, ended)


async def _start(connection: Connection, standing: list[Alarm]) -> list[Any]:
    return list(
        await connection.fetch(
            sql.alarm_start,
            [a.kind for a in standing],
            [a.subject for a in standing],
            [_json(a.text) for a in standing],
        )
    )


async def _say(core: Core, connection: Connection, started: list[Any], ended: list[Any]) -> tuple[int, int]:
    for what, rows, say in (("alarm_started", started, log.error), ("alarm_ended", ended, log.warning)):
        for r in rows:
            say("%s: %s %s: %s", what, r["kind"], r["subject"], r["text"]["en"])
            await note(core, connection, "hub", what, alarm=r["kind"], about=r["subject"], text=r["text"])
    return len(started), len(ended)


async def recent(core: Core) -> list[Any]:
    """Alarms that stand, then those that ended within a day."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.alarms_recent))
