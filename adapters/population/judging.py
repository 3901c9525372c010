"""What an answer about a person says: the verdict, the receipt, and the record it gives rise to.

One concern: from an answer and the question it belongs to, to a verdict. It must never keep or log what the database
knows about a person beyond the verdict and the names of differing fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from adapters.population.answers import Answer
from adapters.population.identity import Address, Asked, Citizen, Comparison, joined, name_differs, nearest
from adapters.population.places import compare_places
from adapters.population.questions import OPERATIONS
from hub.kernel.ports import Call, Draft, Outcome, Receipt, Reply, Unknown
from mappings.fieldmap import today_of
from mappings.verdicts import reason

_HOUSEHOLD = OPERATIONS["household"]
_OTHER_PERSON = Unknown(reason="the answer is about another person than the one asked for")
_YES_NO = {
    OPERATIONS["verify"]: "identity",
    OPERATIONS["householder"]: "householder",
    OPERATIONS["relatives"]: "parents",
    OPERATIONS["residence"]: "residence",
}
"""What each yes/no operation confirms, as a field people know."""

Verdict = tuple[str, Comparison]


class Judge:
    """Compares, with the profile's tables."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        self.sexes: dict[str, str] = {str(theirs): str(ours) for theirs, ours in profile["sex_codes"].items()}
        self._known_sexes = frozenset(self.sexes.values())
        self._shortened: dict[str, str] = {str(a): str(b) for a, b in profile["address_words"].items()}

    def sex(self, given: str) -> str | None:
        """The canonical code to compare with, given as such or as one of the database's; None for one it never says."""
        code = self.sexes.get(given, given)
        return code if code in self._known_sexes else None

    def verdict(
        self, operation: str, asked: Asked, place: Address, call: Call, answer: Answer
    ) -> tuple[str, Comparison] | Unknown:
        """What the answer says about the person asked for; Unknown when it is about somebody else."""
        if answer.exists is not None:
            return self._confirmed(operation, place, _day(call), answer)
        if not answer.people:
            return "not_found", Comparison(())
        found = nearest(asked, answer.people, self.sexes)
        if found is None:
            return _OTHER_PERSON
        citizen, compared = found
        if place.province or place.ward or place.detail:
            compared = joined(compared, compare_places(place, citizen.residence, _day(call), self._shortened))
        if operation == _HOUSEHOLD:
            compared = joined(compared, _members(call.meta.get("asked") or {}, answer.people))
        return compared.verdict, compared

    def _confirmed(self, operation: str, place: Address, on: date, answer: Answer) -> Verdict:
        """A yes or a no. A no is looked into as far as the answer lets it be."""
        if answer.confirmed:
            # Relative by relative: those not confirmed are named by their place in the question.
            missing = [f"parents/{n}" for n, yes in enumerate(answer.confirmed) if not yes]
            compared = Comparison(tuple(missing), tuple(reason(f, "not_confirmed") for f in missing))
            return ("mismatch" if len(missing) == len(answer.confirmed) else compared.verdict), compared
        if answer.exists:
            return "match", Comparison(())
        if answer.residence is not None:
            compared = compare_places(place, answer.residence, on, self._shortened)
            if compared.differing:
                whole = {"residence/province", "residence/ward"} & set(compared.differing)
                return ("mismatch" if whole else "partial"), compared
        field = _YES_NO.get(operation, "identity")
        return "mismatch", Comparison((field,), (reason(field, "not_confirmed"),))


def _members(told: Mapping[str, Any], people: tuple[Citizen, ...]) -> Comparison:
    """Which of the relatives a school names are not in the household: by number where both sides have one, else by name."""
    numbers = {one.number for one in people if one.number}
    missing = [
        f"parents/{n}"
        for n, relative in enumerate(told.get("relatives") or ())
        if relative.get("SoDinhDanh") not in numbers
        and not any(name_differs(str(relative.get("HoVaTen")), one.name) in (None, "order") for one in people)
    ]
    return Comparison(tuple(missing), tuple(reason(field, "not_confirmed") for field in missing))


def answered(
    judge: Judge, call: Call, reply: Reply, asked: tuple[Asked, Address], answer: Answer
) -> tuple[Outcome, list[Draft]]:
    """The receipt of an answer and its `population_check` record. A receipt means the question was answered, whatever the
    answer; an answer about somebody else is Unknown and gives no record."""
    operation = str(call.meta.get("service") or call.operation)
    found = judge.verdict(operation, *asked, call, answer)
    if isinstance(found, Unknown):
        return found, []
    verdict, compared = found
    request_id = str(call.meta.get("request_id", ""))
    receipt = Receipt(reference=request_id or None, detail="; ".join((verdict, *compared.reasons)))
    at = _answered_at(call, reply)
    learner = str(call.meta.get("learner") or call.key or "")
    if not learner or at is None:
        return receipt, []
    school = str(call.meta.get("school") or "") or None
    body: dict[str, Any] = {
        # A learner still under a temporary code comes under a key that names its school too: no part of the code.
        "learner_code": learner.partition("@")[0],
        "verdict": verdict,
        "checked_at": at.isoformat(),
        "request_id": request_id,
        "differing": list(compared.differing),
    }
    if compared.reasons:
        body["reasons"] = list(compared.reasons)
    if call.meta.get("request_code"):
        body["request_code"] = str(call.meta["request_code"])
    if school is not None:
        body["school_code"] = school
    return receipt, [Draft(type="population_check", key=learner, body=body, updated_at=at, school=school)]


def _event(call: Call) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(call.meta.get("updated_at")))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _day(call: Call) -> date:
    """The local day of the event: the day whose wards count."""
    at = _event(call)
    return today_of(at) if at is not None else date.max


def _answered_at(call: Call, reply: Reply) -> datetime | None:
    """When the database answered, by its own Date header; without a usable one, the time of the record asked about."""
    said = reply.headers.get("date")
    return (_dated(said) if said is not None else None) or _event(call)


@lru_cache(maxsize=64)
def _dated(header: str) -> datetime | None:
    """A Date header's time, None for one that cannot be read. A second's answers all bear the same."""
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
