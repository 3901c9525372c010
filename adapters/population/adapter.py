"""Ask the national population database whether a person is who a school says.

One concern: composing: a delivery's question to a call, a reply to what it means. It must never keep or log what the
database knows about a person beyond the verdict and the names of differing fields, and it knows nothing of signatures or
addresses: those are the connector's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.population.judging import Judge
from adapters.population.questions import (
    DELETE,
    HISTORY,
    OPERATIONS,
    RESULT,
    STATUS,
    SUBMIT,
    Question,
    Writer,
)
from adapters.population.replies import Reader
from hub.kernel.ports import Call, Outgoing, Reading, Reply, Settlement

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
        self._writer = Writer(settings, profile)
        self._judge = Judge(profile)
        self._reader = Reader(self._officer, self._writer.json, profile, self._judge)

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
        return self._reader.read(call, reply)

    # ---------------------------------------------------------------------------------------- asking whether it is there

    def inquire(self, delivery: int, call: Call) -> Call:
        """Whether a question arrived: its number looked for in the history of the unit's requests."""
        number, officer = str(call.meta.get("request_id")), str(call.meta.get("officer"))
        body = self._writer.about(HISTORY, officer, MaYeuCau=number)
        return self._call(HISTORY, delivery, body, number, {"of": call.operation}, idempotent=True)

    def settle(self, inquiry: Call, reply: Reply) -> Settlement:
        """Read the history."""
        return self._reader.settled(inquiry, reply)
