"""The canonical record types about what a learner achieved, how healthy they are, and which code they were given.

One concern: shapes, as in `mappings.canonical.models`. Nothing here reads a file or a clock.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct

from mappings.canonical.models import ClassCode, Code, Content, LearnerCode, SchoolCode, SchoolYear

Mark = Annotated[float, Meta(ge=0, le=10)]
"""A mark on the scale of ten."""

TemporaryCode = Annotated[str, Meta(max_length=20, pattern=r"^TAM-[0-9]{1,16}$(?!\n)")]
"""What a school calls a learner until the Ministry has given a code."""

Term = Literal["HK1", "HK2", "CN"]
"""First term, second term, whole year."""


class SubjectMark(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one subject ended with: a mark, or a rating where the subject is only commented on."""

    subject: Code
    mark: Mark | None = None
    rating: Code | None = None


class StudyResult(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A learner's result of one term or year. Key: learner, school year and term together.

    `study_level` and `conduct` follow Circular 22/2021. `retrain`: conduct must be trained again in summer.
    """

    learner_code: LearnerCode
    school_code: SchoolCode
    school_year: SchoolYear
    term: Term
    class_code: ClassCode | None = None
    average: Mark | None = None
    study_level: Code | None = None
    conduct: Code | None = None
    award: Code | None = None
    days_absent: Annotated[int, Meta(ge=0, le=366)] | None = None
    promoted: bool | None = None
    retrain: bool | None = None
    graduation_considered: bool | None = None
    marks: Annotated[list[SubjectMark], Meta(max_length=40)] = []


class HealthCheck(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One health check of a learner. Key: learner and day. Sensitive by law: goes only where a flow allows health.

    `height_cm` in centimetres, `weight_kg` in kilograms, eyesight as tenths (10 is 10/10).
    """

    learner_code: LearnerCode
    school_code: SchoolCode
    checked_on: date
    school_year: SchoolYear | None = None
    height_cm: Annotated[float, Meta(ge=30, le=250)] | None = None
    weight_kg: Annotated[float, Meta(ge=1, le=250)] | None = None
    eyesight_left: Mark | None = None
    eyesight_right: Mark | None = None
    disability: Code | None = None
    conclusion: Content | None = None


class CodeGiven(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The lasting code a learner was given in place of a temporary one, which only its school knows. Key: both."""

    school_code: SchoolCode
    temporary_code: TemporaryCode
    learner_code: LearnerCode
