"""Ask the national population database whether a person is who a school says.

One concern: composing: a delivery's question to a call, a reply to what it means. It must never keep or log what the
database knows about a person beyond the verdict and the names of differing fields, and it knows nothing of signatures or
addresses: those are the connector's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.kit import CREDENTIALS, http_outcome
from adapters.population import envelope
from adapters.population.answers import Answer, Fault, understand
from adapters.population.identity import Address, Asked
from adapters.population.judging import Judge, answered
from adapters.population.questions import (
    DELETE,
    HISTORY,
    OPERATIONS,
    RESULT,
    STATUS,
    SUBMIT,
    Question,
    Writer,
    asked_in,
)
from adapters.population.requests import Conversation, state_of
from hub.kernel.ports import (
    Call,
    Draft,
    NeedsPerson,
    NeverTry,
    Outcome,
    Outgoing,
    Reading,
    Receipt,
    Reply,
    Settlement,
    Text,
    TryLater,
    Unknown,
)

_REFUSED = Text("CSDL quốc gia về dân cư từ chối yêu cầu tra cứu này.", "The population database refused this look-up.")
_STEPS = {"status": STATUS, "result": RESULT, "delete": DELETE}


class Population:
    """Adapter of the national population database, over SOAP or REST as its profile says.

    `settings`: see the manifest. `profile`: see `profile-*.yaml`. Also a `Converser` and an `Inquirer`.
    """

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        self._officer = str(settings["MaCanBo"])
        self._purpose = str(settings.get("purpose") or "Xác minh danh tính người học")
        self._later = bool(settings.get("asynchronous"))
        self._cache_s = float(settings.get("cache_hours") or 0) * 3600
        self._look_up = str(settings.get("look_up") or "TraCuuThongTinCongDan")
        self._same_number = bool(profile["same_number_on_retry"])
        self._faults: dict[str, str] = {str(code): str(kind) for code, kind in profile["fault_codes"].items()}
        self._fault_default = str(profile["fault_default"])
        self._trust_count = bool(profile["trust_count"])
        self._writer = Writer(settings, profile)
        self._judge = Judge(profile)
        self._conversation = Conversation(profile)

    # ---------------------------------------------------------------------------------------- asking

    def render(self, batch: Sequence[Outgoing]) -> list[Call]:
        """One call per delivery: every operation asks about one person.

        A delivery without a personal number (flows keep them away) is rendered with an empty one: every delivery must
        have a call, the database refuses it as invalid, and `read` makes that final.
        """
        return [self._ask(one, {}) for one in batch]

    def resume(self, one: Outgoing, state: Mapping[str, str]) -> Call:
        """The next step of an asynchronous request. Only a request that has failed there is put again."""
        operation = _STEPS.get(state.get("stage", ""))
        if operation is None:
            return self._ask(one, state)
        asked = Question.of(one, self._purpose, self._officer)
        body = self._writer.about(operation, asked.officer, RequestId=state["request"])
        meta = self._meta(one, asked, self._number(one, asked, state.get("round", "")))
        identity = {"number": asked.number, "name": asked.name, "birth": asked.birth, "place": asked.place}
        meta |= {"conversation": dict(state), "service": self._look_up, "asked": identity}
        return self._call(operation, one.delivery, body, one.key, meta, idempotent=True)

    def _ask(self, one: Outgoing, state: Mapping[str, str]) -> Call:
        asked = Question.of(one, self._purpose, self._officer)
        service = OPERATIONS.get(asked.kind, self._look_up)
        later = self._later and asked.kind == "look_up"
        operation = SUBMIT if later else service
        request_id = self._number(one, asked, state.get("round", ""))
        body = self._writer.write(operation, request_id, asked, service)
        meta = self._meta(one, asked, request_id)
        # The two are never stored: one is hashed into the look-up log, the other serves while the call is under way.
        meta["lookup_of"] = asked.number
        if asked.relatives and service == OPERATIONS["household"]:
            meta["asked"] = {"relatives": list(asked.relatives)}
        if later:
            meta |= {"service": service, "conversation": dict(state)}
        elif self._cache_s:
            meta |= {"cache_s": self._cache_s, "cache_of": [service, asked.number, asked.name, asked.birth,
                     *(f"{k}={v}" for r in (*asked.relatives, asked.place) for k, v in r.items())]}  # fmt: skip
        return self._call(operation, one.delivery, body, one.key, meta, idempotent=not later)

    def _number(self, one: Outgoing, asked: Question, round_: str) -> str:
        attempt = () if self._same_number else (one.attempt,)
        begun = (round_,) if round_ else ()
        return self._writer.number_of(
            asked.officer, one.delivery, *attempt, *begun, one.record, one.updated_at.isoformat()
        )

    def _meta(self, one: Outgoing, asked: Question, request_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "purpose": asked.purpose,
            "request_id": request_id,
            "officer": asked.officer,
            "sex": self._judge.sex(asked.sex),
            "school": one.school,
            "updated_at": one.updated_at.isoformat(),
        }
        if one.type == "population_request":
            meta |= {"learner": one.mapped.get("MaHocSinh"), "request_code": one.key}
        codes = {k: v for k, v in asked.place.items() if k != "ChiTiet"}
        return meta | ({"place": codes} if codes else {})

    def _call(
        self, operation: str, delivery: int, body: bytes, key: str | None, meta: dict[str, Any], *, idempotent: bool
    ) -> Call:
        return Call(
            operation=operation, deliveries=(delivery,), body=body, content_type=self._writer.content_type, idempotent=idempotent,
            path=self._writer.path(operation), headers=self._writer.headers, key=key, meta=meta,
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------- reading

    def read(self, call: Call, reply: Reply) -> Reading:
        """The verdict as a receipt and a `population_check` record, the next step, or why there is none. Raises nothing."""
        found = self._understood(call.operation, reply)
        records: list[Draft] = []
        outcome: Outcome
        if isinstance(found, Answer):
            outcome, records = self._meaning(call, reply, found)
        elif isinstance(found, Fault):
            outcome = self._fault(call, found)
        else:
            outcome = found
        return Reading(outcomes=dict.fromkeys(call.deliveries, outcome), records=records)

    def _understood(self, operation: str, reply: Reply) -> Answer | Fault | Outcome:
        # SOAP 1.1 sends its faults with 500, REST callers with any status: the body may say more.
        told = reply.status == 500 and "x-road-error" not in reply.headers
        early = None if told else http_outcome(reply, self._officer)
        if early is not None:
            return early
        try:
            found = understand(operation, reply.body, json=self._writer.json, trust_count=self._trust_count)
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
        """A fault by its code: the longest listed part of a dotted code decides."""
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
        return TryLater(reason=reason) if kind == "later" else Unknown(reason=reason)

    @staticmethod
    def _deleted(call: Call) -> Receipt:
        return Receipt(reference=str(call.meta.get("request_id")), detail=state_of(call.meta).get("detail"))

    # ---------------------------------------------------------------------------------------- asking whether it is there

    def inquire(self, delivery: int, call: Call) -> Call:
        """Whether a question arrived: its number looked for in the history of the unit's requests."""
        number, officer = str(call.meta.get("request_id")), str(call.meta.get("officer"))
        body = self._writer.about(HISTORY, officer, MaYeuCau=number)
        return self._call(HISTORY, delivery, body, number, {"of": call.operation}, idempotent=True)

    def settle(self, inquiry: Call, reply: Reply) -> Settlement:
        """Read the history."""
        found = self._understood(HISTORY, reply)
        if not isinstance(found, Answer):
            return Settlement(verdict="unclear", detail=str(getattr(found, "reason", found))[:200])
        return self._conversation.settle(str(inquiry.key), inquiry.meta.get("of") == SUBMIT, found)


def _detailed(text: Text, reason: str) -> Text:
    return Text(f"{text.vi} ({reason})", f"{text.en} ({reason})")


def _without_answer(status: int, why: str) -> Outcome:
    """A reply that holds neither an answer nor a fault: a refusal when the status says so, otherwise not known."""
    if 400 <= status < 500:
        refused = _detailed(_REFUSED, f"HTTP {status}")
        return NeedsPerson(cause="refused", subject=f"HTTP {status}", message=refused)
    return Unknown(reason=f"HTTP {status}; the answer cannot be read: {why}")
