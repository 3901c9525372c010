"""Sending again: first the plan, then the order. It must never queue anything without the plan having been shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from msgspec import Struct

from hub.console import times
from hub.console.guard import Guest, Visitor, core_of, needs, number, reason, taken, text
from hub.console.render import redirect, respond
from hub.kernel.ledger import replays
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.replays import ReplayFilter
from hub.kernel.lifecycle import State
from hub.kernel.store.db import sql

router = APIRouter(prefix="/replay")

_STATES = (State.DEAD, State.CANCELLED, State.DELIVERED)
_LINES = 60
_SHOWN = 10
_SAMPLE, _SAMPLE_PAGE, _SAMPLE_PAGES = 10, 200, 20
_ONE_ORDER = timedelta(minutes=10)


class Order(Struct, kw_only=True):
    """One replay order and how far it has come. Counts are of deliveries."""

    at: datetime
    actor: str
    mode: str
    why: str
    asked: int = 0
    open: int = 0
    delivered: int = 0
    dead: int = 0
    cancelled: int = 0
    last_at: datetime | None = None
    cut: bool = False
    """True when more of the order lies behind what was read."""

    @property
    def done(self) -> int:
        """Closed again, one way or another."""
        return self.delivered + self.dead + self.cancelled

    @property
    def queued(self) -> int:
        """Made anew: open or done."""
        return self.open + self.done


def orders_of(lines: Sequence[Mapping[str, Any]], most: int) -> list[Order]:
    """Orders out of the journal's lines, newest first: an order is written in chunks, one line each, which follow one another."""
    found: list[Order] = []
    for line in lines:
        last = found[-1] if found else None
        same = last is not None and (last.actor, last.mode, last.why) == (line["actor"], line["mode"], line["why"])
        if last is None or not same or last.at - line["at"] > _ONE_ORDER:
            last = Order(at=line["at"], actor=line["actor"], mode=line["mode"] or "", why=line["why"] or "")
            found.append(last)
        last.at = line["at"]
        for name in ("asked", "open", "delivered", "dead", "cancelled"):
            setattr(last, name, getattr(last, name) + line[name])
        if line["last_at"] is not None:
            last.last_at = max(last.last_at or line["last_at"], line["last_at"])
    if found and len(lines) >= most:
        found[-1].cut = True
    return found


async def _filter(request: Request, visitor: Guest, given: Mapping[str, Any], states: list[str]) -> ReplayFilter | None:
    """The filter a form describes, held to the visitor's schools; None when it narrows nothing down."""
    core = core_of(request)
    school = str(given.get("school") or "").strip()
    schools = visitor.schools
    if school:
        schools = [school] if schools is None or school in schools else []
    connector = str(given.get("connector") or "")
    delivery, message = number(str(given.get("delivery") or "")), number(str(given.get("message") or ""))
    wanted = ReplayFilter(
        deliveries=[delivery] if delivery else None,
        message=message,
        connector=connector if connector in core.connectors else None,
        # An empty list would mean everybody to the filter: a scope that covers nothing asks for a school there is none of.
        schools=None if schools is None else schools or ["-"],
        states=[s for s in _STATES if s.word in states] or [State.DEAD, State.CANCELLED],
        since=times.parse_local(str(given.get("since") or "")),
        until=times.parse_local(str(given.get("until") or "")),
    )
    narrowed = any((wanted.deliveries, wanted.message, wanted.connector, school, wanted.since))
    return wanted if narrowed else None


async def _first(core: Core, wanted: ReplayFilter, as_of: datetime) -> list[Any]:
    """The first few that would be sent again; fewer where most of what comes first was replayed before."""
    found: list[Any] = []
    after = 0
    async with core.pool.acquire() as connection:
        for _ in range(_SAMPLE_PAGES):
            page = await connection.fetch(
                sql.replay_page, wanted.deliveries, wanted.message, core.connectors.get(wanted.connector or ""), wanted.schools,
                [int(s) for s in wanted.states], wanted.since, as_of, after, _SAMPLE_PAGE, timeout=30,
            )  # fmt: skip
            if not page:
                break
            ids, after = [r["id"] for r in page], page[-1]["id"]
            before = await connection.fetch(sql.replayed_before, ids, ids[0], timeout=30)
            known = {r["replay_of"] for r in before}
            found += [r for r in page if r["id"] not in known]
            if len(found) >= _SAMPLE:
                break
    return found[:_SAMPLE]


async def _page(
    request: Request, visitor: Guest, given: Mapping[str, Any], states: list[str], error: str | None = None
) -> Response:
    core = core_of(request)
    wanted = await _filter(request, visitor, given, states)
    plan = await replays.plan_replay(core, wanted) if wanted is not None else None
    sample: list[Any] = []
    if wanted is not None and plan is not None and plan.count:
        sample = await _first(core, wanted, plan.as_of)
    async with core.pool.acquire() as connection:
        # Whose scope is not the department sees what they ordered themselves: it was held to their schools then.
        lines = await connection.fetch(
            sql.console_replays, None if visitor.whole else visitor.person.name, _LINES, timeout=15
        )
    return respond(
        request, "replay.html", status=422 if error else 200, visitor=visitor, given=given, plan=plan, sample=sample, error=error,
        states=[(s.word, s in wanted.states if wanted else s is not State.DELIVERED) for s in _STATES], names={n: k for k, n in core.connectors.items()},
        orders=orders_of(lines, _LINES)[:_SHOWN],
    )  # fmt: skip


@router.get("")
async def show(request: Request, visitor: Visitor) -> Response:
    """The filter and, once it narrows something down, the plan."""
    needs(visitor, "operator")
    return await _page(request, visitor, request.query_params, request.query_params.getlist("states"))


@router.post("")
async def order(request: Request, visitor: Visitor) -> Response:
    """Queue what the plan showed, with a reason. More than the plan had by now: show the plan again."""
    form = await taken(request, visitor)
    given = {k: text(form, k, 60) for k in ("school", "connector", "delivery", "message", "since", "until", "mode")}
    states = [str(s) for s in form.getlist("states")]
    wanted, why = await _filter(request, visitor, given, states), reason(request, form, "note")
    if wanted is None:
        return await _page(request, visitor, given, states, "replay.need_filter")
    if why is None:
        return await _page(request, visitor, given, states)
    core = core_of(request)
    planned = number(text(form, "planned"))
    if planned is None or (await replays.plan_replay(core, wanted)).count > planned:
        return await _page(request, visitor, given, states, "replay.changed")
    mode: Literal["as_sent", "remap"] = "remap" if given["mode"] == "remap" else "as_sent"
    result = await replays.replay(core, visitor.person.name, wanted, mode, why)
    return redirect("/replay", done="done.replayed", n=result.queued)
