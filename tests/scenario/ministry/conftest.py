"""The stage of the dispatch tests, and items of every entity the Ministry takes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenario.dispatch.conftest import SCHOOL, Stage, learner, stage

__all__ = ["SCHOOL", "Stage", "stage"]


class Items:
    """Items as a school sends them, all of one school and year."""

    SCHOOL = SCHOOL
    YEAR = "2025-2026"
    learner = staticmethod(learner)

    @classmethod
    def school(cls, **data: Any) -> dict[str, Any]:
        return {
            "data": {
                "school_code": SCHOOL,
                "name": "Trường THCS Thử Nghiệm",
                "level": "03",
                "kind": "1",
                "ward": "11311",
            }
            | data
        }

    @classmethod
    def class_(cls, code: str = "6A1", **data: Any) -> dict[str, Any]:
        full = {"class_code": code, "name": f"Lớp {code}", "grade": "6", "school_code": SCHOOL, "school_year": cls.YEAR}
        return {"data": full | data}

    @classmethod
    def result(cls, code: str = "3112345678", term: str = "HK1", **data: Any) -> dict[str, Any]:
        full = {
            "learner_code": code, "school_code": SCHOOL, "school_year": cls.YEAR, "term": term, "average": 8.1, "study_level": "Tốt",
            "conduct": "Tốt", "marks": [{"subject": "Toán", "mark": 9}, {"subject": "GDTC", "rating": "Đ"}],
        }  # fmt: skip
        return {"data": full | data}

    @classmethod
    def health(cls, code: str = "3112345678", **data: Any) -> dict[str, Any]:
        return {
            "data": {"learner_code": code, "school_code": SCHOOL, "checked_on": "2025-10-02", "height_cm": 141.5} | data
        }

    @classmethod
    def code_given(cls, temporary: str, code: str) -> dict[str, Any]:
        return {"data": {"school_code": SCHOOL, "temporary_code": temporary, "learner_code": code}}


@pytest.fixture
def items() -> type[Items]:
    return Items
