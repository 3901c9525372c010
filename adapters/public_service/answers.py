"""What the portal's answers mean: to a filing, to progress notices, to the question whether it has something.

One concern: answers into outcomes and settlements, by the profile. It must never raise, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.kit import CONTRACT, code_of, everyone, http_outcome, json_object, not_carried_out, ruled, text_of
from adapters.public_service.shapes import agrees, rows_of, says, upper
from hub.kernel.ports import Call, NeedsPerson, Outcome, Reading, Receipt, Reply, Settlement, Unknown


class Answers:
    """The portal's answers as a profile reads them."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        """Raises KeyError or ValueError when the profile lacks what it must say."""
        self.success = frozenset(profile["success"])
        self._progress_list: str = profile["progress_list"]
        self._exists, self._absent = profile["already_exists"], profile["not_found"]
        self.refusals: dict[str, dict[str, Any]] = profile["refusals"]
        self._certain = not_carried_out(profile)

    def says_exists(self, row: Mapping[str, Any]) -> bool:
        """Whether a row says "đã tồn tại"."""
        return says(self._exists, row, self.success, self.refusals)

    def told(self, call: Call, reply: Reply) -> tuple[dict[str, Any], list[dict[str, Any]]] | Outcome:
        """(head, rows) of an answer that can be read, else the outcome it is."""
        whole = http_outcome(call, reply, "public_service", self._certain)
        if whole is not None:
            return whole
        answer = json_object(reply.body)
        head = upper(answer)
        if answer is None or code_of(head.get("ERROR_CODE")) is None:
            return Unknown(reason="unreadable_answer")
        return head, rows_of(answer)

    def filing(self, call: Call, reply: Reply) -> Reading | None:
        """What became of one filing; None: the portal has it already, and the caller goes on with an update."""
        told = self.told(call, reply)
        if not isinstance(told, tuple):
            return everyone(call, told)
        head, rows = told
        number, good = call.key or "", code_of(head["ERROR_CODE"]) in self.success
        said = rows if rows and good else [head]
        if call.operation == "create" and any(self.says_exists(row) for row in said):
            return None
        if not good:
            return everyone(call, self.refused(said[0], number, reply.status))
        # A single filing's success may come with or without a row that repeats its number.
        outcomes = [self._row({"MAHOSO": number} | row, number) for row in said]
        return everyone(call, _one(outcomes))

    def progress(self, call: Call, reply: Reply) -> Reading:
        """What became of each notice of a call; one the answer does not name stays unknown."""
        told = self.told(call, reply)
        if not isinstance(told, tuple):
            return everyone(call, told)
        head, rows = told
        if code_of(head["ERROR_CODE"]) not in self.success:
            return everyone(call, self.refused(head, call.key or "", reply.status))
        outcomes: dict[int, Outcome] = {}
        for delivery, number in call.meta["items"]:
            mine = [self._row(row, number) for row in rows if text_of(row.get("MAHOSO")) == number]
            outcomes[delivery] = _one(mine) if mine else Unknown(reason="missing_from_answer")
        return Reading(outcomes=outcomes)

    def _row(self, row: dict[str, Any], number: str) -> Outcome:
        """One item of a successful answer; it may still be a refusal, or about another filing."""
        if text_of(row.get("MAHOSO")) != number:
            return Unknown(reason="answer_about_another_filing")
        if (code_of(row.get("ERROR_CODE", "0")) or "") in self.success:
            return Receipt(reference=text_of(row.get("MABIENNHAN"), 100) or number)
        return self.refused(row, number)

    def refused(self, row: Mapping[str, Any], subject: str, status: int = 200) -> Outcome:
        """What a refusal asks for, by the profile's table."""
        code, message = code_of(row.get("ERROR_CODE")), text_of(row.get("MESSAGE"))
        rule = self.refusals.get(code or "")
        if rule is None and says(self._absent, row, self.success, self.refusals):
            rule = self.refusals.get(self._absent["codes"][0])
        if rule is None:
            if status >= 400:
                return NeedsPerson(cause="contract_refused", subject=f"{code}"[:60], message=CONTRACT)
            return Unknown(reason=f"unlisted error code {code}")
        if rule.get("scope") == "connector":
            return ruled(rule, "public_service", message)
        return ruled(rule, message[:100] if rule["reason"] == "code_refused" else subject, message)

    def settled(self, inquiry: Call, reply: Reply) -> Settlement:
        """Present when the filing is there with our content; absent when it is not, or still as before our update."""
        answer = json_object(reply.body) if 200 <= reply.status < 300 else None
        if answer is None:
            return Settlement(verdict="unclear", detail=f"HTTP {reply.status}")
        head, number, of = upper(answer), inquiry.meta["number"], inquiry.meta["of"]
        if says(self._absent, head, self.success, self.refusals):
            return Settlement(verdict="absent")
        if code_of(head.get("ERROR_CODE")) not in self.success or not isinstance(head.get("RESULT"), list):
            return Settlement(verdict="unclear", detail=f"error_code {code_of(head.get('ERROR_CODE'))}")
        found = [row for row in rows_of(answer) if row.get("MAHOSO") == number]
        if not found:
            # Rows about other filings only are no answer to this question. Nor is an empty list where the filing must be
            # there: it was taken before any update or notice of it was sent.
            return Settlement(verdict="unclear" if head["RESULT"] or of != "create" else "absent")
        if of == "progress":
            steps = found[0].get(self._progress_list)
            if not isinstance(steps, list):
                return Settlement(verdict="unclear", detail="no list of progress notices in the answer")
            there = any(agrees(upper(step), inquiry.meta["expect"]) for step in steps)
            return Settlement(verdict="present" if there else "absent", reference=number if there else None)
        if agrees(found[0], inquiry.meta["expect"]):
            return Settlement(verdict="present", reference=number)
        # A create must not overwrite a filing that bears its number but is not ours: a person decides.
        return Settlement(verdict="unclear" if of == "create" else "absent", detail="held with other content")


def _one(outcomes: list[Outcome]) -> Outcome:
    return outcomes[0] if all(o == outcomes[0] for o in outcomes) else Unknown(reason="answered_twice")
