"""How the hub is: the figures of the overview, read once and shared by everybody who looks.

One concern: gathering health, backlog, rates and processes without weighing on the database, however many screens hang
on walls. It must never hold up a page for a slow count.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct, field

from hub.api.context import Hub
from hub.api.shared import Shared
from hub.console.forecast import Forecast, forecast
from hub.kernel.ledger import alarms
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text
from hub.kernel.store.db import sql

Health = Literal["good", "busy", "recovering", "broken", "attention", "paused"]

_FRESH_S = 2.0
_LINES = 4000
_CALLS = 5000
_MEASURED_S = 300.0
_AIRFLOW_WAIT_S = 2.0


class Backlog(Struct, kw_only=True):
    """Open deliveries of one connector in one state."""

    state: State
    count: int
    oldest_s: float


class Card(Struct, kw_only=True):
    """One connector as the overview shows it."""

    id: int
    name: str
    title: Text
    system: str
    row: Any
    health: Health
    breaker: str | None
    backlog: list[Backlog]
    minute: int = 0
    five: int = 0
    hour: int = 0
    cut: bool = False
    forecast: Forecast | None = None
    """None: nothing open, or not for this visitor to see."""
    sharers: int = 0
    """How many workers the quota per second is shared among now."""
    last_good: datetime | None = None
    last_error: Any = None
    day_used: int = 0
    per_day: int | None = None
    per_second: float | None = None
    calls_per_s: float = 0.0
    """Calls made a second, over the last ten seconds."""

    @property
    def waiting(self) -> int:
        """Everything not yet closed."""
        return sum(b.count for b in self.backlog)

    def count(self, *states: State) -> int:
        """Open deliveries in these states."""
        return sum(b.count for b in self.backlog if b.state in states)


class Pulse(Struct, kw_only=True):
    """Everything on the overview but the accounting identity."""

    cards: list[Card]
    tasks: int
    intake_minute: int = 0
    intake_hour: int = 0
    intake_cut: bool = False
    last_intake: datetime | None = None
    inbox: int = 0
    inbox_stuck: int = 0
    gates: int = 0
    gates_online: int = 0
    clients: int = 0
    processes: list[dict[str, Any]] = field(default_factory=list)
    supervised: bool = False
    warnings: list[Any] = field(default_factory=list)
    airflow: str = "off"
    airflow_parts: dict[str, str] = field(default_factory=dict)
    default_rows: int = 0
    alarms: list[Any] = field(default_factory=list)
    """Those that stand, then those that ended within a day. The department's to see."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Pulses:
    """One per gateway process."""

    def __init__(self) -> None:
        self.shared = Shared()
        self._beside = Shared()  # what no change of a connector changes

    async def read(self, hub: Hub, schools: list[str] | None) -> Pulse:
        """The overview for those who may see these schools (None: all). At most two seconds old."""
        key = None if schools is None else tuple(schools)
        found: Pulse = await self.shared.get(("pulse", key), _FRESH_S, lambda: _pulse(self, hub, schools))
        return found

    async def airflow(self, hub: Hub) -> tuple[str, dict[str, str]]:
        """Airflow's state in one word, and its parts."""
        found: tuple[str, dict[str, str]] = await self._beside.get("airflow", 5.0, lambda: _airflow(hub))
        return found

    async def database(self, hub: Hub) -> Any:
        """What the whole database says of itself, seldom asked."""
        return await self._beside.get("database", 30.0, lambda: _database(hub))


async def _pulse(pulses: Pulses, hub: Hub, schools: list[str] | None) -> Pulse:
    whole = schools is None
    async with hub.core.pool.acquire() as connection:
        rows = await connection.fetch(sql.console_connectors)
        backlog = await connection.fetch(sql.console_backlog, schools)
        # What was sent for all schools together is the department's to see.
        activity = await connection.fetch(sql.console_activity, _LINES) if whole else []
        errors = await connection.fetch(sql.console_last_errors) if whole else []
        calls = await connection.fetch(sql.console_calls, _CALLS) if whole else []
        tasks = await connection.fetchval(sql.console_tasks_count, schools)
        gates = await connection.fetchrow(sql.console_gates_count, schools)
        inbox = await connection.fetchrow(sql.console_inbox) if whole else None
        clients = await connection.fetchval(sql.console_clients_count) if whole else 0
    said = await alarms.recent(hub.core) if whole else []
    database = await pulses.database(hub) if whole else None
    breakers = await _breakers(hub, [r["name"] for r in rows])
    by_connector: dict[int, list[Backlog]] = {}
    for b in backlog:
        found = Backlog(state=State(b["state"]), count=b["n"], oldest_s=b["oldest_s"])
        by_connector.setdefault(b["connector"], []).append(found)
    busy = {a["connector"]: a for a in activity}
    failed = {e["connector"]: e for e in errors}
    pulse = Pulse(cards=[], tasks=tasks, gates=gates["n"], gates_online=gates["online"], clients=clients, alarms=said)
    for row in rows:
        pulse.cards.append(
            _card(
                hub,
                row,
                by_connector.get(row["id"], []),
                breakers.get(row["name"]),
                busy.get(row["id"]),
                failed.get(row["id"]),
                whole,
            )
        )
    called = {r["connector"]: r["per_s"] for r in calls}
    for card in pulse.cards:
        card.calls_per_s = called.get(card.id, 0.0)
    if (taken := busy.get(None)) is not None:
        pulse.intake_minute, pulse.intake_hour, pulse.intake_cut = taken["minute"], taken["hour"], taken["cut"]
        pulse.last_intake = taken["last_good"]
    if inbox is not None:
        pulse.inbox, pulse.inbox_stuck = inbox["n"], inbox["stuck"]
    if database is not None:
        pulse.default_rows = database["default_rows"]
    if whole:
        _processes(hub, pulse)
    pulse.airflow, pulse.airflow_parts = await pulses.airflow(hub)
    return pulse


async def _database(hub: Hub) -> Any:
    async with hub.core.pool.acquire() as connection:
        return await connection.fetchrow(sql.console_database)


def title_of(hub: Hub, row: Any) -> Text:
    """What people call a connector: its system's title, or its own name where it only takes the files a system leaves."""
    manifest = hub.manifests.get(row["system"])
    kind = (row["settings"].get("transport") or {}).get("kind")
    if manifest is None or (kind is not None and kind not in manifest.transports):
        return Text(row["name"], row["name"])
    title: Text = manifest.title
    return title


def _card(hub: Hub, row: Any, backlog: list[Backlog], breaker: str | None, busy: Any, failed: Any, whole: bool) -> Card:
    quota = ((row["settings"].get("policy") or {}).get("quota")) or {}
    card = Card(
        id=row["id"],
        name=row["name"],
        title=title_of(hub, row),
        system=row["system"],
        row=row,
        health="good",
        breaker=breaker,
        backlog=sorted(backlog, key=lambda b: int(b.state)),
        day_used=row["day_used"] or 0,
        per_day=quota.get("per_day"),
        per_second=quota.get("per_second"),
        sharers=row["sharers"],
        last_error=failed,
    )
    if busy is not None:
        card.minute, card.five, card.hour = busy["minute"], busy["five"], busy["hour"]
        card.cut, card.last_good = busy["cut"], busy["last_good"]
    card.health = health_of(card)
    if whole:
        card.forecast = _forecast(
            card, busy["five_s"] if busy is not None else _MEASURED_S, hub.core.per_call(card.system, row["settings"])
        )
    return card


def _forecast(card: Card, over_s: float, per_call: int) -> Forecast | None:
    """When what needs no person will be gone."""
    going = [b for b in card.backlog if b.state in (State.READY, State.SENDING)]
    return forecast(
        datetime.now(UTC), backlog=card.waiting - card.count(State.PARKED), delivered=card.five, over_s=over_s,
        oldest_s=max((b.oldest_s for b in going), default=0.0), per_second=card.per_second, per_day=card.per_day, day_used=card.day_used,
        stopped=card.health in ("paused", "broken") or (not going and not card.five),
        batch_max=per_call,
    )  # fmt: skip


def health_of(card: Card) -> Health:
    """The one word for a connector: the worst thing true of it."""
    if card.row["state"] == "paused":
        return "paused"
    if card.breaker == "open":
        return "broken"
    if card.row["recovery"] == "open":
        return "recovering"
    if card.count(State.PARKED) or card.count(State.UNCERTAIN):
        return "attention"
    if card.count(State.WAITING) or card.breaker == "half_open":
        return "recovering"
    return "busy" if card.waiting else "good"


async def _breakers(hub: Hub, names: list[str]) -> dict[str, str]:
    """The breakers' states as the workers share them through Redis; empty when Redis is away: it is only news."""
    if hub.redis is None or not names:
        return {}
    try:
        stored = await asyncio.wait_for(hub.redis.mget([f"lt:breaker:{n}" for n in names]), 0.5)
    except Exception:  # whatever Redis' client raises: the page goes on without this piece of news
        return {}
    now = time.time()
    return {name: word for name, raw in zip(names, stored, strict=True) if (word := breaker_of(raw, now)) is not None}


def breaker_of(raw: Any, now: float) -> str | None:
    """A breaker's state out of what the workers left in Redis; None for nothing, or for what cannot be read."""
    try:
        known = json.loads(raw) if raw else None
        if not isinstance(known, dict) or known.get("state") not in ("open", "closed"):
            return None
        if known["state"] == "closed":
            return "closed"
        return "open" if now < float(known.get("until") or 0) else "half_open"
    except (ValueError, TypeError):
        return None


def _processes(hub: Hub, pulse: Pulse) -> None:
    """The supervisor's own word on its children, from its status file."""
    try:
        status = json.loads(hub.status_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    pulse.supervised = True
    for name, child in (status.get("children") or {}).items():
        since = datetime.fromtimestamp(float(child.get("since") or 0), UTC)
        pulse.processes.append({"name": name, **child, "since": since})
    pulse.processes.sort(key=lambda p: (p["state"] == "up", p["name"]))
    for note in (status.get("notes") or {}).values():
        # A note in both languages is a warning for every screen; anything else is for programs.
        if isinstance(note, dict) and note.get("vi") and note.get("en"):
            pulse.warnings.append(note)
        elif isinstance(note, dict) and isinstance(note.get("warning"), dict):
            pulse.warnings.append(note["warning"])


async def _airflow(hub: Hub) -> tuple[str, dict[str, str]]:
    if hub.airflow is None:
        return "off", {}
    try:
        parts: dict[str, str] = await asyncio.wait_for(hub.airflow.health(), _AIRFLOW_WAIT_S)
    except Exception:  # its client's errors, a time-out: not there for now, and the hub is right without it
        return "away", {}
    bad = [name for name, state in parts.items() if state == "unhealthy"]
    return ("unhealthy" if bad else "healthy"), parts
