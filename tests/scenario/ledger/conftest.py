"""Makers of drafts and arrivals for the ledger's scenarios."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ports import Draft

AT = datetime(2026, 9, 5, 7, 0, tzinfo=UTC)
SCHOOL = "31030001"


class Make:
    """Short hands."""

    source = Source("client", "truong-a")

    def draft(self, key: str = "HS1", name: str = "Nguyễn An", school: str = SCHOOL, **more: Any) -> Draft:
        body = {
            "learner_code": key, "full_name": name, "school_code": school, "personal_number": None, "birth_date": "2014-05-02",
            "sex": {"system": "vn-sex", "code": "1", "canonical": "1"},
        }  # fmt: skip
        return Draft(type="learner", key=key, body=body, updated_at=AT, school=school, **more)

    def arrival(self, *drafts: Draft, key: str | None = None, **more: Any) -> Arrival:
        body = repr([d.body for d in drafts]).encode()
        return Arrival(
            source=self.source, type=drafts[0].type if drafts else "learner", body=body, content_type="application/json",
            digest=hashlib.sha256(body).digest(), key=intake_key(self.source, key) if key else None, drafts=list(drafts), **more,
        )  # fmt: skip


@pytest.fixture
def make() -> Make:
    return Make()
