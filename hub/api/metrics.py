"""What the hub counts, for Prometheus: deliveries by state and messages in the inbox with the age of the oldest, the accounting identity, alarms.

Read from the ledger when asked: the states at most every few seconds, by one scrape at a time; the accounts as last counted
in the background. However often it is scraped, it takes at most two of the pool's connections. It must never hold a name or
a number of a person.
"""

from __future__ import annotations

from fastapi import Request
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, generate_latest

from hub.api.context import Hub
from hub.api.control import require_control
from hub.kernel.ledger.core import Core
from hub.kernel.lifecycle import OPEN, State
from hub.kernel.store.db import sql

_KEEP_S = 5.0
_LOCAL = {"127.0.0.1", "::1"}

_registry = CollectorRegistry()
_count = Gauge("lt_deliveries", "Open deliveries", ["connector", "state"], registry=_registry)
_oldest = Gauge(
    "lt_oldest_seconds",
    "Age of the oldest open delivery; without a connector and `pending`: of the oldest message not made into records yet",
    ["connector", "state"],
    registry=_registry,
)
_inbox = Gauge("lt_inbox_messages", "Messages taken in and not made into records yet", registry=_registry)
_balance = Gauge(
    "lt_account_difference", "What the accounting identity is off by; 0 is right", ["what"], registry=_registry
)
_counted = Gauge(
    "lt_account_counted_timestamp_seconds",
    "When the accounting identity was last counted; 0 before",
    registry=_registry,
)
_paused = Gauge("lt_connector_paused", "1 while a connector is paused", ["connector"], registry=_registry)
_alarms = Gauge("lt_alarms", "Alarms that stand, by kind", ["kind"], registry=_registry)


async def permit(request: Request) -> None:
    """Let in the machine itself, and whoever has the control token."""
    if request.client is None or request.client.host not in _LOCAL or "x-forwarded-for" in request.headers:
        await require_control(request)


async def _states(core: Core) -> None:
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.oldest_by_state)
        connectors = await connection.fetch(sql.connectors_all)
        inbox = await connection.fetchrow(sql.inbox_oldest)
        standing = await connection.fetch(sql.alarms_standing)
    _alarms.clear()
    for a in standing:
        _alarms.labels(a["kind"]).set(a["n"])
    _inbox.set(inbox["n"])
    _oldest.labels("", "pending").set(inbox["oldest_s"] or 0)
    found = {(r["connector"], r["state"]): r for r in rows}
    for c in connectors:
        _paused.labels(c["name"]).set(c["state"] == "paused")
        for state in sorted(OPEN):
            row = found.get((c["id"], int(state)))
            _count.labels(c["name"], State(state).word).set(row["n"] if row else 0)
            _oldest.labels(c["name"], State(state).word).set(row["oldest_s"] if row else 0)


async def render(hub: Hub) -> bytes:
    """The metrics in Prometheus' text format."""
    await hub.measured.get("states", _KEEP_S, lambda: _states(hub.core))
    found = await hub.books.look(hub.core)
    if found is not None and hub.books.at is not None:
        for what in ("messages", "pending", "items", "records", "deliveries"):
            _balance.labels(what).set(found.differences.get(what, 0))
        _counted.set(hub.books.at.timestamp())
    return bytes(generate_latest(_registry) + generate_latest(REGISTRY))
