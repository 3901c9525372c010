"""Verifications of rosters: opening one, watching it, the result sheet; and the log of look-ups.

Names and numbers are masked on the page; the sheet holds names, so taking it is a form of its own and journaled. It must never
show a verification of a school outside the visitor's scope.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api.verify import KEY_MOST, sheet_response
from hub.console.guard import Guest, Refused, Visitor, core_of, hub_of, known_id, needs, number, reason, taken, text
from hub.console.masks import mask_text
from hub.console.render import HEADERS, redirect, respond
from hub.kernel.ledger import lookups, verifications
from hub.kernel.ledger.verifications import KINDS, AlreadyRunning, NoConnector, NothingToAsk, Wanted
from mappings.canonical.messages import title
from mappings.verdicts import VERDICTS, words

router = APIRouter(prefix="/verify")

PAGE = 50
_OFFICER = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/:-]{0,58}[0-9A-Za-z]")


def _schools(request: Request, visitor: Guest) -> list[Any]:
    directory = core_of(request).directory
    return [s for s in directory.all() if directory.permits(visitor.person.scope, s.code)]


async def _index(request: Request, visitor: Guest, *, given: dict[str, str] | None = None, wrong: str = "") -> Response:
    before = number(request.query_params.get("before"))
    rows = await verifications.latest(core_of(request), visitor.schools, before, PAGE + 1)
    return respond(
        request, "verify.html", status=422 if wrong else 200, visitor=visitor, rows=rows[:PAGE], kinds=KINDS, given=given or {}, wrong=wrong,
        more=rows[PAGE - 1]["id"] if len(rows) > PAGE else None, choices=_schools(request, visitor),
    )  # fmt: skip


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """Verifications, latest first, and the form for another."""
    return await _index(request, visitor)


@router.post("")
async def begin(request: Request, visitor: Visitor) -> Response:
    """Open a verification of a school within the visitor's scope."""
    form = await taken(request, visitor)
    given = {name: text(form, name, 250) for name in ("school", "kind", "officer")}
    stated = reason(request, form, "purpose")
    core = core_of(request)
    if not core.directory.permits(visitor.person.scope, given["school"]) or core.directory.get(given["school"]) is None:
        return await _index(request, visitor, given=given, wrong="verify.wrong_school")
    if given["kind"] not in KINDS:
        raise Refused(422, "error.other")
    if not _OFFICER.fullmatch(given["officer"]):
        return await _index(request, visitor, given=given, wrong="verify.wrong_officer")
    if stated is None:
        return await _index(request, visitor, given=given)
    wanted = Wanted(school=given["school"], kind=given["kind"], purpose=stated, officer=given["officer"])
    try:
        opened, _ = await verifications.open_verification(core, visitor.person.name, wanted)
    except AlreadyRunning as running:
        return redirect(f"/verify/{running.verification}", done="done.verify_running")
    except NoConnector:
        return await _index(request, visitor, given=given, wrong="verify.no_connector")
    except NothingToAsk:
        return await _index(request, visitor, given=given, wrong="verify.nobody")
    return redirect(f"/verify/{opened}", done="done.verify_begun")


@router.get("/log")
async def log(request: Request, visitor: Visitor) -> Response:
    """Who looked whom up, and why. The person only by the school's own code; the input's hash is not shown."""
    needs(visitor, "auditor")
    rows = await lookups.recent(core_of(request), visitor.schools, number(request.query_params.get("before")), PAGE + 1)
    return respond(
        request, "lookups.html", visitor=visitor, rows=rows[:PAGE], schools=core_of(request).directory,
        more=rows[PAGE - 1]["call"] if len(rows) > PAGE else None,
    )  # fmt: skip


async def _one(request: Request, visitor: Guest, verification: str) -> Any:
    core = core_of(request)
    row = await verifications.one(core, known_id(verification))
    if row is None or not core.directory.permits(visitor.person.scope, row["school"]):
        raise Refused(404, "error.missing")
    return row


@router.get("/{verification}")
async def show(request: Request, visitor: Visitor, verification: str) -> Response:
    """How far one is, and its results a page at a time; by default those that need somebody's eye."""
    return await _show(request, visitor, await _one(request, visitor, verification))


async def _show(request: Request, visitor: Guest, row: Any) -> Response:
    every = request.query_params.get("all") == "1"
    after = request.query_params.get("after", "")[:KEY_MOST]
    rows = await verifications.results(core_of(request), row["id"], after, PAGE + 1, faults=not every)
    shown = [
        dict(r)
        | {
            "full_name": mask_text(r["full_name"] or ""), "personal_number": mask_text(r["personal_number"] or ""),
            "differing": list(dict.fromkeys((title(f).vi, title(f).en) for f in r["differing"] or ())),
            "reasons": [words(said) for said in r["reasons"] or ()],
        }
        for r in rows[:PAGE]
    ]  # fmt: skip
    return respond(
        request, "verification.html", visitor=visitor, row=row, rows=shown, every=every, verdicts=VERDICTS,
        more=rows[PAGE - 1]["learner"] if len(rows) > PAGE else None, closed=row["items"] - row["waiting"] - row["asked"],
    )  # fmt: skip


@router.post("/{verification}/sheet")
async def take_sheet(request: Request, visitor: Visitor, verification: str) -> Response:
    """The result sheet, which names learners: journaled under the visitor's name before it leaves. What for, the verification says."""
    await taken(request, visitor)
    row = await _one(request, visitor, verification)
    response = await sheet_response(hub_of(request), visitor.person.name, row)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@router.post("/{verification}/cancel")
async def cancel(request: Request, visitor: Visitor, verification: str) -> Response:
    """Ask about nobody more, with a reason."""
    form = await taken(request, visitor)
    row, why = await _one(request, visitor, verification), reason(request, form)
    if why is None:
        return await _show(request, visitor, row)
    left = await verifications.cancel(core_of(request), visitor.person.name, row["id"], why)
    done = "done.nothing" if left is None else "done.verify_stopped"
    return redirect(f"/verify/{row['id']}", done=done, n=left or 0)
