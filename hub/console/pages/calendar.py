"""When schools are open: days off and timetables. Gates are expected to be heard within them and at no other time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Guest, Refused, Visitor, again, core_of, keep, known_id, reason, taken, text
from hub.console.render import redirect, respond
from hub.kernel.ledger import silence
from hub.kernel.silence import ZONE

router = APIRouter(prefix="/calendar")

_LONGEST_DAYS = 200
_SPANS = 4
WEEKDAYS = range(1, 8)


async def _page(request: Request, visitor: Guest, *, error: str | None = None, school: str = "") -> Response:
    core = core_of(request)
    today = datetime.now(UTC).astimezone(ZONE).date()
    school = school or request.query_params.get("school", "").strip()
    if school and not core.directory.permits(visitor.person.scope, school):
        raise Refused(404, "error.missing")
    if not school and visitor.schools is not None and len(visitor.schools) == 1:
        school = visitor.schools[0]
    sessions: dict[tuple[time, time], list[int]] = {}
    for r in await silence.sessions_of(core, school) if school else []:
        sessions.setdefault((r["opens"], r["closes"]), []).append(r["weekday"])
    mine = [s for s in core.directory.all() if visitor.schools is None or s.code in visitor.schools]
    return respond(
        request, "calendar.html", status=422 if error else 200, visitor=visitor, error=error, weekdays=WEEKDAYS,
        rows=await silence.days_off(core, today, visitor.schools), school=school, sessions=sessions, choice=mine,
        schools=core.directory, blank=range(_SPANS - len(sessions)),
    )  # fmt: skip


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """Days off to come, and one school's timetable."""
    return await _page(request, visitor)


@router.post("/days")
async def add(request: Request, visitor: Visitor) -> Response:
    """Close a school, or all of them, for some days. Their title says why, to everybody who sees them."""
    form = await taken(request, visitor)
    keep(request, form)
    school = text(form, "school", 40)
    if not school and not visitor.whole:
        raise Refused(403, "error.scope")
    if school and not core_of(request).directory.permits(visitor.person.scope, school):
        raise Refused(404, "error.missing")
    try:
        since = date.fromisoformat(text(form, "since", 10))
        until = date.fromisoformat(text(form, "until", 10) or since.isoformat())
    except ValueError:
        return await _page(request, visitor, error="calendar.bad_dates")
    title = text(form, "title", 120)
    if not title or not timedelta(0) <= until - since <= timedelta(days=_LONGEST_DAYS):
        return await _page(request, visitor, error="calendar.bad_dates")
    if again(request):
        return await _page(request, visitor)
    await silence.add_day_off(core_of(request), visitor.person.name, school, since, until, title)
    return redirect("/calendar", done="done.calendar")


@router.post("/days/{number}/remove")
async def remove(request: Request, visitor: Visitor, number: str) -> Response:
    """Take days off back, with a reason."""
    form = await taken(request, visitor)
    which, why = known_id(number), reason(request, form)
    if why is None:
        return await _page(request, visitor)
    schools = None if visitor.whole else visitor.schools
    if not await silence.remove_day_off(core_of(request), visitor.person.name, which, schools, why):
        raise Refused(404, "error.missing")
    return redirect("/calendar", done="done.calendar")


@router.post("/sessions")
async def sessions(request: Request, visitor: Visitor) -> Response:
    """Replace one school's timetable, with a reason: its gates are expected by it."""
    form = await taken(request, visitor)
    school = text(form, "school", 40)
    if not school or not core_of(request).directory.permits(visitor.person.scope, school):
        raise Refused(404, "error.missing")
    why = reason(request, form)
    spans: list[tuple[list[int], time, time]] = []
    for n in range(_SPANS):
        days = [d for d in WEEKDAYS if text(form, f"day{n}_{d}")]
        opens, closes = text(form, f"opens{n}", 5), text(form, f"closes{n}", 5)
        if not (days or opens or closes):
            continue
        try:
            span = days, time.fromisoformat(opens), time.fromisoformat(closes)
        except ValueError:
            return await _page(request, visitor, error="calendar.bad_times", school=school)
        if not days or span[1] >= span[2] or any(set(days) & set(d) and span[1] == a for d, a, _ in spans):
            return await _page(request, visitor, error="calendar.bad_times", school=school)
        spans.append(span)
    if why is None:
        return await _page(request, visitor, school=school)
    await silence.set_sessions(core_of(request), visitor.person.name, school, spans, why)
    return redirect(f"/calendar?school={school}", done="done.calendar")
