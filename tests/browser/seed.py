"""A small, real-looking hub for the console's tests: three schools, three systems, and a delivery in every state.

Everything goes in through the ledger itself, so that what the console shows is what the hub writes. All people are made up.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import connectors.settings as connector_settings
from hub.kernel.access import Scope
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import dispatch, intake, operations, parties, people
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.dispatch import Conclusion, Exchange, TaskSpec
from hub.kernel.ledger.operations import code_subject
from hub.kernel.lifecycle import State
from hub.kernel.ports import Call, Draft, Reject, Removed, Reply, Text
from hub.keys import Keys
from mappings.engine import TYPES, parse_item

PASSWORD = "một câu đủ dài để nhớ"
SCHOOLS = (
    ("31SC0001", "Trường THCS Sông Cấm", "11359"),
    ("31SC0002", "Trường Tiểu học Bạch Đằng", "11413"),
    ("31SC0003", "Trường THPT Đồ Sơn", "11455"),
)
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
FAMILY = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Vũ", "Đặng", "Bùi", "Đỗ", "Ngô")
MIDDLE = ("Minh", "Thu", "Quang", "Ngọc", "Hải", "Khánh", "Bảo", "Thị")
GIVEN = ("An", "Bình", "Chi", "Dũng", "Giang", "Hà", "Khoa", "Lan", "Nam", "Phương")


def person(index: int) -> str:
    """A made-up name."""
    return f"{FAMILY[index % 10]} {MIDDLE[index % 8]} {GIVEN[(index * 3) % 10]}"


def learner(index: int, school: str, **more: Any) -> dict[str, Any]:
    """A made-up learner as a school pushes it."""
    return {
        "event": "NEW",
        "updated_at": "2026-11-20T08:00:00+07:00",
        "data": {
            "learner_code": f"HS31{index:06d}",
            "full_name": person(index),
            "birth_date": f"201{index % 3}-0{1 + index % 9}-1{index % 10}",
            "sex": "1" if index % 2 else "2",
            "ethnicity": "01",
            "school_code": school,
            "class_code": "6A1",
            "grade": "06",
            "school_level": "03",
            "status": "studying",
            "parents": [{"relation": "mother", "full_name": person(index + 5), "phone": "0912 345 678"}],
            **more,
        },
    }


def settings(name: str, system: str, transport: dict[str, Any], auth: dict[str, Any], adapter: dict[str, Any], quota: dict[str, Any]) -> dict[str, Any]:
    """A connector's settings, checked as the hub checks them."""
    return connector_settings.dump(
        connector_settings.validate(
            {"name": name, "system": system, "transport": transport, "auth": auth, "adapter": adapter, "policy": {"quota": quota, "batch_max": 50}}
        )
    )


async def users(core: Core) -> None:
    """One user of each role, one operator of a single school."""
    await people.ensure_first_admin(core)
    for name, title, role, scope in (
        ("quantri", "Phạm Thu Hà, Phòng CNTT", "admin", Scope("department")),
        ("vanhanh", "Lê Quang Khoa, vận hành", "operator", Scope("department")),
        ("giamsat", "Vũ Ngọc Lan, thanh tra", "auditor", Scope("department")),
        ("truong1", "Văn thư trường Sông Cấm", "operator", Scope("school", SCHOOLS[0][0])),
    ):
        await people.add_user(core, "seed", name, title, role, scope)
    hashed = await people._hash(PASSWORD)
    async with core.pool.acquire() as connection:
        await connection.execute("UPDATE users SET password_hash = $1, must_change = false WHERE name <> 'admin'", hashed)


async def systems(core: Core, keys: Keys, port: int = 1) -> None:
    """Schools and the three connectors the flows lead to."""
    async with core.pool.acquire() as connection:
        for code, name, ward in SCHOOLS:
            await connection.execute("INSERT INTO schools (code, name, ward, level) VALUES ($1, $2, $3, '03') ON CONFLICT DO NOTHING", code, name, ward)
    rest = {"kind": "rest", "base_url": f"http://127.0.0.1:{port}/"}
    for name, given, secrets in (
        ("ministry", settings("ministry", "ministry", rest, {"scheme": "bearer"}, {"province_code": "31", "source": "SGDDT-HP"}, {}), {"token": "bi-mat-1"}),
        (
            "population",
            settings(
                "population", "population", {"kind": "soap", "base_url": f"http://127.0.0.1:{port}/"}, {"scheme": "none"},
                {"MaDVC": "H24-GDDT", "MaCanBo": "cb.gddt.01"}, {"per_second": 50, "per_day": 20000},
            ),
            {},
        ),
        ("public_service", settings("public_service", "public_service", rest, {"scheme": "none"}, {"agency": "000.00.12.H24"}, {}), {}),
    ):  # fmt: skip
        await operations.add_connector(core, keys, "seed", name, given["system"], given, secrets)
    await core.refresh()
    core.router.bind(core.connectors)


def _draft(core: Core, type_name: str, item: dict[str, Any], pointer: str) -> Draft:
    found = parse_item(type_name, item, pointer, datetime.now(UTC))
    assert isinstance(found, Draft), found
    core.catalogue.standardise_record(TYPES[type_name], found.body, found.updated_at.date())
    return found


async def push(core: Core, type_name: str, school: str, items: list[dict[str, Any]], *, source: Source, rejects: list[Reject] | None = None, **more: Any) -> int:
    """Store a message with these items; returns its id."""
    body = json.dumps(items, ensure_ascii=False).encode()
    arrival = Arrival(
        source=source, type=type_name, body=body, content_type="application/json", digest=core.hasher(body).encode()[:32], school=school,
        drafts=[_draft(core, type_name, item, f"/{n}") for n, item in enumerate(items)], rejects=rejects or [], **more,
    )  # fmt: skip
    (answer,) = await intake.accept(core, [arrival])
    return answer.message


def filing(index: int, school: str) -> dict[str, Any]:
    """A made-up filing."""
    now = datetime.now(UTC)
    return {
        "event": "NEW",
        "updated_at": now.isoformat(),
        "data": {
            "file_number": f"000.00.12.H24-261122-{index:04d}",
            "procedure_code": "1.005144",
            "procedure_name": "Chuyển trường đối với học sinh trung học cơ sở",
            "field_code": "GDTRH",
            "field_name": "Giáo dục trung học",
            "applicant": {"kind": "1", "name": person(index + 3), "identity_kind": "1", "identity_number": f"03118500{index:04d}", "phone": "0912345678"},
            "submitted_at": now.isoformat(),
            "received_at": now.isoformat(),
            "due_at": (now + timedelta(days=5)).isoformat(),
            "status": "2",
            "channel": "1",
            "content": "Đơn xin chuyển trường",
            "agency": "Sở Giáo dục và Đào tạo",
            "school_code": school,
        },
    }


async def send(core: Core, name: str, count: int, make: Any, *, reply: Reply | None, error: str | None = None, idempotent: bool = True) -> list[int]:
    """Claim some deliveries of a connector and conclude each as `make(claimed, call)` says, as a worker would."""
    connector = core.connectors[name]
    batch = await dispatch.claim(core, connector, count, 60.0)
    if not batch.deliveries:
        return []
    async with core.pool.acquire() as connection:
        (call_id,) = await core.ids.take(connection, 1)
    klass = batch.deliveries[0].klass
    mine = [d for d in batch.deliveries if d.klass == klass]
    body = {"goi": [{"idbanghi": d.key, "hovaten": (d.outgoing.body if d.outgoing else {}).get("full_name"), "sodinhdanh": "031085001234"} for d in mine]}
    call = Call(
        operation="push", deliveries=tuple(d.id for d in mine), body=json.dumps(body, ensure_ascii=False).encode(), content_type="application/json",
        idempotent=idempotent, path="/api/v1/goi-du-lieu", headers={"Accept": "application/json"}, key=mine[0].key,
    )  # fmt: skip
    exchange = Exchange(id=call_id, klass=klass, connector=connector, call=call, mapping="m1", reply=reply, error=error, elapsed_ms=41.5)
    await dispatch.conclude(core, connector, [make(d, call_id) for d in mine], [exchange])
    rest = [d for d in batch.deliveries if d.klass != klass]
    if rest:
        await dispatch.conclude(core, connector, [Conclusion(delivery=d, target=State.READY, cause="released", outcome="released") for d in rest], [])
    return [d.id for d in mine]


OK = Reply(status=200, body=b'{"ketqua": "00", "thongbao": "\xc4\x90\xc3\xa3 nh\xe1\xba\xadn cho Nguy\xe1\xbb\x85n Minh An"}', elapsed_ms=38.0)
BUSY = Reply(status=503, body=b"<html>maintenance</html>", elapsed_ms=12.0)


def delivered(d: Any, call: int) -> Conclusion:
    return Conclusion(delivery=d, target=State.DELIVERED, cause="receipt", outcome="Receipt", reference=f"BGD-{d.id % 100000}", call=call, elapsed_ms=40.0)


def waiting(d: Any, call: int) -> Conclusion:
    return Conclusion(delivery=d, target=State.WAITING, cause="try_later", outcome="TryLater", reason="HTTP 503", after_s=3600.0, call=call, elapsed_ms=12.0)


def uncertain(d: Any, call: int) -> Conclusion:
    return Conclusion(delivery=d, target=State.UNCERTAIN, cause="unknown", outcome="Unknown", reason="MaybeSent: read timed out", after_s=3600.0, call=call, elapsed_ms=30000.0)


def dead(d: Any, call: int) -> Conclusion:
    return Conclusion(
        delivery=d, target=State.DEAD, cause="never", outcome="NeverTry", reason="invalid_data", detail="Bộ từ chối dữ liệu / Data refused", call=call, elapsed_ms=9.0
    )


def unmapped(core: Core, code: str, system: str = "vn-ethnicity", target: str = "vn-ethnicity") -> Any:
    """Parks for a code without a meaning."""

    def make(d: Any, call: int) -> Conclusion:
        task = TaskSpec(
            connector=core.connectors["ministry"], cause="unmapped_code", subject=code_subject(system, code, target),
            text=Text(f"Mã “{code}” ({system}) chưa có trong bảng {target}; cần cho trường Dân tộc.", f"Code “{code}” ({system}) has no match in {target}; needed for Ethnicity."),
            data={"source_system": system, "code": code, "target_system": target, "candidates": []},
        )  # fmt: skip
        return Conclusion(delivery=d, target=State.PARKED, cause="needs_person", outcome="Unmapped", reason=f"unmapped {system}:{code} → {target}", task=task)

    return make


def locked(core: Core, name: str) -> Any:
    """Parks because the counterparty closed the period."""

    def make(d: Any, call: int) -> Conclusion:
        text = Text("Bộ đã khóa kỳ dữ liệu 2026–2027; cần đề nghị mở lại.", "The Ministry has locked the period 2026–2027; ask to have it opened.")
        task = TaskSpec(connector=core.connectors[name], cause="period_locked", subject="2026-2027", text=text)
        return Conclusion(delivery=d, target=State.PARKED, cause="needs_person", outcome="NeedsPerson", reason="period_locked: 2026-2027", task=task, call=call)

    return make


async def gates(core: Core, keys: Keys) -> None:
    """Four gates, one silent and one with a wrong clock, and a few check-ins."""
    for number, (school, entrance) in enumerate(((SCHOOLS[0][0], "Cổng chính"), (SCHOOLS[0][0], "Cổng phụ"), (SCHOOLS[1][0], "Cổng chính"), (SCHOOLS[2][0], "Nhà xe")), 1):
        device = f"gate-{number:02d}"
        await parties.add_device(
            core, "seed", device, family="face_mqtt" if number % 2 else "native", profile="default", title=f"{entrance} {number}", school=school,
            entrance=entrance, direction="in" if number % 2 else "out", zone="Asia/Ho_Chi_Minh", secret=keys.encrypt(b"s3cret", device.encode()),
        )  # fmt: skip
    async with core.pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO device_state (device, seen_at, online, offset_s, events, quarantined, images_removed, last_event_at)"
            " VALUES ($1, now() - $2 * interval '1 second', $3, $4, $5, $6, $7, now() - $2 * interval '1 second')",
            [("gate-01", 12.0, True, 0.8, 412, 0, 412), ("gate-02", 4.0, True, -2.1, 180, 0, 0), ("gate-03", 5400.0, False, 3600.4, 96, 96, 96)],
        )
    now = datetime.now(UTC)
    items = []
    for n in range(6):
        items.append(
            {
                "updated_at": (now - timedelta(minutes=n)).isoformat(),
                "data": {
                    "person_code": f"HS31{n:06d}", "device": "gate-01", "school_code": SCHOOLS[0][0], "entrance": "Cổng chính", "direction": "in",
                    "device_time_raw": f"2026-11-22 07:0{n}:00", "assumed_zone": "Asia/Ho_Chi_Minh", "received_at": now.isoformat(),
                    "estimated_offset_s": 0.8, "corrected_time": (now - timedelta(minutes=n)).isoformat(), "uncertainty_s": 1.0, "historical": False,
                    "method": "face", "images_removed": 1,
                },
            }
        )  # fmt: skip
    await push(
        core, "checkin", SCHOOLS[0][0], items, source=Source("device", "gate-01"), attributes={"topic": "mqtt/face/gate-01/Rec"},
        removed=[Removed("/info/pic", "ab" * 32, 48211, "image"), Removed("/info/scene", "cd" * 32, 190233, "image")],
    )  # fmt: skip


async def fill(core: Core, keys: Keys, *, port: int = 1) -> dict[str, int]:
    """Everything; returns a few ids tests ask for."""
    await systems(core, keys, port)
    await users(core)
    ids: dict[str, int] = {}
    client = Source("client", "phan-mem-a")
    refused = [
        Reject(pointer="/12/data/birth_date", code="format", key="HS31000099", message=Text("Ngày sinh phải có dạng YYYY-MM-DD.", "The birth date must look like YYYY-MM-DD.")),
        Reject(pointer="/13/data/sex", code="missing", message=Text("Thiếu giới tính.", "Sex is missing.")),
    ]  # fmt: skip
    ids["roster"] = await push(core, "learner", SCHOOLS[0][0], [learner(n, SCHOOLS[0][0]) for n in range(12)], source=client, rejects=refused)
    await send(core, "ministry", 12, delivered, reply=OK)
    ids["odd"] = await push(core, "learner", SCHOOLS[1][0], [learner(n, SCHOOLS[1][0], ethnicity="Ki-nh") for n in range(20, 26)], source=Source("client", "phan-mem-b"))
    await send(core, "ministry", 6, unmapped(core, "Ki-nh"), reply=None)
    ids["both"] = await push(core, "learner", SCHOOLS[0][0], [learner(30, SCHOOLS[0][0], ethnicity="Tayy")], source=client)
    await send(core, "ministry", 1, unmapped(core, "Tayy"), reply=None)
    ids["locked"] = await push(core, "learner", SCHOOLS[2][0], [learner(n, SCHOOLS[2][0]) for n in range(40, 44)], source=Source("client", "phan-mem-c"))
    await send(core, "ministry", 2, locked(core, "ministry"), reply=OK)
    ids["dead"] = (await send(core, "ministry", 1, dead, reply=OK))[0]
    await gates(core, keys)
    ids["evil"] = await push(core, "learner", SCHOOLS[0][0], [learner(50, SCHOOLS[0][0], full_name=EVIL[:110])], source=client, attributes={"note": EVIL})
    ids["filings"] = await push(core, "filing", SCHOOLS[0][0], [filing(n, SCHOOLS[0][0]) for n in range(8)], source=Source("client", "mot-cua"))
    await send(core, "public_service", 3, delivered, reply=OK)
    await send(core, "public_service", 2, uncertain, reply=None, error="MaybeSent: read timed out", idempotent=False)
    await send(core, "public_service", 2, waiting, reply=BUSY)
    body = b'{"khong phai": "JSON hop le'
    invalid = Arrival(
        source=client, type="learner", body=body, content_type="application/json", digest=b"x" * 32, school=SCHOOLS[0][0],
        invalid=Reject(pointer="", code="unreadable", message=Text("Không đọc được JSON.", "The JSON cannot be read.")),
    )  # fmt: skip
    await intake.accept(core, [invalid])
    async with core.pool.acquire() as connection:
        await connection.execute(
            "UPDATE recoveries SET state = 'open', epoch = 3, owner = 'airflow', until = now() + interval '1 hour', opened_at = now() - interval '4 minutes',"
            " reason = 'HTTP 503', step = 2, released = 11 WHERE connector = $1", core.connectors["public_service"],
        )  # fmt: skip
        await connection.execute("UPDATE quotas SET day_used = 13250, day = (now() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date WHERE connector = $1", core.connectors["population"])
    return ids
