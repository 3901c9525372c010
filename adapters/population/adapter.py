"""Ask the national population database whether a person is who a school says.

One concern: a learner's identity to a `TraCuuThongTinCongDan` request, and the answer to a `population_check` record.
It must never keep or log what the database knows about a person beyond the verdict and the names of differing fields,
and it knows nothing of signatures or addresses: those are the connector's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lxml import etree

from adapters.kit import CREDENTIALS, http_outcome
from adapters.population import envelope
from adapters.population.identity import Asked, compare, is_about
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
    Text,
    TryLater,
    Unknown,
)

_Q = f"{{{envelope.REQUEST_NS}}}"
_OPTIONAL = ("MaDonVi", "TaiKhoan", "SoDienThoai")

_REFUSED = Text("CSDL quốc gia về dân cư từ chối yêu cầu tra cứu này.", "The population database refused this look-up.")


class Population:
    """Adapter of the national population database over SOAP.

    `settings`: `MaDVC`, `MaCanBo` (required), `MaDonVi`, `TaiKhoan`, `SoDienThoai`, `MaTichHop`, `purpose`, `path`.
    `profile`: `send_optional`, `uppercase_name`, `sex_codes`, `fault_codes`, `fault_default`, `trust_count`; see
    `profile-*.yaml`.
    """

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        self._officer = str(settings["MaCanBo"])
        self._purpose = str(settings.get("purpose") or "Xác minh danh tính người học")
        self._path = str(settings.get("path") or "")
        self._uppercase = bool(profile["uppercase_name"])
        self._sexes: dict[str, str] = {str(theirs): str(ours) for theirs, ours in profile["sex_codes"].items()}
        self._known_sexes = frozenset(self._sexes.values())
        self._faults: dict[str, str] = {str(code): str(kind) for code, kind in profile["fault_codes"].items()}
        self._fault_default = str(profile["fault_default"])
        self._trust_count = bool(profile["trust_count"])
        constants = {
            "MaDVC": str(settings["MaDVC"]),
            "MaTichHop": str(settings.get("MaTichHop") or "037"),
            "MaCanBo": self._officer,
        }
        if profile["send_optional"]:
            constants |= {name: str(settings[name]) for name in _OPTIONAL if settings.get(name)}
        # Request numbers of two units, or of one unit's two officers, never meet.
        self._namespace = uuid5(NAMESPACE_URL, f"{envelope.REQUEST_NS}/{constants['MaDVC']}/{self._officer}")
        self._template = envelope.RequestTemplate(constants)

    def render(self, batch: Sequence[Outgoing]) -> list[Call]:
        """One call per delivery: the operation asks about one person.

        A delivery without a personal number (flows keep them away) is rendered with an empty one: every delivery must
        have a call, the database refuses it as invalid, and `read` makes that final.
        """
        return [self._ask(one) for one in batch]

    def _ask(self, one: Outgoing) -> Call:
        mapped = one.mapped
        number = _plain(mapped.get("SoDinhDanh"))
        name = " ".join(envelope.clean(_plain(mapped.get("HoVaTen"))).split())
        # Not random: the same attempt, rendered again after a crash, asks under the same number.
        request_id = str(
            uuid5(self._namespace, f"{one.delivery}/{one.attempt}/{one.record}/{one.updated_at.isoformat()}")
        )
        return Call(
            operation=envelope.OPERATION,
            deliveries=(one.delivery,),
            body=self._template.fill(
                request_id,
                number,
                name.upper() if self._uppercase else name,
                _plain(mapped.get("NgayThangNamSinh")),
            ),
            content_type="text/xml; charset=utf-8",
            idempotent=True,
            path=self._path,
            headers={"SOAPAction": '""'},
            key=one.key,
            meta={
                "purpose": self._purpose,
                "request_id": request_id,
                "officer": self._officer,
                "lookup_of": number,
                "sex": self._sex(_plain(mapped.get("GioiTinh"))),
                "school": one.school,
                "updated_at": one.updated_at.isoformat(),
            },
        )

    def _sex(self, given: str) -> str | None:
        """The canonical code to compare with, given as such or as one of the database's; None for one it never says."""
        code = self._sexes.get(given, given)
        return code if code in self._known_sexes else None

    def read(self, call: Call, reply: Reply) -> Reading:
        """The verdict as a receipt and a `population_check` record, or why there is none. Raises nothing."""
        outcome, record = self._understand(call, reply)
        return Reading(outcomes=dict.fromkeys(call.deliveries, outcome), records=[record] if record is not None else [])

    def _understand(self, call: Call, reply: Reply) -> tuple[Outcome, Draft | None]:
        early = _by_transport(reply, self._officer)
        if early is not None:
            return early, None
        try:
            element = envelope.payload(reply.body)
            fault = envelope.fault(element)
            if fault is not None:
                return self._fault(*fault), None
            if 200 <= reply.status < 300:
                return self._verdict(call, reply, envelope.check_answer(element, trust_count=self._trust_count))
        except envelope.Unreadable as error:
            return _without_answer(reply.status, str(error)), None
        return _without_answer(reply.status, "an answer that is no fault under an error status"), None

    def _verdict(self, call: Call, reply: Reply, people: list[etree._Element]) -> tuple[Outcome, Draft | None]:
        asked = self._asked(call)
        request_id = str(call.meta.get("request_id", ""))
        if not people:
            return self._settled(call, reply, request_id, "not_found", (), ())
        about = [person for person in people if is_about(person, asked.number)]
        if not about:
            return Unknown(reason="the answer is about another person than the one asked for"), None
        nearest = min((compare(asked, person, self._sexes) for person in about), key=lambda one: len(one.differing))
        verdict = "mismatch" if nearest.differing else "match"
        return self._settled(call, reply, request_id, verdict, nearest.differing, nearest.details)

    def _asked(self, call: Call) -> Asked:
        """The question, read back from the very bytes that were sent: no second copy of a person's identity is kept."""
        question = envelope.payload(call.body)
        sex = call.meta.get("sex")
        values = {str(node.tag).removeprefix(_Q): (node.text or "").strip() for node in question.iter()}
        return Asked(
            number=values.get("SoDinhDanh") or values.get("SoCMND", ""),
            name=values.get("HoVaTen", ""),
            birth=values.get("NgayThangNam") or values.get("Nam", ""),
            sex=str(sex) if sex else None,
        )

    @staticmethod
    def _settled(
        call: Call, reply: Reply, request_id: str, verdict: str, differing: tuple[str, ...], details: tuple[str, ...]
    ) -> tuple[Outcome, Draft | None]:
        receipt = Receipt(reference=request_id or None, detail="; ".join((verdict, *details)))
        answered = _answered_at(call, reply)
        if not call.key or answered is None:
            return receipt, None
        school = str(call.meta.get("school") or "") or None
        body: dict[str, Any] = {
            "learner_code": call.key,
            "verdict": verdict,
            "checked_at": answered.isoformat(),
            "request_id": request_id,
            "differing": list(differing),
        }
        if details:
            body["detail"] = "; ".join(details)
        if school is not None:
            body["school_code"] = school
        return receipt, Draft(type="population_check", key=call.key, body=body, updated_at=answered, school=school)

    def _fault(self, code: str, text: str) -> Outcome:
        """A fault by its code: the longest listed part of a dotted code decides."""
        known = code
        while known and known not in self._faults:
            known = known.rpartition(".")[0]
        kind = self._faults.get(known, self._fault_default)
        reason = f"SOAP fault {code or '(no code)'}: {text or '(no text)'}"
        if kind == "credentials":
            return NeedsPerson(cause="credentials", subject=known or code, message=CREDENTIALS, scope="connector")
        if kind == "never":
            return NeverTry(reason=reason, message=_REFUSED)
        if kind == "person":
            return NeedsPerson(cause="fault", subject=known or code, message=_detailed(_REFUSED, reason))
        if kind == "later":
            return TryLater(reason=reason)
        return Unknown(reason=reason)


def _plain(value: object) -> str:
    return "" if value is None else str(value).strip()


def _detailed(text: Text, reason: str) -> Text:
    return Text(f"{text.vi} ({reason})", f"{text.en} ({reason})")


def _by_transport(reply: Reply, account: str) -> Outcome | None:
    """What the status and headers alone decide; None when the body must be read. SOAP 1.1 sends its faults with 500."""
    if reply.status == 500 and "x-road-error" not in reply.headers:
        return None
    return http_outcome(reply, account)


def _without_answer(status: int, why: str) -> Outcome:
    """A reply that holds neither an answer nor a fault: a refusal when the status says so, otherwise not known."""
    if 400 <= status < 500:
        refused = _detailed(_REFUSED, f"HTTP {status}")
        return NeedsPerson(cause="refused", subject=f"HTTP {status}", message=refused)
    return Unknown(reason=f"HTTP {status}; the answer cannot be read: {why}")


def _answered_at(call: Call, reply: Reply) -> datetime | None:
    """When the database answered, by its own Date header; without a usable one, the time of the record asked about."""
    try:
        answered = parsedate_to_datetime(reply.headers["date"])
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        try:
            answered = datetime.fromisoformat(str(call.meta.get("updated_at")))
        except ValueError:
            return None
    return answered if answered.tzinfo else answered.replace(tzinfo=UTC)
