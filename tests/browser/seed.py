"""A small, real-looking hub for the console's tests: three schools, three systems, and a delivery in every state.

Everything goes in through the ledger itself, so that what the console shows is what the hub writes. All people are made up.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import connectors.settings as connector_settings
from adapters import manifest as manifests
from hub.kernel.access import Scope
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import alarms, intake, operations, parties, people
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Draft, Reject, Removed, Text
from hub.keys import Keys
from mappings.engine import TYPES, parse_item
from tests.browser.outcomes import BUSY, OK, dead, delivered, locked, send, uncertain, unmapped, waiting

PASSWORD = "một câu đủ dài để nhớ"
SCHOOLS = (
    ("31SC0001", "Trường THCS Sông Cấm", "11359"),
    ("31SC0002", "Trường Tiểu học Bạch Đằng", "11413"),
    ("31SC0003", "Trường THPT Đồ Sơn", "11455"),
)
BIRTH_DATE = Text("Ngày sinh phải có dạng YYYY-MM-DD.", "The birth date must look like YYYY-MM-DD.")
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
            "sex": "Nam" if index % 2 else "Nữ",
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


def settings(
    name: str,
    system: str,
    transport: dict[str, Any],
    auth: dict[str, Any],
    adapter: dict[str, Any],
    quota: dict[str, Any],
) -> dict[str, Any]:
    """A connector's settings, checked as the hub checks them."""
    manifests.load(system).check_way(transport["kind"], auth["scheme"])
    return connector_settings.dump(
        connector_settings.validate(
            {
                "name": name,
                "system": system,
                "transport": transport,
                "auth": auth,
                "adapter": adapter,
                "policy": {"quota": quota, "batch_max": 50},
            }
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
        await connection.execute(
            "UPDATE users SET password_hash = $1, must_change = false WHERE name <> 'admin'", hashed
        )


async def systems(core: Core, keys: Keys, port: int = 1) -> None:
    """Schools and the three connectors the flows lead to."""
    async with core.pool.acquire() as connection:
        for code, name, ward in SCHOOLS:
            await connection.execute(
                "INSERT INTO schools (code, name, ward, level) VALUES ($1, $2, $3, '03') ON CONFLICT DO NOTHING",
                code,
                name,
                ward,
            )
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
        (
            "public_service",
            settings(
                "public_service", "public_service", rest,
                {"scheme": "portal_session", "login_url": f"http://127.0.0.1:{port}/mapi/login", "username": "so-gddt"},
                {"agency": "000.00.12.H24"}, {},
            ),
            {"password": "bi-mat-2"},
        ),
    ):  # fmt: skip
        await operations.add_connector(core, keys, "seed", name, given["system"], given, secrets)
    await core.refresh()
    core.router.bind(core.connectors)


def _draft(core: Core, type_name: str, item: dict[str, Any], pointer: str) -> Draft:
    found = parse_item(type_name, item, pointer, datetime.now(UTC))
    assert isinstance(found, Draft), found
    core.catalogue.standardise_record(TYPES[type_name], found.body, found.updated_at.date())
    return found


async def push(
    core: Core,
    type_name: str,
    school: str,
    items: list[dict[str, Any]],
    *,
    source: Source,
    rejects: list[Reject] | None = None,
    **more: Any,
) -> int:
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
            "applicant": {
                "kind": "1",
                "name": person(index + 3),
                "identity_kind": "1",
                "identity_number": f"03118500{index:04d}",
                "phone": "0912345678",
            },
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


async def gates(core: Core, keys: Keys) -> None:
    """Four gates, one silent and one with a wrong clock, and a few check-ins."""
    for number, (school, entrance) in enumerate(
        (
            (SCHOOLS[0][0], "Cổng chính"),
            (SCHOOLS[0][0], "Cổng phụ"),
            (SCHOOLS[1][0], "Cổng chính"),
            (SCHOOLS[2][0], "Nhà xe"),
        ),
        1,
    ):
        device = f"gate-{number:02d}"
        await parties.add_device(
            core, "seed", device, family="face_mqtt" if number % 2 else "native", profile="default", title=f"{entrance} {number}", school=school,
            entrance=entrance, direction="in" if number % 2 else "out",
            person_ids="department", zone="Asia/Ho_Chi_Minh", secret=keys.encrypt(b"s3cret", device.encode()),
        )  # fmt: skip
    async with core.pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO device_state (device, seen_at, online, offset_s, events, quarantined, images_removed, last_event_at)"
            " VALUES ($1, now() - $2 * interval '1 second', $3, $4, $5, $6, $7, now() - $2 * interval '1 second')",
            [
                ("gate-01", 12.0, True, 0.8, 412, 0, 412),
                ("gate-02", 4.0, True, -2.1, 180, 0, 0),
                ("gate-03", 5400.0, False, 3600.4, 96, 96, 96),
            ],
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


async def some_alarms(core: Core) -> None:
    """One that stands and one that has ended."""
    late = Text(
        "Kết nối public_service: có lượt gửi đã chờ quá 60 phút (4 lượt đang mở).",
        "Connector public_service: a delivery has been open for more than 60 minutes (4 are open).",
    )
    rows = Text("2 dòng nằm ngoài phân vùng ngày.", "2 rows lie outside the daily partitions.")
    await alarms.report(core, "oldest", [alarms.Alarm("oldest", "public_service", late)])
    await alarms.report(core, "partitions", [alarms.Alarm("partitions", "default", rows)])
    async with core.pool.acquire() as connection:
        await connection.execute("UPDATE alarms SET started_at = now() - interval '12 minutes'")
    await alarms.report(core, "partitions", [])


async def fill(core: Core, keys: Keys, *, port: int = 1) -> dict[str, int]:
    """Everything; returns a few ids tests ask for."""
    await systems(core, keys, port)
    await users(core)
    ids: dict[str, int] = {}
    client = Source("client", "phan-mem-a")
    refused = [
        Reject(pointer="/12/data/birth_date", code="format", key="HS31000099", message=BIRTH_DATE),
        Reject(pointer="/13/data/sex", code="missing", message=Text("Thiếu giới tính.", "Sex is missing.")),
    ]  # fmt: skip
    ids["roster"] = await push(
        core, "learner", SCHOOLS[0][0], [learner(n, SCHOOLS[0][0]) for n in range(12)], source=client, rejects=refused
    )
    await send(core, "ministry", 12, delivered, reply=OK)
    ids["odd"] = await push(
        core,
        "learner",
        SCHOOLS[1][0],
        [learner(n, SCHOOLS[1][0], ethnicity="Ki-nh") for n in range(20, 26)],
        source=Source("client", "phan-mem-b"),
    )
    await send(core, "ministry", 6, unmapped(core, "Ki-nh"), reply=None)
    ids["both"] = await push(
        core, "learner", SCHOOLS[0][0], [learner(30, SCHOOLS[0][0], ethnicity="Tayy")], source=client
    )
    await send(core, "ministry", 1, unmapped(core, "Tayy"), reply=None)
    ids["locked"] = await push(
        core,
        "learner",
        SCHOOLS[2][0],
        [learner(n, SCHOOLS[2][0]) for n in range(40, 44)],
        source=Source("client", "phan-mem-c"),
    )
    await send(core, "ministry", 2, locked(core, "ministry"), reply=OK)
    ids["dead"] = (await send(core, "ministry", 1, dead, reply=OK))[0]
    await gates(core, keys)
    ids["evil"] = await push(
        core,
        "learner",
        SCHOOLS[0][0],
        [learner(50, SCHOOLS[0][0], full_name=EVIL[:110])],
        source=client,
        attributes={"note": EVIL},
    )
    ids["filings"] = await push(
        core, "filing", SCHOOLS[0][0], [filing(n, SCHOOLS[0][0]) for n in range(8)], source=Source("client", "mot-cua")
    )
    await send(core, "public_service", 3, delivered, reply=OK)
    await send(core, "public_service", 2, uncertain, reply=None, error="MaybeSent: read timed out", idempotent=False)
    await send(core, "public_service", 2, waiting, reply=BUSY)
    body = b'{"khong phai": "JSON hop le'
    invalid = Arrival(
        source=client, type="learner", body=body, content_type="application/json", digest=b"x" * 32, school=SCHOOLS[0][0],
        invalid=Reject(pointer="", code="unreadable", message=Text("Không đọc được JSON.", "The JSON cannot be read.")),
    )  # fmt: skip
    await intake.accept(core, [invalid])
    await some_alarms(core)
    async with core.pool.acquire() as connection:
        await connection.execute(
            "UPDATE recoveries SET state = 'open', epoch = 3, owner = 'airflow', until = now() + interval '1 hour', opened_at = now() - interval '4 minutes',"
            " reason = 'HTTP 503', step = 2, released = 11 WHERE connector = $1", core.connectors["public_service"],
        )  # fmt: skip
        await connection.execute(
            "UPDATE quotas SET day_used = 13250, day = (now() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date WHERE connector = $1",
            core.connectors["population"],
        )
    return ids
