"""The portal's lists: procedures, agencies, fields, and questions put to the department.

One concern: a page of a list into drafts. Names of members and paging are assumed and stand in the profile. It must
never raise, whatever the bytes, never take an answer it cannot read for an empty list, nor let a row dated ahead of time
decide where the next question begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from adapters.kit import code_of
from adapters.public_service.answers import Answers
from adapters.public_service.shapes import LOCAL, line, lines, moment
from hub.kernel.ports import Call, Draft, Pulled, Reject, Reply, Text, Unknown
from mappings.canonical.models import CatalogueEntry, PortalQuestion

SYSTEM = "public_service"
UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
"""Catalogue rows bear no time: whoever stores them takes the time they were asked for."""
_FIRST = "20200101000000"
Asked = tuple[dict[str, Any], dict[str, Any]]
"""A question's body and what is kept beside it."""


class Listings:
    """The lists as a profile describes them."""

    def __init__(
        self, pulls: Mapping[str, Mapping[str, Any]], paging: Mapping[str, Any], agency: str, answers: Answers
    ) -> None:
        """Raises KeyError when the profile lacks what it must say."""
        self._pulls = pulls
        self._page, self._size, self._rows = str(paging["page"]), str(paging["size"]), int(paging["rows"])
        self._agency = agency
        self._answers = answers

    def question(self, what: str, cursor: str | None, at: datetime) -> Asked:
        """Body and meta of the question for the first page, asked at `at`. Raises KeyError for an unknown name."""
        rule, asked = self._pulls[what], _stamp(at)
        if "since" not in rule:
            return self._body(what, 1), {"cursor": cursor, "page": 1}
        # A cursor ahead of its time was left by a row dated so, nobody knows when: only from the beginning is nothing left out.
        since = moment(cursor) if cursor is not None and _FIRST <= cursor <= asked else None
        begin = _FIRST if since is None else max(_FIRST, _stamp(since - timedelta(seconds=float(rule["overlap_s"]))))
        meta = {"cursor": cursor if since is not None else None, "page": 1, "since": begin, "asked": asked}
        return self._body(what, 1) | {rule["since"]: begin}, meta

    def _further(self, what: str, meta: Mapping[str, Any]) -> Asked:
        """The same question for the page after."""
        page, rule = int(meta["page"]) + 1, self._pulls[what]
        body = self._body(what, page)
        if "since" in rule:
            # A run begun before `since` was kept with it goes on with what it asked by.
            body[rule["since"]] = meta.get("since") or meta.get("cursor") or _FIRST
        return body, {**meta, "page": page}

    def _body(self, what: str, page: int) -> dict[str, Any]:
        return {"service": self._pulls[what]["service"], self._page: str(page), self._size: str(self._rows)}

    def page(self, what: str, call: Call, reply: Reply) -> tuple[Pulled, Asked | None]:
        """What a page brought, and the question for the next one while this one was full."""
        told = self._answers.told(call, reply)
        if not isinstance(told, tuple):
            return Pulled(fault=told), None
        head, rows = told
        if code_of(head["ERROR_CODE"]) not in self._answers.success:
            return Pulled(fault=self._answers.refused(head, what, reply.status)), None
        result = head.get("RESULT")
        if not isinstance(result, list) or len(rows) != len(result):
            return Pulled(fault=Unknown(reason="no list in the answer")), None
        rule = self._pulls[what]
        made = Pulled(cursor=call.meta.get("seen") or call.meta.get("cursor"))
        for place, row in enumerate(rows):
            draft = self._question(rule, row, place) if "since" in rule else self._entry(rule, row, place)
            if isinstance(draft, Draft):
                made.drafts.append(draft)
                if "since" in rule:
                    told_at = _stamp(draft.updated_at)
                    if told_at <= call.meta.get("asked", told_at):
                        made.cursor = max(made.cursor or _FIRST, told_at)
            else:
                made.rejects.append(draft)
        if len(rows) < self._rows:
            return made, None
        body, meta = self._further(what, call.meta)
        # Pages are pages of the question first asked, in an order nobody promised: the cursor moves with the last of them.
        made.cursor, seen = None, made.cursor
        return made, (body, meta | {"seen": seen})

    def _entry(self, rule: Mapping[str, Any], row: Mapping[str, Any], place: int) -> Draft | Reject:
        days = line(row.get(rule.get("days", "")))
        body = {
            "source": SYSTEM,
            "catalogue": rule["catalogue"],
            "code": line(row.get(rule["code"]), 60),
            "name": line(row.get(rule["name"]), 1000),
            "parent": line(row.get(rule.get("parent", "")), 60),
            "agency": line(row.get(rule.get("agency", "")), 1000),
            "days": int(days) if days and days.isascii() and days.isdigit() and len(days) < 5 else None,
        }
        return _draft("catalogue_entry", CatalogueEntry, body, f"{SYSTEM}/{rule['catalogue']}/{body['code']}", place)

    def _question(self, rule: Mapping[str, Any], row: Mapping[str, Any], place: int) -> Draft | Reject:
        asked = moment(row.get(rule["asked_at"]))
        body = {
            "source": SYSTEM,
            "question_id": line(row.get(rule["id"]), 60),
            "content": lines(row.get(rule["content"]), 8000),
            "asked_at": asked.isoformat() if asked else None,
            "title": line(row.get(rule["title"]), 1000),
            "asker": line(row.get(rule["asker"]), 120),
            "email": line(row.get(rule["email"])),
            "phone": line(row.get(rule["phone"]), 20),
            "procedure_code": line(row.get(rule["procedure"]), 60),
            "answered": line(row.get(rule["state"])) in rule["answered"],
        }
        made = _draft("portal_question", PortalQuestion, body, f"{SYSTEM}/{body['question_id']}", place)
        return msgspec.structs.replace(made, updated_at=asked) if isinstance(made, Draft) and asked else made


def _stamp(at: datetime) -> str:
    """As the portal writes a moment, and so as two of them compare."""
    local = at.astimezone(LOCAL)
    return f"{local.year:04}{local:%m%d%H%M%S}"


def _draft(kind: str, struct: Any, body: dict[str, Any], key: str, place: int) -> Draft | Reject:
    """A row as a draft. One that lacks what it must have is a reject with its place; members that are merely odd are left out."""
    present = {name: value for name, value in body.items() if value is not None}
    for name in ("parent", "email", "phone", "procedure_code"):
        if name in present and not _fits(struct, name, present[name]):
            del present[name]
    try:
        kept = msgspec.to_builtins(msgspec.convert(present, struct))
    except msgspec.ValidationError as error:
        text = Text(
            f"Dòng trong danh mục của Cổng không hợp lệ: {error}", f"A row of the portal's list is not valid: {error}"
        )
        return Reject(pointer=f"/result/{place}", code="invalid_row", message=text, key=key[:200])
    return Draft(type=kind, key=key, body=kept, updated_at=UNDATED, pointer=f"/result/{place}")


def _fits(struct: Any, name: str, value: Any) -> bool:
    kind = next(f.type for f in msgspec.structs.fields(struct) if f.name == name)
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
