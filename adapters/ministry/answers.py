"""What the Ministry's answers mean: result codes of items and of whole batches, by the profile's table.

One concern: from one answer to one outcome. It must never raise for any answer, and never hold a code of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adapters.kit import CONTRACT, code_of, judged, text_of
from hub.kernel.ports import NeedsPerson, Outcome, Receipt, Reply, Text, Unknown


class Answers:
    """The profile's result codes."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        """Raises KeyError or ValueError when the profile lacks what it must say."""
        self._accepted = frozenset(profile["accepted"])
        self._held = frozenset(profile["already_held"])
        self._refusals: dict[str, dict[str, Any]] = profile["refusals"]
        self._patience = int(profile["dependency_patience"])

    def whole(self, reply: Reply, answer: dict[str, Any]) -> Outcome:
        """An answer without items: certain only when it says refusal, by a known code or by HTTP 4xx."""
        code = code_of(answer.get("ma"))
        rule = self._refusals.get(code or "")
        if rule is not None and rule["kind"] != "never":
            return _by_rule(rule, "ministry", text_of(answer.get("thongbao")))
        if reply.status >= 400:
            return NeedsPerson(
                cause="contract_refused", subject=f"HTTP {reply.status} {code or ''}".strip(), message=CONTRACT
            )
        return Unknown(reason="items_missing_from_answer")

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
        return _by_rule(rule, subject, message)


def _by_rule(rule: Mapping[str, Any], subject: str, message: str) -> Outcome:
    told = Text(*(rule[lang].replace("{message}", message).replace("{subject}", subject) for lang in ("vi", "en")))
    after, scope = rule.get("after_s"), rule.get("scope", "delivery")
    return judged(rule["kind"], reason=rule["reason"], message=told, subject=subject, after_s=after, scope=scope)


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
