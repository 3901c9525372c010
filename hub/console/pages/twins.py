"""Rehearsing an outage: faults switched on at simulators, and the hub watched living through them.

One concern: the simulators' own controls. What does not prove itself a simulator by answering on them gets nothing sent:
a real system is never given a fault, whatever its connector is called.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response
from msgspec import Struct

from connectors.address import AddressPolicy
from connectors.transports.base import Request as Asked
from connectors.transports.http_wire import HttpWire
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, needs, taken, text
from hub.console.pulse import Pulses
from hub.console.render import redirect, respond
from hub.kernel.ledger import operations
from hub.kernel.lifecycle import State
from hub.kernel.ports import NotSent
from hub.kernel.store.db import sql
from hub.simulated import is_simulated

router = APIRouter(prefix="/twins")

_PATIENCE_S = 1.5
_REPLY_MAX = 256 * 1024
_SECONDS = (10, 30, 60, 120, 300)
_LINES = 5_000
_STORY = 12
"""Newest lines of the journal looked through for what a connector lived through, and how many of them are shown."""


class Twin(Struct, frozen=True, kw_only=True):
    """A simulator behind a connector: its faults that are on, those there are, and its tallies."""

    connector: str
    origin: str
    on: list[dict[str, Any]]
    kinds: dict[str, str]


async def _ask(request: Request, method: str, url: str, body: bytes = b"") -> Any:
    """The answer of a simulator's control as data; None when there is none behind the address."""
    outward = hub_of(request).settings.outward
    wire = HttpWire(
        policy=AddressPolicy(outward.allow_private), connections=1, connect_s=_PATIENCE_S, read_s=_PATIENCE_S, max_reply=_REPLY_MAX,
        idle_s=0, tls=None,
    )  # fmt: skip
    try:
        reply = await wire.exchange(
            Asked(method=method, url=url, body=body, headers={"Content-Type": "application/json"}), _PATIENCE_S
        )
        return msgspec.json.decode(reply.body) if reply.status == 200 else None
    except (NotSent, msgspec.DecodeError):
        return None
    except Exception:  # MaybeSent: whatever it is, it did not answer as a simulator does
        return None
    finally:
        await wire.close()


async def _twin(request: Request, connector: Any) -> Twin | None:
    """The simulator behind a connector, if it is one. No counterparty is ever asked: a simulator stands on this machine."""
    if not is_simulated(connector["settings"]):
        return None
    address = str((connector["settings"].get("transport") or {}).get("base_url") or "")
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.netloc:
        return None
    origin = f"http://{parts.netloc}"
    found = await _ask(request, "GET", f"{origin}/_sim/fault")
    if not isinstance(found, dict) or not isinstance(found.get("kinds"), dict) or not isinstance(found.get("on"), list):
        return None
    return Twin(connector=connector["name"], origin=origin, on=found["on"], kinds=found["kinds"])


async def _context(request: Request, visitor: Guest) -> dict[str, Any]:
    needs(visitor, "operator", whole=True)
    async with core_of(request).pool.acquire() as connection:
        rows = await connection.fetch(sql.connectors_all)
    twins = [t for t in await asyncio.gather(*(_twin(request, r) for r in rows)) if t is not None]
    pulses: Pulses = request.app.state.console_pulses
    pulse = await pulses.read(hub_of(request), visitor.schools)
    cards = {c.name: c for c in pulse.cards}
    numbers = {r["id"]: r["name"] for r in rows if r["name"] in {t.connector for t in twins}}
    stories: dict[str, list[Any]] = {name: [] for name in numbers.values()}
    if numbers:
        async with core_of(request).pool.acquire() as connection:
            for line in await connection.fetch(sql.console_story, list(numbers), _LINES):
                stories[numbers[line["connector"]]].append(line)
    shown = {name: lines[:_STORY] for name, lines in stories.items()}
    return {"twins": twins, "cards": cards, "pulse": pulse, "seconds": _SECONDS, "State": State, "stories": shown}


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """Every simulator with its faults, and how its connector lives through them."""
    return respond(request, "twins.html", visitor=visitor, **await _context(request, visitor))


@router.get("/live")
async def live(request: Request, visitor: Visitor) -> Response:
    """The part of the page that refreshes itself."""
    return respond(request, "_twins.html", visitor=visitor, **await _context(request, visitor))


@router.post("/{name}/fault")
async def fault(request: Request, visitor: Visitor, name: str) -> Response:
    """Switch a fault on for some seconds, or all of them off."""
    form = await taken(request, visitor, whole=True)
    async with core_of(request).pool.acquire() as connection:
        row = next((r for r in await connection.fetch(sql.connectors_all) if r["name"] == name), None)
    twin = await _twin(request, row) if row is not None else None
    if twin is None:
        raise Refused(404, "error.missing")
    kind, seconds = text(form, "kind", 40), text(form, "seconds", 4)
    if kind == "none":
        order: dict[str, Any] = {"kind": "none"}
    elif kind in twin.kinds and seconds.isdigit() and int(seconds) in _SECONDS:
        order = {"kind": kind, "for_s": float(seconds)}
    else:
        raise Refused(422, "error.other")
    assert row is not None
    async with core_of(request).pool.acquire() as connection, connection.transaction():
        await operations.note(
            core_of(request),
            connection,
            visitor.person.name,
            "rehearse",
            connector=row["id"],
            fault=kind,
            seconds=seconds,
        )
    done = await _ask(request, "POST", f"{twin.origin}/_sim/fault", msgspec.json.encode(order))
    said = "done.fault_off" if kind == "none" else "done.fault"
    return redirect("/twins", done=said if done is not None else "done.fault_not")
