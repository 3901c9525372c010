"""Filings: where each stands, what is due, what the portal told that fits nowhere, and the portal's lists.

One concern: these pages. Personal fields are masked; a record's own page shows them for a stated purpose. It must never
show a filing outside the visitor's schools, nor judge a date by another calendar than the alarms do.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from msgspec import Struct

from hub.api.callbacks import callback_secrets
from hub.api.control_filings import calendar_of
from hub.console.guard import Refused, Visitor, core_of, hub_of, known_id, needs, reason, taken, text
from hub.console.masks import mask_record
from hub.console.render import redirect, respond
from hub.kernel import filings as states
from hub.kernel.intake import order_hash
from hub.kernel.ledger import callback_keys, filing_watch
from hub.kernel.ledger.operations import note
from hub.kernel.ledger.pulls import Accepting, PullBusy
from hub.kernel.store.db import sql

router = APIRouter(prefix="/filings")

PAGE = 50
_OPEN = [code for code, state in states.table().states.items() if state.clock != "ended"]
_VIEWS: dict[str, list[str] | None] = {
    "all": None,
    "undated": _OPEN,
    "waiting": [code for code, state in states.table().states.items() if state.clock == "stopped"],
    "ended": [code for code, state in states.table().states.items() if state.clock == "ended"],
}
_PULL_S = 8.0


class Line(Struct, kw_only=True):
    """One filing in a list, as it stands now."""

    row: Any
    outlook: str
    limit: datetime | None
    days: int
    hours: float
    """Working days and hours left, without sign."""
    open: list[tuple[int, int]]
    """States of the deliveries still open, with their numbers."""


async def _lines(request: Request, rows: list[Any]) -> list[Line]:
    hub, core = hub_of(request), core_of(request)
    calendar, now = calendar_of(hub.settings), datetime.now(UTC)
    warn_s = hub.settings.filings.warn_hours * 3600.0
    orders = {order_hash(r["number"]): r["number"] for r in rows}
    found: dict[str, list[tuple[int, int]]] = {}
    if orders and core.connectors:
        async with core.pool.acquire() as connection:
            for r in await connection.fetch(sql.filings_open, sorted(core.connectors.values()), sorted(orders)):
                found.setdefault(orders[r["order_key"]], []).append((r["state"], r["n"]))
    lines = []
    for r in rows:
        how, left = states.outlook(str(r["state"]), r["since"], r["due_at"], now, calendar, warn_s)
        days, rest = divmod(abs(left or 0.0), calendar.day_s)
        limit = calendar.limit(r["due_at"]) if r["due_at"] is not None else None
        lines.append(
            Line(row=r, outlook=how, limit=limit, days=int(days), hours=rest / 3600.0, open=found.get(r["number"], []))
        )
    return lines


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """Filings by date promised, or all of one kind, newest first."""
    core, query = core_of(request), request.query_params
    view = query.get("view") if query.get("view") in _VIEWS else "due"
    search = query.get("q", "").strip()[:60]
    after = query.get("after", "")[:100].partition(" ")
    at = _moment(after[0])
    async with core.pool.acquire() as connection:
        counts = {str(r["state"]): r for r in await connection.fetch(sql.console_filings_counts, visitor.schools)}
        if search:
            like = "%" + search.replace("\\", "").replace("%", "").replace("_", "") + "%"
            rows = await connection.fetch(
                sql.console_filings, visitor.schools, None, like, None, at, after[2] if at else None, PAGE
            )
        elif view == "due":
            rows = await connection.fetch(sql.console_filings_due, visitor.schools, at, after[2] if at else None, PAGE)
        else:
            wanted = _VIEWS[view or "all"]
            codes = [int(c) for c in wanted] if wanted is not None else None
            undated = True if view == "undated" else None
            rows = await connection.fetch(
                sql.console_filings, visitor.schools, codes, None, undated, at, after[2] if at else None, PAGE
            )
        inbox = await connection.fetchval(sql.filings_inbox_count) if visitor.whole else 0
    last = rows[-1] if len(rows) == PAGE else None
    by = "due_at" if view == "due" and not search else "submitted_at"
    return respond(
        request, "filings.html", visitor=visitor, lines=await _lines(request, rows), view=view, search=search, counts=counts, inbox=inbox,
        names=states.titles(), schools=core.directory, open=sum(r["n"] for s, r in counts.items() if s in _OPEN),
        past=sum(r["past"] for s, r in counts.items() if s in _OPEN), more=f"{last[by].isoformat()} {last['number']}" if last else None,
    )  # fmt: skip


def _moment(value: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


@router.get("/inbox")
async def inbox(request: Request, visitor: Visitor) -> Response:
    """What the portal told that fits nowhere."""
    return await _inbox(request, visitor)


async def _inbox(request: Request, visitor: Any) -> Response:
    needs(visitor, "auditor", whole=True)
    async with core_of(request).pool.acquire() as connection:
        rows = await connection.fetch(sql.filing_inbox_open)
    return respond(
        request,
        "filing_inbox.html",
        visitor=visitor,
        rows=rows,
        names=states.titles(),
        schools=core_of(request).directory,
    )


@router.post("/inbox/{entry}")
async def settle(request: Request, visitor: Visitor, entry: str) -> Response:
    """Apply an entry's state to its filing, or put it aside for good; with a reason."""
    form = await taken(request, visitor, whole=True)
    how, why, which = text(form, "how"), reason(request, form), known_id(entry)
    if how not in ("applied", "dismissed"):
        raise Refused(422, "error.other")
    if why is None:
        return await _inbox(request, visitor)
    done = await filing_watch.settle_inbox(core_of(request), visitor.person.name, which, how, why)
    return redirect("/filings/inbox", done="done.filing_settled" if done else "done.nothing")


@router.get("/portal")
async def portal(request: Request, visitor: Visitor) -> Response:
    """Lists pulled, what changed in them, questions received."""
    return await _portal(request, visitor)


async def _portal(request: Request, visitor: Any, fresh: tuple[str, str, str] | None = None) -> Response:
    needs(visitor, "auditor", whole=True)
    hub, core = hub_of(request), core_of(request)
    before = request.query_params.get("before", "")
    async with core.pool.acquire() as connection:
        connectors = await connection.fetch(sql.pull_connectors)
        pulled = {(r["connector"], r["what"]): r for r in await connection.fetch(sql.console_pulls)}
        changes = await connection.fetch(
            sql.console_pulled_changes,
            int(before) if before.isascii() and before.isdigit() and len(before) < 18 else None,
        )
        questions = await connection.fetch(sql.console_questions)
        tellers = [
            c["name"] for c in connectors if c["system"] in hub.manifests and hub.manifests[c["system"]].callbacks
        ]
        keys = await callback_keys.opening(connection, tellers)
    lists = [
        {"connector": c["name"], "what": what, "declared": declared, "row": pulled.get((c["id"], what))}
        for c in connectors
        if c["system"] in hub.manifests and not request.app.state.console_forms.picks_up(c["settings"])
        for what, declared in hub.manifests[c["system"]].pulls.items()
    ]
    return respond(
        request, "filing_portal.html", visitor=visitor, lists=lists, changes=changes, fresh=fresh,
        questions=[(r, mask_record("portal_question", r["body"] or {})) for r in questions],
        titles={(item["connector"], item["what"]): item["declared"].title for item in lists},
        connectors={c["id"]: c["name"] for c in connectors},
        keys=keys, overlap_h=int(callback_keys.OVERLAP.total_seconds() // 3600),
        more=changes[-1]["id"] if len(changes) == 100 else None,
    )  # fmt: skip


@router.post("/portal/pull/{connector}/{what}")
async def pull(request: Request, visitor: Visitor, connector: str, what: str) -> Response:
    """Pull a list now, for some seconds; what is left goes on by itself. With a reason where it takes what is gone as gone."""
    from connectors.address import AddressPolicy
    from hub.worker.pulls import Pull, UnknownPull

    form = await taken(request, visitor, whole=True)
    hub, core = hub_of(request), core_of(request)
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.pull_connector, connector)
    if row is None:
        raise Refused(404, "error.missing")
    shrunk = text(form, "accept") == "yes"
    why = reason(request, form) if shrunk else ""
    if why is None:
        return await _portal(request, visitor)
    try:
        work = Pull(
            core,
            row,
            what,
            hub.keys,
            AddressPolicy(hub.settings.outward.allow_private, hub.settings.outward.folders),
            core.worker,
        )
        found = await work.run(
            f"{visitor.person.name}-{datetime.now(UTC):%Y%m%d%H%M%S}",
            _PULL_S,
            accepting=Accepting(visitor.person.name, why) if shrunk else None,
        )
    except UnknownPull as error:
        raise Refused(404, "error.missing") from error
    except PullBusy:
        return redirect("/filings/portal", done="done.pull_busy")
    if not found.removals_accepted:  # where they were, the line stands with what was let go
        async with core.pool.acquire() as connection, connection.transaction():
            await note(core, connection, visitor.person.name, "pull", connector=row["id"], what=what, run=found.run)
    done = "done.pulled" if found.done else "done.pull_failed" if found.fault else "done.pull_goes_on"
    return redirect("/filings/portal", done=done, n=found.changes)


@router.post("/portal/callback/{connector}")
async def callback(request: Request, visitor: Visitor, connector: str) -> Response:
    """Make a new address and key for a counterparty to tell by, and show an administrator the two, this once."""
    hub, number, why = await _teller(request, visitor, connector)
    if why is None:
        return await _portal(request, visitor)
    made = await callback_keys.make(core_of(request), visitor.person.name, connector, number, why)
    path, key = callback_secrets(hub.keys, connector, made)
    return await _portal(request, visitor, (connector, f"/v1/callbacks/{connector}/{path}", key))


@router.post("/portal/callback/{connector}/end")
async def end_callback(request: Request, visitor: Visitor, connector: str) -> Response:
    """End the addresses and keys before the present one now."""
    _, number, why = await _teller(request, visitor, connector)
    if why is None:
        return await _portal(request, visitor)
    ended = await callback_keys.end_old(core_of(request), visitor.person.name, connector, number, why)
    return redirect("/filings/portal", done="done.callback_ended" if ended else "done.nothing")


async def _teller(request: Request, visitor: Any, connector: str) -> tuple[Any, int, str | None]:
    """The hub, the number of a connector whose counterparty tells by itself, and the reason given, for an administrator's form."""
    why = reason(request, await taken(request, visitor, "admin", whole=True))
    hub = hub_of(request)
    async with core_of(request).pool.acquire() as connection:
        row = await connection.fetchrow(sql.pull_connector, connector[:63])
    if row is None or row["system"] not in hub.manifests or not hub.manifests[row["system"]].callbacks:
        raise Refused(404, "error.missing")
    return hub, row["id"], why


@router.get("/{number}")
async def detail(request: Request, visitor: Visitor, number: str) -> Response:
    """One filing: where it stands and every step known, its content masked."""
    core = core_of(request)
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.console_filing, number[:60])
        if row is None or (visitor.schools is not None and row["school"] not in visitor.schools):
            raise Refused(404, "error.missing")
        steps = await connection.fetch(sql.console_filing_steps, row["number"])
    (line,) = await _lines(request, [row])
    current = next((s for s in reversed(steps) if s["type"] == "filing" and s["body"]), None)
    shown = mask_record("filing", current["body"]) if current is not None else {}
    told = [(s, mask_record(s["type"], s["body"]) if s["body"] else None, _state(s)) for s in reversed(steps)]
    return respond(
        request, "filing.html", visitor=visitor, line=line, row=row, steps=told, body=shown, current=current, names=states.titles(),
        schools=core.directory, next=states.table().states[str(row["state"])].next, soon_after=datetime.now(UTC) + timedelta(days=1),
    )  # fmt: skip


def _state(step: Any) -> str | None:
    """The state a stored fact names."""
    status = (
        (step["body"] or {}).get("status") if step["event"] != "CANCEL" else {"canonical": states.table().withdrawn}
    )
    return status.get("canonical") if isinstance(status, dict) else None
