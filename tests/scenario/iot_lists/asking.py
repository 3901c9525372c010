"""What the tests of asking gates for their lists share: gates that hold passages, asked when it is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from hub.api.device_registry import WebGates
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import gate_lists, parties, persons
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Draft
from hub.worker.catchup import CatchUp
from iot.dahua.simulator import DahuaStore
from iot.hanet.decode import PROFILES, seen
from iot.hanet.simulator import HanetPlace
from iot.hikvision.simulator import HikvisionStore
from iot.simulator import Stored

SCHOOL, OTHER = "31HP0000001", "31HP0000002"

NOW = datetime.now(UTC).replace(microsecond=0)
PASSWORD = "mat-khau-cua-cong"


def memory(count: int, every_s: float = 60.0) -> list[Stored]:
    """Passages of the last hours, the newest a few minutes ago; every tenth was refused."""
    first = NOW - timedelta(seconds=300 + every_s * count)
    return [
        Stored(number=i + 1, person=f"HS{i:05d}", at=first + timedelta(seconds=every_s * i), passed=i % 10 != 9)
        for i in range(count)
    ]


async def asked(here: Any, device: str, family: str, address: str, **more: Any) -> CatchUp:
    """A registered gate with a list to read, and the worker that reads it."""
    await here.school(SCHOOL)
    if "ministry" not in here.core.connectors:
        await here.connector("ministry", "ministry")
    await parties.add_device(
        here.core, "test", device, family=family, profile=more.pop("profile", ""), title=device, school=SCHOOL, entrance="Cổng chính",
        direction="in",
        person_ids="department", zone="Asia/Ho_Chi_Minh", secret=here.keys.encrypt(b"duong-dan-mat", device.encode()),
    )  # fmt: skip
    password = more.pop("password", PASSWORD)
    settings: dict[str, Any] = {
        "transport": {"kind": "rest", "base_url": address}, "network": "127.0.0.0/8", "every_s": 10, "overlap_s": 0, **more,
    }  # fmt: skip
    sealed = None
    if password:
        settings["auth"] = {"scheme": "digest", "username": "admin"}
        sealed = here.keys.encrypt(msgspec.json.encode({"password": password}), f"gate-list {device}".encode())
    await gate_lists.put(here.core, "test", device, settings, sealed, NOW - timedelta(days=1))
    return CatchUp(here.core, here.keys, ["127.0.0.0/8"])


async def due(here: Any) -> None:
    await here.owner.execute("UPDATE gate_lists SET due_at = clock_timestamp(), until = NULL")


async def people(here: Any) -> list[str]:
    rows = await here.rows("SELECT body->>'person_code' AS p FROM records WHERE type = 'checkin' ORDER BY 1")
    return [row["p"] for row in rows]


async def standing(here: Any) -> Any:
    (row,) = await here.rows("SELECT * FROM gate_lists")
    return row


async def live_passages(here: Any, until: datetime, off_s: float) -> None:
    """What a camera's webhook tells of its clock, as the gateway notes it: passages of three minutes by a clock that is off."""
    door = WebGates(here.core, here.keys, ["hanet"])
    await door.fresh()
    for ago in range(180, 0, -20):
        at = until - timedelta(seconds=ago)
        told = {"aliasid": "HS99999", "time": int((at.timestamp() + off_s) * 1000)}
        entry = door.entry("G1", "hanet") or {}
        door.stored("G1", seen(f"live-{ago}", told, at, entry, PROFILES.get(None).settings), at, False, 0)
    await door.tell()


STORES: dict[str, Any] = {
    "hikvision": lambda stored: HikvisionStore(stored, size=7, password=PASSWORD),
    "dahua": lambda stored: DahuaStore(stored, password=PASSWORD),
    "hanet": lambda stored: HanetPlace(stored, camera="G1"),
}


async def linked(here: Any, local: str) -> None:
    """G1's numbers are of the account tai-khoan, there are two learners, and this number is the first one's."""
    assert await persons.set_namespace(here.core, "test", "G1", "tai-khoan")
    for code in ("HP01", "HP02"):
        body = {"learner_code": code, "full_name": "Trần Thị Mẫu", "school_code": SCHOOL}
        draft = Draft(type="learner", key=code, body=body, updated_at=NOW, school=SCHOOL)
        made = Arrival(
            source=Source("client", "c"), type="learner", body=b"{}", content_type="application/json",
            digest=bytes(32), drafts=[draft],
        )  # fmt: skip
        await accept(here.core, [made])
    await persons.link(here.core, "test", "tai-khoan", local, "HP01", "đúng em")
