"""The hub is asked: `POST /v1/queries/{name}`, and the same over the exchange (`hub.api.xroad_provider`).

One concern: the question's shape. Each names a purpose and an officer and is in the log before its answer leaves. It must
never answer a client about a school outside its scope, nor tell such a record from one that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from hub.api.auth import CurrentClient, require
from hub.api.context import Hub
from hub.api.fields import Line
from hub.api.problems import Problem
from hub.kernel.firewall_names import NO_PURPOSE, PURPOSE_LEAST, PURPOSE_MOST, stated
from hub.kernel.ledger import queries
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import Text

router = APIRouter(prefix="/v1", tags=["queries"])

RIGHT = "query"
_VALUE = re.compile(r"[0-9A-Za-zÀ-ỹ._/:@-]{1,60}")
_OFFICER = r"^[0-9A-Za-z][0-9A-Za-z._/:-]*[0-9A-Za-z]$"
AWAY = Text("Cơ sở dữ liệu tạm thời không trả lời; hãy hỏi lại.", "The database does not answer for now; ask again.")


class Question(BaseModel):
    """`input` as the query needs it: `enrolment` {learner_code, birth_date[, school_code]}, `filing-progress` {file_number[, filed_on]}.

    A learner is asked for by their code, be it given in place of a temporary one, or by a temporary code: with `school_code`
    (a school's own client may leave it out), or as `TAM-7@<school>`.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    purpose: Line = Field(min_length=PURPOSE_LEAST, max_length=PURPOSE_MOST)
    input: dict[str, str] = Field(max_length=8)


class OfficersQuestion(Question):
    """The same with the officer who asks; over the exchange the officer stands in a header."""

    officer: str = Field(min_length=2, max_length=60, pattern=_OFFICER)


def checked(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """A question's input with what it must say and nothing else. Raises a problem: 404 for an unknown query, 422 otherwise."""
    shape = queries.INPUTS.get(name)
    if shape is None:
        known = ", ".join(sorted(queries.INPUTS))
        raise Problem(
            404,
            "unknown_query",
            Text(f"Không có truy vấn này; có: {known}.", f"There is no such query; there are: {known}."),
        )
    must, may = shape
    missing = [m for m in must if not given.get(m)]
    surplus = sorted(set(given) - {*must, *may})
    wrong = sorted(m for m, v in given.items() if m not in surplus and v and not _VALUE.fullmatch(v))
    if missing or surplus or wrong:
        text = Text(
            f"Thiếu: {', '.join(missing) or '–'}; thừa: {', '.join(surplus) or '–'}; sai dạng: {', '.join(wrong) or '–'}.",
            f"Missing: {', '.join(missing) or '–'}; surplus: {', '.join(surplus) or '–'}; malformed: {', '.join(wrong) or '–'}.",
        )
        raise Problem(422, "bad_question", text)
    return {m: given[m] for m in (*must, *may) if given.get(m)}


@router.post("/queries/{name}")
async def ask(request: Request, name: str, client: CurrentClient, question: OfficersQuestion) -> Response:
    """`{found, …}`: `enrolment` tells enrolled, school_code, class_code, status, as_of; `filing-progress` tells status and dates."""
    require(client, RIGHT)
    purpose = stated(question.purpose)
    if purpose is None:
        raise Problem(422, "no_purpose", NO_PURPOSE)
    hub: Hub = request.app.state.hub
    asked = queries.Asked(
        name=name, client=client.id, asker=client.id, officer=question.officer, purpose=purpose,
        request_id=request.headers.get("x-request-id", "")[:100] or str(uuid4()), scope=client.scope, input=checked(name, question.input),
    )  # fmt: skip
    return _json(await answered(hub, asked), {"X-Request-Id": asked.request_id})


async def answered(hub: Hub, asked: queries.Asked) -> dict[str, Any]:
    """The ledger's answer. Raises a 503 problem while the database is away: then nothing was told."""
    try:
        return await queries.answer(hub.core, asked)
    except TRANSIENT as error:
        raise Problem(503, "database_away", AWAY, headers={"Retry-After": "2"}) from error


def _json(content: Any, headers: dict[str, str]) -> Response:
    return Response(
        msgspec.json.encode(content), headers={"Cache-Control": "no-store", **headers}, media_type="application/json"
    )
