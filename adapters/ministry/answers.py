"""What the Ministry's answers mean: result codes of items and of whole batches, codes given, versions held, by the profile.

One concern: from one answer to one outcome. It must never raise for any answer, and never hold a code of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from adapters.kit import CONTRACT, code_of, json_object, ruled, text_of
from hub.kernel.ports import Call, Draft, NeedsPerson, Outcome, Receipt, Reply, Settlement, Unknown

TEMPORARY = "TAM-"
"""How the codes begin that schools use until the Ministry gives one."""
_CODE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{2,19}")


class Answers:
    """The profile's result codes."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        """Raises KeyError or ValueError when the profile lacks what it must say."""
        self._accepted = frozenset(profile["accepted"])
        self._held = frozenset(profile["already_held"])
        self._refusals: dict[str, dict[str, Any]] = profile["refusals"]
        self._patience = int(profile["dependency_patience"])
        self._code_field: str = profile["given_code_field"]
        self._absent_code: str = profile["absent_code"]
        self._zone = ZoneInfo(profile["timezone"])

    def whole(self, reply: Reply, answer: dict[str, Any]) -> Outcome:
        """An answer without items: certain only when it says refusal, by a known code or by HTTP 4xx."""
        code = code_of(answer.get("ma"))
        rule = self._refusals.get(code or "")
        if rule is not None and rule["kind"] != "never":
            return ruled(rule, "ministry", text_of(answer.get("thongbao")))
        if reply.status >= 400:
            return NeedsPerson(
                cause="contract_refused", subject=f"HTTP {reply.status} {code or ''}".strip(), message=CONTRACT
            )
        return Unknown(reason="items_missing_from_answer")

    def plain(self, said: Mapping[str, Any]) -> bool:
        """Whether a record was taken and nothing else said: most are, and what was sent need not be looked at."""
        return code_of(said.get("ma")) in self._accepted and self._code_field not in said

    def item(self, record: Mapping[str, Any], said: Mapping[str, Any], version: int, attempt: int) -> Outcome:
        """What was said of one record. `attempt`: how often it has been tried."""
        code = code_of(said.get("ma"))
        message = text_of(said.get("thongbao"))
        reference = text_of(said.get("mabiennhan"), 100) or None
        if code in self._accepted:
            return Receipt(reference=reference)
        if code in self._held:
            held = text_of(said.get("phienban"), 20)
            return Receipt(reference=reference, detail=f"already held: version {held} ≥ {version}")
        rule = self._refusals.get(code or "")
        if rule is None:
            return Unknown(reason=f"unlisted result code {code}")
        subject = code or ""
        if wanted := rule.get("subject_field"):
            subject = text_of(record.get(wanted), 100) or subject
        elif rule["reason"] == "code_refused":
            subject = message[:100] or subject
        if rule["reason"] == "missing_dependency" and attempt > self._patience:
            rule = rule | {"kind": "person"}
        return ruled(rule, subject, message)

    def code_given(self, record: Mapping[str, Any], said: Mapping[str, Any]) -> list[Draft]:
        """The lasting code in an answer to a temporary one; nothing for codes that cannot be codes."""
        ours, theirs = str(record.get("mahocsinh")), said.get(self._code_field)
        if not ours.startswith(TEMPORARY) or not isinstance(theirs, str) or not _CODE.fullmatch(theirs):
            return []
        if theirs.startswith(TEMPORARY) or "matruong" not in record:
            return []
        at = datetime.fromisoformat(record["thoigiancapnhat"]).replace(tzinfo=self._zone)
        school = record["matruong"]
        body = {"school_code": school, "temporary_code": ours, "learner_code": theirs}
        return [Draft(type="code_given", key=f"{school}/{ours}", body=body, updated_at=at, school=school)]

    def settled(self, inquiry: Call, reply: Reply) -> Settlement:
        """Present when the version held is ours or higher; absent when it is lower or there is none."""
        answer = json_object(reply.body)
        if answer is None or reply.status not in (200, 404):
            return Settlement(verdict="unclear", detail=f"HTTP {reply.status}")
        if reply.status == 404:
            # A 404 without the contract's own code may come from a proxy that knows nothing of the record.
            absent = code_of(answer.get("ma")) == self._absent_code
            return Settlement(verdict="absent" if absent else "unclear")
        version = answer.get("phienban")
        if answer.get("idbanghi") != inquiry.meta["id"] or type(version) is not int:
            return Settlement(verdict="unclear", detail="the answer names another record or no version")
        held = f"version {version}"
        return Settlement(verdict="present" if version >= inquiry.meta["version"] else "absent", detail=held)


def by_id(rows: Iterable[Any]) -> dict[str, dict[str, Any] | None]:
    """Answer rows by `idbanghi`; None where two rows contradict each other."""
    told: dict[str, dict[str, Any] | None] = {}
    for row in rows:
        key = row.get("idbanghi") if isinstance(row, dict) else None
        if not isinstance(key, str):
            continue
        before = told.get(key, row)
        told[key] = row if before is not None and before.get("ma") == row.get("ma") else None
    return told
