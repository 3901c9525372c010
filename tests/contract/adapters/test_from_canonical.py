"""The whole translation: a sender's item, canonical, mapped, rendered, and taken by the strict simulator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
import pytest

from adapters import manifest as manifests
from adapters.ministry.simulator import Simulator as MinistryTwin
from adapters.public_service.simulator import Simulator as PortalTwin
from adapters.samples import example_settings
from adapters.twin import Ask, Twin
from hub.kernel.ports import Draft, Outgoing, Receipt, Reply
from mappings.canonical import registry
from mappings.canonical.parse import parse_item
from mappings.catalogue import Catalogue
from mappings.fieldmap import load_field_maps

NOW = datetime(2026, 9, 7, 1, tzinfo=UTC)
SCHOOL = "31HP0123001"
FILE = "000.00.12.H24-260907-0001"
ITEMS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "ministry",
        "learner",
        {
            "learner_code": "HS0001",
            "full_name": "Nguyễn Văn Mẫu",
            "birth_date": "2014-03-05",
            "sex": "Nam",
            "school_code": SCHOOL,
            "school_level": "02",
            "status": "studying",
            "grade": "5",
            "ethnicity": "Kinh",
            "class_code": "5A1",
            "residence": {"ward": "11311", "detail": "Số 1 đường Thử Nghiệm"},
            "parents": [{"relation": "father", "full_name": "Nguyễn Văn Thử", "phone": "0900000001"}],
        },
    ),
    (
        "ministry",
        "checkin",
        {
            "person_code": "HS0001",
            "device": "gate-01",
            "school_code": SCHOOL,
            "device_time_raw": "2026-09-07 06:58:12",
            "corrected_time": "2026-09-07T06:58:12+07:00",
            "direction": "in",
            "method": "face",
            "verify_status": "allowed",
        },
    ),
    (
        "public_service",
        "filing",
        {
            "file_number": FILE,
            "procedure_code": "2.002481",
            "procedure_name": "Chuyển trường đối với học sinh trung học cơ sở",
            "applicant": {"kind": "citizen", "name": "Nguyễn Văn Mẫu", "identity_number": "031085000001"},
            "submitted_at": "2026-09-07T08:00:00+07:00",
            "status": "1",
            "content": "Xin chuyển trường",
            "agency": "Sở Giáo dục và Đào tạo",
            "attachments": [{"id": "a1", "name": "Đơn.pdf", "url": "https://files.example.invalid/a1"}],
            "fees": [{"name": "Phí", "amount": 10000}],
        },
    ),
    (
        "public_service",
        "filing_progress",
        {
            "file_number": FILE,
            "handler": "Lê Thị Thử",
            "handled_at": "2026-09-08T09:30:00+07:00",
            "content": "Thẩm định",
            "status": "4",
        },
    ),
]


@pytest.fixture(scope="module")
def twins() -> dict[str, Twin]:
    """One of each for all items: a notice needs its filing."""
    return {"ministry": MinistryTwin(), "public_service": PortalTwin()}


@pytest.mark.parametrize(("system", "kind", "data"), ITEMS, ids=[f"{s}.{k}" for s, k, _ in ITEMS])
def test_item_is_taken(system: str, kind: str, data: dict[str, Any], twins: dict[str, Twin]) -> None:
    catalogue, field_map = Catalogue.load(), load_field_maps()[f"{system}.{kind}"]
    draft = parse_item(kind, {"updated_at": "2026-09-07T08:00:00+07:00", "data": data}, "", NOW)
    assert isinstance(draft, Draft), draft
    catalogue.standardise_record(registry.TYPES[kind], draft.body, NOW.date())
    meta = {"event": "NEW", "version": 1, "updated_at": draft.updated_at, "key": draft.key}
    one = Outgoing(
        delivery=1,
        record=1,
        type=kind,
        key=draft.key,
        event="NEW",
        version=1,
        updated_at=draft.updated_at,
        school=draft.school,
        body=draft.body,
        mapped=field_map.apply(draft.body, meta, catalogue),
    )
    manifest = manifests.load(system)
    adapter = manifest.build(example_settings(manifest))
    (call,) = adapter.render([one])
    headers, body = twins[system].authorised(call.path, dict(call.headers), call.body)
    said = twins[system].answer(Ask(call.method, call.path, {}, headers, body, call.path))
    (outcome,) = adapter.read(call, Reply(status=said.status, body=said.body)).outcomes.values()
    assert isinstance(outcome, Receipt), (outcome, orjson.loads(said.body))
    assert twins[system].summary()["effects"]
    assert msgspec.json.encode(call.meta)
