"""What comes back from the population database: an answer, a fault, or bytes that are neither, as an outcome.

One concern: from one reply to what it means for its call. It must never keep or log what the database knows about a person
beyond the verdict and the names of differing fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.kit import CREDENTIALS, everyone, http_outcome, not_carried_out
from adapters.population import envelope
from adapters.population.answers import Answer, Fault, understand
from adapters.population.identity import Address, Asked
from adapters.population.judging import Judge, answered
from adapters.population.questions import DELETE, RESULT, STATUS, SUBMIT, asked_in
from adapters.population.requests import Conversation, state_of
from hub.kernel.ports import (
    Call,
    Draft,
    NeedsPerson,
    NeverTry,
    Outcome,
    Reading,
    Receipt,
    Reply,
    Settlement,
    Text,
    TryLater,
    Unknown,
)

_REFUSED = Text("CSDL quốc gia về dân cư từ chối yêu cầu tra cứu này.", "The population database refused this look-up.")


class Reader:
    """Reads for one connector. `officer`: whom a task about the account names; `json`: the form answers come in."""

    def __init__(self, officer: str, json: bool, profile: Mapping[str, Any], judge: Judge) -> None:
        """Raises KeyError when the profile lacks what it must say."""
        self._officer, self._json, self._judge = officer, json, judge
        self._faults: dict[str, str] = {str(code): str(kind) for code, kind in profile["fault_codes"].items()}
        self._fault_default = str(profile["fault_default"])
        self._trust_count = bool(profile["trust_count"])
        self._certain = not_carried_out(profile)
        self._conversation = Conversation(profile)

    def read(self, call: Call, reply: Reply) -> Reading:
        """The verdict as a receipt and a `population_check` record, the next step, or why there is none. Raises nothing."""
        found = self._understood(call, reply)
        if not isinstance(found, Answer):
            return everyone(call, self._fault(call, found) if isinstance(found, Fault) else found)
        outcome, records = self._meaning(call, reply, found)
        reading = everyone(call, outcome)
        reading.records = records
        return reading

    def settled(self, inquiry: Call, reply: Reply) -> Settlement:
        """What the history of the unit's requests says about a question."""
        found = self._understood(inquiry, reply)
        if not isinstance(found, Answer):
            return Settlement(verdict="unclear", detail=str(getattr(found, "reason", found))[:200])
        return self._conversation.settle(str(inquiry.key), inquiry.meta.get("of") == SUBMIT, found)

    def _understood(self, call: Call, reply: Reply) -> Answer | Fault | Outcome:
        # SOAP 1.1 sends its faults with 500, REST callers with any status: the body may say more.
        told = reply.status == 500 and "x-road-error" not in reply.headers
        early = None if told else http_outcome(call, reply, self._officer, self._certain)
        if early is not None:
            return early
        try:
            found = understand(call.operation, reply.body, json=self._json, trust_count=self._trust_count)
        except envelope.Unreadable as error:
            return _without_answer(reply.status, str(error))
        if isinstance(found, Answer) and not 200 <= reply.status < 300:
            return _without_answer(reply.status, "an answer that is no fault under an error status")
        return found

    def _meaning(self, call: Call, reply: Reply, answer: Answer) -> tuple[Outcome, list[Draft]]:
        state = state_of(call.meta)
        if call.operation == DELETE:
            return self._deleted(call), []
        if answer.remote:
            return self._conversation.after(state, answer.remote[0]), []
        try:
            asked = self._asked(call)
        except envelope.Unreadable as error:
            return Unknown(reason=f"the stored question cannot be read: {error}"), []
        outcome, records = answered(self._judge, call, reply, asked, answer)
        if call.operation == RESULT and isinstance(outcome, Receipt):
            return self._conversation.answered(state, outcome.detail or ""), records
        return outcome, records

    def _asked(self, call: Call) -> tuple[Asked, Address]:
        sex, told = call.meta.get("sex"), call.meta.get("asked") or {}
        place = call.meta.get("place") or {}
        codes = Address(province=str(place.get("MaTinhThanh", "")), ward=str(place.get("MaPhuongXa", "")))
        if call.operation == RESULT:
            if "number" not in told:
                raise envelope.Unreadable("it is not kept with a call for a result")
            return Asked(told["number"], told["name"], told["birth"], sex), codes
        asked, stated = asked_in(call.body, sex)
        return asked, stated if stated.province or stated.ward or stated.detail else codes

    def _fault(self, call: Call, fault: Fault) -> Outcome:
        """A fault by its code: the longest listed part of a dotted code decides.

        Told to come later, a call whose repeat would stand there twice is in doubt, unless the profile says `not_done`: a service
        may fail after it has taken a request."""
        known = fault.code
        while known and known not in self._faults:
            known = known.rpartition(".")[0]
        kind = self._faults.get(known, self._fault_default)
        reason = f"SOAP fault {fault.code or '(no code)'}: {fault.text or '(no text)'}"
        if kind == "gone" and call.operation == DELETE:
            return self._deleted(call)
        if kind == "gone" and call.operation in (STATUS, RESULT):
            return self._conversation.anew(state_of(call.meta))
        if kind == "credentials":
            return NeedsPerson(cause="credentials", subject=known or fault.code, message=CREDENTIALS, scope="connector")
        if kind == "never":
            return NeverTry(reason=reason, message=_REFUSED)
        if kind in ("person", "gone"):
            return NeedsPerson(cause="fault", subject=known or fault.code, message=_detailed(_REFUSED, reason))
        certain = kind == "not_done" or (kind == "later" and call.idempotent)
        return TryLater(reason=reason) if certain else Unknown(reason=reason)

    @staticmethod
    def _deleted(call: Call) -> Receipt:
        return Receipt(reference=str(call.meta.get("request_id")), detail=state_of(call.meta).get("detail"))


def _detailed(text: Text, reason: str) -> Text:
    return Text(f"{text.vi} ({reason})", f"{text.en} ({reason})")


def _without_answer(status: int, why: str) -> Outcome:
    """A reply that holds neither an answer nor a fault: a refusal when the status says so, otherwise not known."""
    if 400 <= status < 500:
        refused = _detailed(_REFUSED, f"HTTP {status}")
        return NeedsPerson(cause="refused", subject=f"HTTP {status}", message=refused)
    return Unknown(reason=f"HTTP {status}; the answer cannot be read: {why}")
