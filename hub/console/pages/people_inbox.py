"""People at gates: ids nobody is linked to, links and their undoing, clocks that wait, gates with ids of their own.

Names and ids are masked until somebody states a purpose; only then can an id be linked, for only then can it be read.
"""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from hub.console import masks, times
from hub.console.guard import Guest, Refused, Visitor, core_of, known_id, number, purpose, reason, taken, text
from hub.console.render import redirect, respond
from hub.kernel.ledger import gate_ids, operations, persons
from hub.kernel.ledger.persons import CannotLink

router = APIRouter(prefix="/people")

_SKIP_MOST = 1_000_000
_MOST_OFF = timedelta(days=36_500)


async def _page(
    request: Request, visitor: Guest, *, purpose: str | None = None, error: str | None = None, skip: int | None = None
) -> Response:
    """The page; in clear for a purpose that has been journaled."""
    core, skip, clear = core_of(request), min(skip or 0, _SKIP_MOST), purpose is not None
    show = (lambda s: s) if clear else masks.mask_text
    gates = await persons.gates(core, visitor.schools)
    return respond(
        request, "people.html", status=422 if error else 200, visitor=visitor, error=error, clear=clear, purpose=purpose, show=show,
        inbox=await persons.inbox(core, visitor.schools, skip), skip=skip, size=persons.INBOX, links=await persons.links(core, visitor.schools),
        clocks=await persons.clocks(core, visitor.schools), own=[g for g in gates if g["namespace"]], gates=gates,
        schools=core.directory,
    )  # fmt: skip


async def _again(request: Request, visitor: Guest, form: FormData, error: str | None = None) -> Response:
    """The page with the form that is refused as it was typed: in clear where it was, which is journaled as the first time."""
    said = purpose(form)
    if said is not None:
        await operations.unmask(core_of(request), visitor.person.name, 0, said)
    return await _page(request, visitor, purpose=said, error=error, skip=number(text(form, "from", 10)))


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """What waits, masked; `from`: how many ids are passed over."""
    return await _page(request, visitor, skip=number(request.query_params.get("from")))


@router.post("/show")
async def show(request: Request, visitor: Visitor) -> Response:
    """The same page in clear, this once; the purpose is journaled first."""
    form = await taken(request, visitor)
    stated = reason(request, form, "purpose")
    if stated is not None:
        await operations.unmask(core_of(request), visitor.person.name, 0, stated)
    return await _page(request, visitor, purpose=stated, skip=number(text(form, "from", 10)))


@router.post("/link")
async def link(request: Request, visitor: Visitor) -> Response:
    """Say whom an id means; what waited for it follows."""
    form = await taken(request, visitor)
    why = reason(request, form)
    ends = [text(form, name, 40) for name in ("since", "until")]
    since, until = (times.parse_local(e) if e else None for e in ends)
    if any(e and moment is None for e, moment in zip(ends, (since, until), strict=True)):
        return await _again(request, visitor, form, "bad_times")
    if why is None:
        return await _again(request, visitor, form)
    try:
        waited = await persons.link(
            core_of(request), visitor.person.name, text(form, "namespace", 80), text(form, "local", 60),
            text(form, "other", 60) or text(form, "learner", 60), why, since=since, until=until, schools=visitor.schools,
        )  # fmt: skip
    except CannotLink as refusal:
        return await _again(request, visitor, form, str(refusal))
    return redirect("/people", done="done.person_linked", n=waited)


@router.post("/links/{number}/undo")
async def undo(request: Request, visitor: Visitor, number: str) -> Response:
    """Take a wrong link back; what was told under it is withdrawn."""
    form = await taken(request, visitor)
    which, why = known_id(number), reason(request, form)
    if why is None:
        return await _again(request, visitor, form)
    try:
        named = await persons.undo(core_of(request), visitor.person.name, which, why, visitor.schools)
    except CannotLink as refusal:
        return await _again(request, visitor, form, str(refusal))
    if named is None:
        raise Refused(404, "error.missing")
    return redirect("/people", done="done.person_unlinked", n=named)


@router.post("/offset")
async def offset(request: Request, visitor: Visitor) -> Response:
    """Say what a gate's clock showed when it was really another time."""
    form = await taken(request, visitor)
    device, why = text(form, "device", 80), reason(request, form)
    if device not in {g["id"] for g in await persons.gates(core_of(request), visitor.schools)}:
        raise Refused(404, "error.missing")
    shown, true = (times.parse_local(text(form, name, 40)) for name in ("shown", "true"))
    if shown is None or true is None or abs(true - shown) > _MOST_OFF or true > times.now():
        return await _again(request, visitor, form, "bad_times")
    if why is None:
        return await _again(request, visitor, form)
    lag = (true - shown).total_seconds()
    tried = await persons.set_offset(core_of(request), visitor.person.name, device, lag, why)
    return redirect("/people", done="done.gate_offset", n=tried)


@router.post("/namespace")
async def namespace(request: Request, visitor: Visitor) -> Response:
    """Say whose the person numbers on a gate are: the device's own, a vendor's account's, the department's."""
    form = await taken(request, visitor, "admin", whole=True)
    device, name, whose = text(form, "device", 80), text(form, "namespace", 80), text(form, "whose", 20)
    why = reason(request, form)
    # What is not said clearly is refused: silence must not make a device's own numbers the department's.
    if whose not in (gate_ids.DEPARTMENT, gate_ids.OWN, "account") or bool(name) is not (whose == "account"):
        return await _again(request, visitor, form, "bad_namespace")
    if why is None:
        return await _again(request, visitor, form)
    meant = name if whose == "account" else gate_ids.namespace_of(whose, device)
    try:
        found = await persons.set_namespace(core_of(request), visitor.person.name, device, meant, why)
    except CannotLink as refusal:
        return await _again(request, visitor, form, str(refusal))
    if not found:
        return await _again(request, visitor, form, "no_gate")
    return redirect("/people", done="done.gate_namespace")
