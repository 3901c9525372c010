"""Verifying rosters with the population database: `POST /v1/verifications`, progress, results, the sheet for the school; and
the same for schedules under `/control/v1`.

One concern: opening and showing verifications. It must never look anybody up (workers do), answer for a school outside the
client's scope, or hand out a personal number in full.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from hub.api.auth import Client, CurrentClient, require
from hub.api.context import Hub
from hub.api.control import ControlRoute, require_control
from hub.api.fields import Line
from hub.api.problems import Problem
from hub.api.verification_sheet import MIME, masked, sheet
from hub.kernel.firewall_names import NO_PURPOSE, PURPOSE_LEAST, PURPOSE_MOST, stated
from hub.kernel.intake import intake_key
from hub.kernel.ledger import verifications
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ledger.verifications import AlreadyRunning, KeyReused, NoConnector, VerificationRefused, Wanted
from hub.kernel.ports import Text, said
from hub.verification_settings import OFFICER
from mappings.verdicts import VERDICTS, words

router = APIRouter(prefix="/v1/verifications", tags=["verification"])
control = APIRouter(
    prefix="/control/v1/verifications", tags=["control"], dependencies=[Depends(require_control)], route_class=ControlRoute,
    include_in_schema=False,
)  # fmt: skip

RIGHT = "verify"
Kind = Literal["look_up", "verify", "household", "relatives", "householder", "residence"]
KEY_MOST = 41
"""Characters of the longest key a learner is kept under: a temporary code and its school's, with "@" between."""
_COUNTS = (
    "items", "waiting", "asked", "answered", "skipped", "failed", "cancelled", "match", "partial", "mismatch", "not_found",
)  # fmt: skip
_MISSING = Text("Không có đợt xác minh này.", "There is no such verification.")
_NO_SCHOOL = Text(
    "Hãy nêu mã trường (school) trong phạm vi của bạn.", "Name a school (school) that lies within your scope."
)
_NOT_SET = Text(
    "Chưa ai được tra cứu theo lịch: cấu hình verification.purpose và verification.officer còn trống.",
    "Nobody is looked up by schedule: the settings verification.purpose and verification.officer are empty.",
)
_AWAY = Text("Cơ sở dữ liệu tạm thời không trả lời; hãy gọi lại.", "The database does not answer for now; call again.")


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    purpose: Line = Field(min_length=PURPOSE_LEAST, max_length=PURPOSE_MOST)
    officer: str = Field(pattern=OFFICER)
    kind: Kind = "look_up"


class Order(_Order):
    """What is to be verified. `school` may be left out by a school's own client; `learners` None: the whole roster.

    A learner is named by the code given to them, or by the temporary code they have or had at the school.
    """

    school: Line | None = Field(None, max_length=20)
    learners: list[Annotated[Line, Field(min_length=3, max_length=KEY_MOST)]] | None = Field(
        None, min_length=1, max_length=5000
    )


class DueOrder(BaseModel):
    """Schools whose last verification is older than so many days, at most so many of them at once.

    Purpose and officer, where left empty, are those of the settings `verification`.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    purpose: str = Field("", max_length=PURPOSE_MOST)
    officer: str = Field("", pattern=f"{OFFICER}|^$")
    kind: Kind = "look_up"
    older_than_days: int = Field(90, ge=1, le=3650)
    most: int = Field(20, ge=1, le=500)


def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


def refusal(error: VerificationRefused) -> Problem:
    """The problem a refusal is told as."""
    status = 409 if isinstance(error, AlreadyRunning | NoConnector) else 422
    more: dict[str, Any] = {"verification": error.verification} if isinstance(error, AlreadyRunning) else {}
    return Problem(status, error.code, said(error), **more)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def progress(row: Any) -> dict[str, Any]:
    """A verification as the API shows it: counts, no person."""
    return {
        "verification": row["id"], "school": row["school"], "kind": row["kind"], "state": row["state"], "purpose": row["purpose"],
        "officer": row["officer"], "created_at": row["created_at"], "finished_at": row["finished_at"],
        "counts": {name: row[name] for name in _COUNTS},
        "links": {"results": f"/v1/verifications/{row['id']}/results", "sheet": f"/v1/verifications/{row['id']}/sheet.xlsx"},
    }  # fmt: skip


@router.post("", status_code=202)
async def begin(request: Request, client: CurrentClient, order: Order) -> Response:
    """Open a verification of a school's roster: `{verification, …counts}`. Repeatable with the same Idempotency-Key.

    409 while one of the kind runs for the school (its id is in `verification`), 422 where there is nobody to ask about.
    """
    require(client, RIGHT)
    hub = _hub(request)
    school = order.school or (client.scope.code if client.scope.kind == "school" else None)
    if school is None or not hub.core.directory.permits(client.scope, school) or hub.core.directory.get(school) is None:
        raise Problem(422, "school", _NO_SCHOOL)
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 200:
        text = Text("Idempotency-Key phải dài 1–200 ký tự.", "Idempotency-Key must have 1 to 200 characters.")
        raise Problem(400, "bad_idempotency_key", text)
    wanted = Wanted(
        school=school, kind=order.kind, purpose=order.purpose, officer=order.officer,
        learners=tuple(sorted(set(order.learners))) if order.learners else None,
    )  # fmt: skip
    digest = intake_key(client.source, "verification", key) if key else None
    try:
        number, replayed = await verifications.open_verification(hub.core, f"client:{client.id}", wanted, digest)
        row = await verifications.one(hub.core, number)
    except KeyReused as error:
        raise Problem(422, error.code, said(error)) from None
    except VerificationRefused as error:
        raise refusal(error) from None
    except TRANSIENT:
        raise Problem(503, "database_away", _AWAY, headers={"Retry-After": "2"}) from None
    headers = {"Location": f"/v1/verifications/{number}"} | ({"Idempotent-Replayed": "true"} if replayed else {})
    return _json(progress(row), 202, headers)


async def _mine(request: Request, client: Client, number: int) -> Any:
    """A verification within the client's scope, or 404: what is outside is not even said to exist."""
    require(client, RIGHT)
    hub = _hub(request)
    row = await verifications.one(hub.core, number)
    if row is None or not hub.core.directory.permits(client.scope, row["school"]):
        raise Problem(404, "no_verification", _MISSING)
    return row


@router.get("/{verification}")
async def show(request: Request, client: CurrentClient, verification: int) -> Response:
    """How far a verification is: counts of its items by state and verdict."""
    return _json(progress(await _mine(request, client, _number(verification))))


@router.get("/{verification}/results")
async def results(
    request: Request,
    client: CurrentClient,
    verification: int,
    after: Annotated[Line, Query(max_length=KEY_MOST)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """Items by learner, in pages (`next` is the cursor, no code to be read): verdict, differing fields, reasons in both languages."""
    row = await _mine(request, client, _number(verification))
    rows = await verifications.results(_hub(request).core, row["id"], after, limit)
    items = [
        {
            "learner_code": r["learner_code"], "state": r["state"], "verdict": r["verdict"],
            "verdict_text": VERDICTS.get(r["verdict"] or ""), "personal_number": masked(r["personal_number"]),
            "differing": r["differing"] or [], "reasons": [words(said) for said in r["reasons"] or []], "checked_at": r["checked_at"],
        }
        for r in rows
    ]  # fmt: skip
    return _json({"items": items, "next": rows[-1]["learner"] if len(rows) == limit else None})


@router.get("/{verification}/sheet.xlsx")
async def workbook(request: Request, client: CurrentClient, verification: int) -> Response:
    """The result sheet for the school, in Vietnamese. It names learners, so that it was taken is journaled."""
    row = await _mine(request, client, _number(verification))
    return await sheet_response(_hub(request), f"client:{client.id}", row)


async def sheet_response(hub: Hub, actor: str, row: Any) -> Response:
    """The workbook as a download, journaled first."""
    await verifications.taken_out(hub.core, actor, row["id"])
    rows: list[Any] = []
    while page := await verifications.results(hub.core, row["id"], rows[-1]["learner"] if rows else "", 1000):
        rows += page
    body = await sheet(row, rows)
    name = f"xac-minh-{row['school']}-{row['id']}.xlsx"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(body, headers=headers, media_type=MIME)


def _number(value: int) -> int:
    if not 0 < value < 1 << 62:
        raise Problem(404, "no_verification", _MISSING)
    return value


# ------------------------------------------------------------------------------------------ for schedules


@control.post("/due")
async def open_due(request: Request, order: DueOrder) -> Response:
    """Open verifications for schools that have waited longest: `{opened: [id …]}`. Repeated, it opens only what is due still.

    409 `not_set` where neither the order nor the settings name purpose and officer; 422 where the purpose is no sentence.
    """
    hub = _hub(request)
    standing = hub.settings.verification
    purpose, officer = order.purpose or standing.purpose, order.officer or standing.officer
    if not purpose or not officer:
        raise Problem(409, "not_set", _NOT_SET)
    plain = stated(purpose)
    if plain is None:
        raise Problem(422, "no_purpose", NO_PURPOSE)
    before = hub.core.moment() - timedelta(days=order.older_than_days)
    try:
        opened = await verifications.open_due(hub.core, "schedule", order.kind, plain, officer, before, order.most)
    except VerificationRefused as error:
        raise refusal(error) from None
    return _json({"opened": opened})


@control.post("/advance")
async def advance(request: Request) -> Response:
    """One step of every open verification: `{asked, skipped, settled, finished, open}`. Workers do so by themselves."""
    core = _hub(request).core
    done = await verifications.advance(core)
    return _json(msgspec.structs.asdict(done) | {"open": await verifications.running(core)})


@control.get("/{verification}")
async def show_to_schedule(request: Request, verification: int) -> Response:
    """How far a verification is."""
    row = await verifications.one(_hub(request).core, _number(verification))
    if row is None:
        raise Problem(404, "no_verification", _MISSING)
    return _json(progress(row))
