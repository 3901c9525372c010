"""What the hub must know about each record type beyond its fields.

One concern: business key, ordering, code systems, ownership, retention and masking per type. It must never hold rules
about values (see `mappings.canonical.checks`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Literal

from msgspec import Struct

from mappings.canonical import models, results

Body = dict[str, Any]

WARDS_CHANGED = date(2025, 7, 1)
"""First day of the present wards. 113 of their codes were another ward's before: a code needs its day."""


class TypeSpec(Struct, frozen=True, kw_only=True):
    """One record type. Paths are member names joined by `/`, with `*` for every item of a list."""

    name: str
    struct: type[Struct]
    stream: Literal["entity", "event"]
    """`entity`: versions of one thing, compared with the current one. `event`: each fact stands for itself."""
    key_fields: tuple[str, ...]
    """Fields the business key is made of, joined by `/`: all a CANCEL item must have."""
    order_fields: tuple[str, ...] = ()
    """Fields of the order key; empty when records of the type need no order among them."""
    code_fields: Mapping[str, tuple[str, str]] = {}
    """Path → (code system of a plain string, canonical system)."""
    retention: Literal["short", "standard", "long"] = "standard"
    personal_fields: tuple[str, ...] = ()
    """Paths masked in lists."""
    sensitive_fields: tuple[str, ...] = ()
    """Paths the law counts as sensitive: never in a list, even masked."""
    health_fields: tuple[str, ...] = ()
    """Paths about a person's health, `*` for the whole record: they go only where a flow's target allows health."""
    names: tuple[str, ...] = ()
    """Paths of every free text: trimmed and brought to composed form (NFC) on one line."""
    texts: tuple[str, ...] = ()
    """Top-level fields of free text that may have several lines."""
    top_codes: tuple[tuple[str, str, str], ...] = ()
    deep_codes: tuple[tuple[tuple[str, ...], str, str, str], ...] = ()

    def key(self, body: Body) -> str:
        """Business key of a record. Raises KeyError when a key field is missing."""
        if len(self.key_fields) == 1:
            key: str = body[self.key_fields[0]]
            return key
        return "/".join(str(body[f]) for f in self.key_fields)

    def order_key(self, body: Body) -> str | None:
        """What records must share to be delivered in order; None for no order."""
        return "/".join(str(body[f]) for f in self.order_fields) if self.order_fields else None

    def school(self, body: Body) -> str | None:
        """School the record belongs to."""
        return body.get("school_code")

    def codes_of(self, body: Body) -> Iterator[tuple[str, dict[str, Any], str]]:
        """(path, code, canonical system) of every code present in a stored record."""
        for name, _, target in self.top_codes:
            if (value := body.get(name)) is not None:
                yield name, value, target
        for parts, path, _, target in self.deep_codes:
            if parts[0] in body:
                for holder in holders(body, parts):
                    if (value := holder.get(parts[-1])) is not None:
                        yield path, value, target


def holders(body: Body, parts: tuple[str, ...]) -> Sequence[dict[str, Any]]:
    """The objects that may hold the last member of a path of two or three parts (`a/b`, `a/*/b`)."""
    found = body[parts[0]]
    if found is None:
        return ()
    return (found,) if len(parts) == 2 else found


_SEX = ("vn-sex", "vn-sex")
_ETHNICITY = ("vn-ethnicity", "vn-ethnicity")
_COUNTRY = ("country", "country")
_WARD = ("vn-ward", "vn-ward")
_PROVINCE = ("vn-province", "vn-province")
_LEVEL = ("school-level", "school-level")
_GRADE = ("grade", "grade")
_DISABILITY = ("disability", "disability")


def _spec(**given: Any) -> TypeSpec:
    codes: Mapping[str, tuple[str, str]] = given.get("code_fields", {})
    return TypeSpec(
        top_codes=tuple((p, s, t) for p, (s, t) in codes.items() if "/" not in p),
        deep_codes=tuple((tuple(p.split("/")), p, s, t) for p, (s, t) in codes.items() if "/" in p),
        **given,
    )


TYPES: dict[str, TypeSpec] = {
    spec.name: spec
    for spec in (
        _spec(
            name="learner",
            struct=models.Learner,
            stream="entity",
            key_fields=("learner_code",),
            order_fields=("learner_code",),
            code_fields={
                "sex": _SEX,
                "ethnicity": _ETHNICITY,
                "nationality": _COUNTRY,
                "grade": _GRADE,
                "school_level": _LEVEL,
                "status": ("learner-status", "learner-status"),
                "birthplace/ward": _WARD,
                "birthplace/province": _PROVINCE,
                "residence/ward": _WARD,
                "residence/province": _PROVINCE,
                "left_reason": ("left-reason", "left-reason"),
                "disability": _DISABILITY,
                "policy": ("policy-group", "policy-group"),
                "poor_household": ("poor-household", "poor-household"),
            },
            retention="long",
            personal_fields=(
                "full_name",
                "birth_date",
                "personal_number",
                "birthplace/detail",
                "residence/detail",
                "parents/*/full_name",
                "parents/*/personal_number",
                "parents/*/phone",
            ),
            sensitive_fields=("ethnicity", "disability", "policy", "poor_household"),
            health_fields=("disability",),
            names=("full_name", "birthplace/detail", "residence/detail", "parents/*/full_name"),
        ),
        _spec(
            name="staff",
            struct=models.Staff,
            stream="entity",
            key_fields=("staff_code",),
            order_fields=("staff_code",),
            code_fields={
                "sex": _SEX,
                "ethnicity": _ETHNICITY,
                "nationality": _COUNTRY,
                "group": ("staff-group", "staff-group"),
                "status": ("staff-status", "staff-status"),
                "kind": ("staff-kind", "staff-kind"),
                "contract": ("staff-contract", "staff-contract"),
            },
            retention="long",
            personal_fields=("full_name", "birth_date", "personal_number", "phone", "email", "social_insurance"),
            sensitive_fields=("ethnicity",),
            names=("full_name", "position", "email"),
        ),
        _spec(
            name="school",
            struct=models.School,
            stream="entity",
            key_fields=("school_code",),
            order_fields=("school_code",),
            code_fields={"level": _LEVEL, "kind": ("school-kind", "school-kind"), "ward": _WARD},
            retention="long",
            personal_fields=("principal", "phone", "email"),
            names=("name", "address", "principal", "email"),
        ),
        _spec(
            name="class",
            struct=models.ClassGroup,
            stream="entity",
            key_fields=("school_code", "class_code", "school_year"),
            order_fields=("school_code", "class_code", "school_year"),
            code_fields={"grade": _GRADE, "school_level": _LEVEL},
            retention="standard",
            names=("name",),
        ),
        _spec(
            name="study_result",
            struct=results.StudyResult,
            stream="entity",
            key_fields=("learner_code", "school_year", "term"),
            order_fields=("learner_code", "school_year", "term"),
            code_fields={
                "study_level": ("study-level", "study-level"),
                "conduct": ("conduct", "conduct"),
                "award": ("award", "award"),
                "marks/*/subject": ("subject", "subject"),
                "marks/*/rating": ("mark-rating", "mark-rating"),
            },
            retention="long",
            personal_fields=("average", "marks/*/mark"),
        ),
        _spec(
            name="health_check",
            struct=results.HealthCheck,
            stream="entity",
            key_fields=("learner_code", "checked_on"),
            order_fields=("learner_code", "checked_on"),
            code_fields={"disability": _DISABILITY},
            sensitive_fields=(
                "height_cm",
                "weight_kg",
                "eyesight_left",
                "eyesight_right",
                "disability",
                "conclusion",
            ),
            health_fields=("*",),
            texts=("conclusion",),
        ),
        _spec(
            name="code_given",
            struct=results.CodeGiven,
            stream="entity",
            key_fields=("school_code", "temporary_code"),
            order_fields=("school_code", "temporary_code"),
            retention="long",
        ),
        _spec(
            name="checkin",
            struct=models.CheckIn,
            stream="event",
            key_fields=("device", "person_code", "device_time_raw"),
            retention="short",
            personal_fields=("person_code", "local_id"),
            names=("device_time_raw", "assumed_zone", "entrance", "quarantine", "namespace"),
        ),
        _spec(
            name="gate_person",
            struct=models.GatePerson,
            stream="entity",
            key_fields=("device", "person_code"),
            order_fields=("device", "person_code"),
            code_fields={"sex": _SEX},
            personal_fields=("full_name", "birth_date", "card", "photo_url"),
            names=("full_name",),
        ),
        _spec(
            name="filing",
            struct=models.Filing,
            stream="entity",
            key_fields=("file_number",),
            order_fields=("file_number",),
            code_fields={
                "applicant/kind": ("applicant-kind", "applicant-kind"),
                "applicant/identity_kind": ("id-kind", "id-kind"),
                "status": ("filing-status", "filing-status"),
                "channel": ("filing-channel", "filing-channel"),
            },
            retention="long",
            personal_fields=(
                "applicant/name",
                "applicant/identity_number",
                "applicant/phone",
                "applicant/email",
                "applicant/fax",
                "applicant/other",
                "content",
                "note",
                "return_info",
                "attachments/*/name",
                "attachments/*/url",
                "papers/*/name",
                "supplements/*/requested_by",
                "supplements/*/received_by",
                "supplements/*/content",
                "supplements/*/received_note",
                "results/*/name",
                "results/*/url",
            ),
            names=(
                "procedure_name",
                "field_name",
                "applicant/name",
                "applicant/email",
                "applicant/other",
                "agency",
                "return_info",
                "attachments/*/name",
                "attachments/*/url",
                "papers/*/name",
                "fees/*/name",
                "supplements/*/content",
                "supplements/*/requested_by",
                "supplements/*/received_by",
                "supplements/*/received_note",
                "results/*/name",
                "results/*/url",
            ),
            texts=("content", "note"),
        ),
        _spec(
            name="filing_progress",
            struct=models.FilingProgress,
            stream="event",
            key_fields=("file_number", "handled_at"),
            order_fields=("file_number",),
            code_fields={"status": ("filing-status", "filing-status")},
            personal_fields=("handler", "content"),
            names=("handler", "position", "department"),
            texts=("content",),
        ),
        _spec(
            name="catalogue_entry",
            struct=models.CatalogueEntry,
            stream="entity",
            key_fields=("source", "catalogue", "code"),
            names=("name", "agency"),
        ),
        _spec(
            name="portal_question",
            struct=models.PortalQuestion,
            stream="entity",
            key_fields=("source", "question_id"),
            personal_fields=("title", "content", "asker", "email", "phone"),
            names=("title", "asker", "email"),
            texts=("content",),
        ),
        _spec(
            name="population_request",
            struct=models.PopulationRequest,
            stream="event",
            key_fields=("request_code",),
            code_fields={"sex": _SEX, "residence/ward": _WARD, "residence/province": _PROVINCE},
            retention="short",
            personal_fields=(
                "full_name",
                "birth_date",
                "personal_number",
                "residence/detail",
                "parents/*/full_name",
                "parents/*/personal_number",
                "parents/*/phone",
            ),
            names=("purpose", "full_name", "residence/detail", "parents/*/full_name"),
        ),
        _spec(
            name="population_check",
            struct=models.PopulationCheck,
            stream="entity",
            key_fields=("learner_code",),
            order_fields=("learner_code",),
            names=("reasons",),
        ),
    )
}
"""Every record type by its name."""
