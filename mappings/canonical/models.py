"""The canonical record types as typed structures.

One concern: which fields a record has and what shape each must have. Rules that need two fields or a table live in
`mappings.canonical.checks`; nothing here reads a file or a clock.

Every structure refuses unknown fields. A field of type `Code` is given by a sender as a plain string (in the field's
default code system) or as `{system, code}`; in a stored record it is always `{system, code, canonical}`.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

# `$(?!\n)` because a bare `$` lets one trailing line feed through; control characters cannot be stored as text.
# In free text the pattern is for the schema only: the reader sees to it with `str.isprintable`, ten times as fast.
_LINE = {"pattern": r"^[^\x00-\x1f\x7f]*$(?!\n)"}
_TEXT = {"pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"}

Moment = Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})]
"""An instant; one without an offset is local time of Vietnam."""

Line = Annotated[str, Meta(min_length=1, max_length=250, extra_json_schema=_LINE)]
Name = Annotated[str, Meta(min_length=1, max_length=120, extra_json_schema=_LINE)]
Content = Annotated[str, Meta(min_length=1, max_length=1000, extra_json_schema=_TEXT)]
Identifier = Annotated[
    str, Meta(min_length=1, max_length=60, pattern=r"^[0-9A-Za-z](?:[0-9A-Za-z._/:-]*[0-9A-Za-z])?$(?!\n)")
]
LearnerCode = Annotated[str, Meta(min_length=3, max_length=20, pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$(?!\n)")]
SchoolCode = Annotated[str, Meta(min_length=4, max_length=20, pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$(?!\n)")]
ClassCode = Annotated[str, Meta(min_length=1, max_length=30, pattern=r"^[0-9A-Za-zÀ-ỹ][0-9A-Za-zÀ-ỹ ._-]*$(?!\n)")]
SchoolYear = Annotated[str, Meta(pattern=r"^20[0-9]{2}-20[0-9]{2}$(?!\n)")]
PersonalNumber = Annotated[str, Meta(pattern=r"^[0-9]{12}$(?!\n)")]
Phone = Annotated[str, Meta(min_length=8, max_length=20, pattern=r"^[+0-9][0-9 ().-]*$(?!\n)")]
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$(?!\n)")]
Url = Annotated[str, Meta(min_length=8, max_length=1000, pattern=r"^https?://[^\s\x00-\x1f\x7f]+$(?!\n)")]
LongLine = Annotated[str, Meta(min_length=1, max_length=1000, extra_json_schema=_LINE)]
Question = Annotated[str, Meta(min_length=1, max_length=8000, extra_json_schema=_TEXT)]
FileId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
"""A document kept by the hub itself: what it answered when the document was given to it."""
FileNumber = Annotated[str, Meta(max_length=60, pattern=r"^[0-9A-Z][0-9A-Z.]*-[0-9]{6}-[0-9]{4,5}$(?!\n)")]


class Coded(Struct, frozen=True, forbid_unknown_fields=True):
    """A code as sent, the system it belongs to, and the canonical code (None while it is unmapped)."""

    system: Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[0-9A-Za-z][0-9A-Za-z._:-]*$(?!\n)")]
    code: Annotated[str, Meta(min_length=1, max_length=120, extra_json_schema=_LINE)]
    canonical: str | None = None


Code = Coded | Annotated[str, Meta(min_length=1, max_length=120, extra_json_schema=_LINE)]


class Place(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A place. `as_of` is the day the address was written down: it decides which ward codes are meant."""

    ward: Code | None = None
    province: Code | None = None
    detail: Line | None = None
    as_of: date | None = None


class Parent(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A parent or guardian of a learner."""

    relation: Literal["father", "mother", "guardian"]
    full_name: Name
    personal_number: PersonalNumber | None = None
    phone: Phone | None = None


class Learner(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A pupil at a school. Key: `learner_code` (a temporary `TAM-<number>` is a code like any other)."""

    learner_code: LearnerCode
    full_name: Name
    birth_date: date
    sex: Code
    school_code: SchoolCode
    school_level: Code
    status: Code
    personal_number: PersonalNumber | None = None
    ethnicity: Code | None = None
    nationality: Code | None = None
    class_code: ClassCode | None = None
    grade: Code | None = None
    birthplace: Place | None = None
    residence: Place | None = None
    parents: Annotated[list[Parent], Meta(max_length=6)] = []
    enrolled_on: date | None = None
    status_since: date | None = None
    left_reason: Code | None = None
    disability: Code | None = None
    policy: Code | None = None
    poor_household: Code | None = None


class Staff(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A teacher, manager or employee of a school. Key: `staff_code`."""

    staff_code: LearnerCode
    full_name: Name
    birth_date: date
    sex: Code
    school_code: SchoolCode
    group: Code
    status: Code
    personal_number: PersonalNumber | None = None
    ethnicity: Code | None = None
    nationality: Code | None = None
    position: Line | None = None
    phone: Phone | None = None
    email: Email | None = None
    joined_on: date | None = None
    kind: Code | None = None
    contract: Code | None = None
    rank: Identifier | None = None
    social_insurance: Annotated[str, Meta(pattern=r"^[0-9]{10}$(?!\n)")] | None = None


class School(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A school. Key: `school_code` (department, ward and serial; at most 20 characters)."""

    school_code: SchoolCode
    name: Line
    level: Code
    kind: Code
    ward: Code
    address: Line | None = None
    principal: Name | None = None
    phone: Phone | None = None
    email: Email | None = None


class ClassGroup(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A class in one school year. Key: school, class and year together."""

    class_code: ClassCode
    name: Line
    grade: Code
    school_code: SchoolCode
    school_year: SchoolYear
    school_level: Code | None = None
    homeroom_teacher: LearnerCode | None = None


class CheckIn(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person at a gate. Device time as sent, corrected time and its uncertainty are all kept; images never are.

    `estimated_offset_s`: device clock minus the hub's, in seconds. `similarity`: 0 to 100, as the device gave it.
    `namespace`, `local_id`: whose id it was and which, where a gate's ids are not the department's codes; `person_code`
    is then the learner linked to it, or the id itself while nobody is. `merged_into`: record of the check-in of the same
    passage that travels. `follows`: record this version was made from.
    """

    person_code: Identifier
    device: Identifier
    school_code: SchoolCode
    device_time_raw: Annotated[str, Meta(min_length=1, max_length=60, extra_json_schema=_LINE)]
    assumed_zone: Annotated[str, Meta(min_length=1, max_length=40, extra_json_schema=_LINE)] = "Asia/Ho_Chi_Minh"
    entrance: Line | None = None
    direction: Literal["in", "out", "unknown"] = "unknown"
    received_at: Moment | None = None
    estimated_offset_s: float | None = None
    corrected_time: Moment | None = None
    uncertainty_s: Annotated[float, Meta(ge=0)] | None = None
    historical: bool = False
    method: Literal["face", "card", "finger", "unknown"] = "unknown"
    similarity: Annotated[float, Meta(ge=0, le=100)] | None = None
    verify_status: Literal["none", "allowed", "refused", "unregistered"] = "none"
    quarantine: Line | None = None
    images_removed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    namespace: Line | None = None
    local_id: Identifier | None = None
    merged_into: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    follows: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class GatePerson(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person to be known at one gate, until CANCEL. `person_code` is the learner's or staff member's own code: what the
    gate then tells needs no linking. `photo_url`: passed through to the gate where the deployment allows it, never fetched
    or kept by the hub.
    """

    device: Identifier
    person_code: Identifier
    school_code: SchoolCode
    full_name: Name
    sex: Code | None = None
    birth_date: date | None = None
    card: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,20}$(?!\n)")] | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    photo_url: Url | None = None


class Applicant(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who filed. `vneid`: the account was confirmed with VNeID."""

    kind: Code
    name: Line
    code: Identifier | None = None
    identity_number: Annotated[str, Meta(pattern=r"^[0-9]{9,13}$(?!\n)")] | None = None
    identity_kind: Code | None = None
    phone: Phone | None = None
    fax: Phone | None = None
    email: Email | None = None
    other: LongLine | None = None
    vneid: bool | None = None


class Attachment(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A document of a filing: kept by the hub (`file`) or elsewhere (`url`); one of the two is there."""

    id: Identifier
    name: Line
    url: Url | None = None
    file: FileId | None = None
    component_code: Identifier | None = None
    digitised: bool = False
    deleted: bool | None = None
    reused: bool | None = None
    from_store: bool | None = None
    replaced_by: Identifier | None = None


class Fee(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fee of a filing; `amount` in đồng."""

    name: Line
    code: Identifier | None = None
    amount: Annotated[int, Meta(ge=0, le=10**12)]
    method: Identifier | None = None
    kind: Identifier | None = None


class Paper(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A paper handed in beside the attachments."""

    name: Line
    count: Annotated[int, Meta(ge=1, le=999)] | None = None
    kind: Identifier | None = None


class Supplement(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One request for more papers, and what came of it. `due_before`, `due_after`: how it moved the date promised."""

    id: Identifier
    content: LongLine | None = None
    requested_by: Name | None = None
    requested_at: Moment | None = None
    received_by: Name | None = None
    received_note: LongLine | None = None
    received_at: Moment | None = None
    status: Identifier | None = None
    due_before: Moment | None = None
    due_after: Moment | None = None


class ResultPaper(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A paper the filing ended with: kept by the hub (`file`), elsewhere (`url`), or on paper only."""

    name: Line
    id: Identifier | None = None
    code: Identifier | None = None
    component_code: Identifier | None = None
    url: Url | None = None
    file: FileId | None = None


class Filing(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An application to the department, as the public-service portal keeps it. Key: `file_number`."""

    file_number: FileNumber
    procedure_code: Identifier
    procedure_name: Line
    applicant: Applicant
    submitted_at: Moment
    status: Code
    content: Content
    agency: Line
    channel: Code | None = None
    field_code: Identifier | None = None
    field_name: Line | None = None
    received_at: Moment | None = None
    due_at: Moment | None = None
    finished_at: Moment | None = None
    returned_at: Moment | None = None
    refused_at: Moment | None = None
    return_info: Line | None = None
    return_method: Identifier | None = None
    filed_at: Identifier | None = None
    note: Content | None = None
    online_payment: bool | None = None
    databases: Annotated[list[Identifier], Meta(max_length=20)] = []
    attachments: Annotated[list[Attachment], Meta(max_length=100)] = []
    papers: Annotated[list[Paper], Meta(max_length=50)] = []
    fees: Annotated[list[Fee], Meta(max_length=50)] = []
    supplements: Annotated[list[Supplement], Meta(max_length=50)] = []
    results: Annotated[list[ResultPaper], Meta(max_length=50)] = []
    learner_code: LearnerCode | None = None
    school_code: SchoolCode | None = None


class Payment(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fee paid; `amount` in đồng."""

    amount: Annotated[int, Meta(ge=0, le=10**12)]
    code: Identifier | None = None


class FilingProgress(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step in the handling of a filing. Key: file number and the time of the step.

    `said_by`, `event_id`, `payment` and `quarantine` are the hub's to set, for what the portal told: such a step goes back
    to no portal. `quarantine` says why the step is kept aside.
    """

    file_number: FileNumber
    handler: Name
    handled_at: Moment
    content: Content
    status: Code
    position: Line | None = None
    department: Line | None = None
    started_at: Moment | None = None
    due_at: Moment | None = None
    school_code: SchoolCode | None = None
    said_by: Literal["agency", "portal"] = "agency"
    event_id: Identifier | None = None
    payment: Payment | None = None
    quarantine: Line | None = None


class CatalogueEntry(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An entry of a catalogue another system keeps: a procedure, an agency, a field. `days`: working days promised."""

    source: Identifier
    catalogue: Literal["procedure", "agency", "field"]
    code: Identifier
    name: LongLine
    parent: Identifier | None = None
    agency: LongLine | None = None
    days: Annotated[int, Meta(ge=0, le=3660)] | None = None


class PortalQuestion(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question a citizen put to the department through the public-service portal."""

    source: Identifier
    question_id: Identifier
    content: Question
    asked_at: Moment
    title: LongLine | None = None
    asker: Name | None = None
    email: Email | None = None
    phone: Phone | None = None
    procedure_code: Identifier | None = None
    answered: bool = False


class PopulationRequest(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One question to the population database, with whose it is and why. Key: `request_code`.

    `look_up` compares the learner, `verify` asks yes or no; `household`, `relatives`, `householder` are about the
    `parents` (the first of them for `householder`), `residence` about where the learner lives.
    """

    request_code: Identifier
    kind: Literal["verify", "look_up", "household", "relatives", "householder", "residence"]
    purpose: Line
    officer: Identifier
    learner_code: LearnerCode
    school_code: SchoolCode
    full_name: Name
    birth_date: date
    personal_number: PersonalNumber
    sex: Code | None = None
    residence: Place | None = None
    parents: Annotated[list[Parent], Meta(max_length=6)] = []


class PopulationCheck(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The result of verifying a learner with the population database: field names that differ, never their values.

    `reasons` are words of `mappings.verdicts`. `request_code` is there when a `population_request` was asked.
    """

    learner_code: LearnerCode
    verdict: Literal["match", "partial", "mismatch", "not_found"]
    checked_at: Moment
    request_id: Identifier
    differing: Annotated[list[Identifier], Meta(max_length=20)] = []
    reasons: Annotated[list[Line], Meta(max_length=30)] = []
    request_code: Identifier | None = None
    school_code: SchoolCode | None = None
