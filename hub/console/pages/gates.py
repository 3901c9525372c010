"""Attendance gates: where they stand, how they are, what was done with them. There is no picture anywhere to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api import gate_callers
from hub.console import masks
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, number
from hub.console.render import respond
from hub.gate_topics import PEOPLE_TAKERS
from hub.kernel.ledger import gate_ids, gates
from hub.kernel.store.db import sql

router = APIRouter(prefix="/gates")

SILENT_S = 600.0
"""A gate not heard of for this long counts as offline, whatever it last said."""
OFF_S = 30.0
"""A clock off by more than this is worth a look."""
PAGE = 100
STATES = ("online", "offline", "silent", "held", "never", "revoked")
_CHIPS = {
    "online": "delivered",
    "offline": "waiting",
    "silent": "parked",
    "held": "parked",
    "never": "held",
    "revoked": "dead",
}


def state_of(row: Mapping[str, Any]) -> str:
    """A gate's state in one word, the worst first."""
    if row["state"] == "revoked":
        return "revoked"
    if {"gate_flood", "gate_flapping"} & set(row["held"]):
        return "held"
    if "silent_gate" in row["held"]:
        return "silent"
    if row["seen_at"] is None:
        return "never"
    return "offline" if row["online"] is False or row["silent_s"] > SILENT_S else "online"


async def _rows(request: Request, visitor: Guest, gate: str | None = None) -> list[Any]:
    async with core_of(request).pool.acquire() as connection:
        return list(await connection.fetch(sql.gates_standing, visitor.schools, gate))


def _whose(row: Mapping[str, Any]) -> str:
    """Whose a gate's person numbers are: `department`, `device` or `account`."""
    word = gate_ids.said(row["namespace"], row["id"])
    return word if word in (gate_ids.DEPARTMENT, gate_ids.OWN) else "account"


def _bars(counts: Counter[str], width: int = 100) -> list[tuple[str, float, float]]:
    """Shares as pieces of a bar: (state, from, width)."""
    whole, at, found = sum(counts.values()), 0.0, []
    for state in STATES:
        if counts[state]:
            share = counts[state] * width / whole
            found.append((state, round(at, 2), round(share, 2)))
            at += share
    return found


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """The wards with their gates, and the gates of what was chosen."""
    core = core_of(request)
    asked = request.query_params
    state, ward, search = asked.get("state", ""), asked.get("ward", ""), asked.get("q", "").strip()[:80].casefold()
    places: dict[str, Counter[str]] = {}
    chosen: list[tuple[Any, str]] = []
    totals: Counter[str] = Counter()
    rows = await _rows(request, visitor)
    in_use = (row["family"] for row in rows if row["state"] != "revoked")
    doors = gate_callers.note(hub_of(request).settings.gates.hanet_networks, in_use)
    for row in rows:
        found = state_of(row)
        school = core.directory.get(row["school"])
        here = school.ward if school else ""
        if found != "revoked":
            places.setdefault(here, Counter())[found] += 1
        if ward and here != ward:
            continue
        name = f"{row['id']} {row['title']} {row['serial'] or ''} {row['school']} {school.name if school else ''}"
        if search and search not in name.casefold():
            continue
        totals[found] += 1
        if state == found or (not state and found != "revoked"):
            chosen.append((row, found))
    first = (number(asked.get("from")) or 0) if asked.get("from") else 0
    tiles = [
        (code, core.catalogue.title("vn-ward", code), sum(counts.values()), counts, _bars(counts))
        for code, counts in sorted(
            places.items(), key=lambda x: (-(x[1]["offline"] + x[1]["silent"] + x[1]["held"]), x[0])
        )
    ]
    return respond(
        request, "gates.html", visitor=visitor, rows=chosen[first : first + PAGE], count=len(chosen), totals=totals, states=STATES, chips=_CHIPS,
        tiles=tiles, state=state, ward=ward, search=search, more=first + PAGE if len(chosen) > first + PAGE else None,
        schools=core.directory, off_s=OFF_S, broker=broker_of(request) if visitor.whole else None,
        doors=doors if visitor.whole else None,
    )  # fmt: skip


def broker_of(request: Request) -> dict[str, Any] | None:
    """What the supervisor last told of the embedded broker."""
    try:
        told = msgspec.json.decode(hub_of(request).status_file.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    broker = (told.get("notes") or {}).get("broker")
    return broker if isinstance(broker, dict) else None


@router.get("/school/{code}")
async def school(request: Request, visitor: Visitor, code: str) -> Response:
    """One school's gates."""
    core = core_of(request)
    found = core.directory.get(code)
    if found is None or not core.directory.permits(visitor.person.scope, code):
        raise Refused(404, "error.missing")
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.gates_standing, [code], None)
    shown = [(r, state_of(r)) for r in rows]
    return respond(
        request, "gates_school.html", visitor=visitor, school=found, ward=core.catalogue.title("vn-ward", found.ward), rows=shown, chips=_CHIPS,
        totals=Counter(s for _, s in shown), states=STATES, schools=core.directory, off_s=OFF_S, events=sum(r["events"] for r in rows),
    )  # fmt: skip


@router.get("/{gate}")
async def detail(request: Request, visitor: Visitor, gate: str) -> Response:
    """One gate, its last events and its history."""
    return await show(request, visitor, gate)


async def show(
    request: Request, visitor: Guest, gate: str, *, error: Any = None, fresh: tuple[Any, ...] | None = None
) -> Response:
    """A gate's page. `error`: a sentence about an order; `fresh`: what is shown once (a word's key and the
    secret, then pairs of a word's key and what belongs to it)."""
    core = core_of(request)
    rows = await _rows(request, visitor, gate)
    if not rows:
        raise Refused(404, "error.missing")
    async with core.pool.acquire() as connection:
        events = await connection.fetch(sql.console_gate_events, gate, visitor.schools)
    lines, places = await gates.history(core, gate)
    mine = [s for s in core.directory.all() if visitor.schools is None or s.code in visitor.schools]
    return respond(
        request, "gate.html", status=422 if error else 200, visitor=visitor, row=rows[0], state=state_of(rows[0]), chips=_CHIPS, choice=mine,
        events=[(e, masks.mask_record("checkin", e["body"]) if e["body"] else None) for e in events], history=lines, places=places,
        trace=await gates.latest_trace(core, gate) if visitor.may("operator") else None, directions=gates.DIRECTIONS,
        schools=core.directory, off_s=OFF_S, error=error, fresh=fresh, pictures=bool(hub_of(request).settings.pictures.hours),
        takes_people=rows[0]["family"] in PEOPLE_TAKERS, ids=_whose(rows[0]),
    )  # fmt: skip
