"""What comes to the gateway by its rarer doors: workbooks, archives of them, a portal's callbacks, people for a gate.

One concern: careful callers at those doors, who call again until they hear yes. It must never read anything of the hub's but its
answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import aiohttp
import openpyxl
import orjson

from hub.api.archives import ZIP
from hub.api.callbacks import callback_secrets, signature
from hub.api.workbooks import XLSX
from tests.chaos.books import Push
from tests.chaos.load import CLIENTS, Source
from tests.chaos.world import SCHOOL, now

_LOCAL = timezone(timedelta(hours=7))
_HEADINGS = ["Mã lớp", "Mã học sinh", "Họ tên", "Ngày sinh (dd/mm/yyyy)", "Giới tính", "Dân tộc", "Trạng thái HS"]


async def file(source: Source, name: str, *, archived: bool) -> None:
    """A workbook of learners nobody knew before, alone or in an archive, sent again until it is acknowledged."""
    codes = [source.learner() for _ in range(12)]
    made, out = openpyxl.Workbook(), io.BytesIO()
    sheet = made.worksheets[0]
    sheet.append(_HEADINGS)
    for code in codes:
        sheet.append(["6A1", code, "Nguyễn Văn Mẫu", "05/03/2014", "Nam", "Kinh", "Đang học"])
    made.save(out)
    body = out.getvalue()
    if archived:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("6A1.xlsx", body)
        body = packed.getvalue()
    push = Push(
        client=CLIENTS[0],
        kind="learner",
        items=[(code, 1) for code in codes],
        idempotency=name,
    )
    source.books.pushes.append(push)
    headers = {
        "Content-Type": ZIP if archived else XLSX,
        "Idempotency-Key": name,
        "X-API-Key": source.world.keys[push.client],
    }
    told = await _until(source, f"/v1/messages/learner?school={SCHOOL}", body, lambda: headers, push)
    if told is not None:
        one = told["files"][0] if archived else told
        push.receipt = one.get("receipt")
        if push.receipt is None or one["rejected"]:
            push.refused = orjson.dumps(one).decode()[:300]
    push.acked_at = now()


async def person(source: Source, gate: str, name: str, *, away: bool = False) -> None:
    """Somebody is told to a gate, or (`away`) taken away from it again."""
    data = {"device": gate, "person_code": name, "school_code": SCHOOL, "full_name": "Trần Thị Mẫu", "sex": "Nữ"}
    body = orjson.dumps({"event": "CANCEL" if away else "UPDATE", "data": data})
    key = f"{gate}/{name}"
    push = Push(
        client=CLIENTS[0], kind="gate_person", items=[(key, 2 if away else 1)], idempotency=f"{key}/{away:d}",
    )  # fmt: skip
    source.books.pushes.append(push)
    source.books.at_gates[key] = not away
    push.receipt = await source._until_acknowledged(push, body, False)
    push.acked_at = now()


async def event(source: Source, name: str, number: str) -> None:
    """The portal tells that a filing has moved on, until it is thanked."""
    at = datetime.now(UTC).astimezone(_LOCAL)
    told = {"MaSuKien": name, "SuKien": "THAYDOI", "MaHoSo": number, "TrangThai": "4", "ThoiGian": f"{at:%Y%m%d%H%M%S}"}
    body = orjson.dumps({"data": [told]})
    path, key = callback_secrets(source.world.house.keys, "public_service")

    def headers() -> dict[str, str]:
        stamp = str(int(time.time()))
        return {"Content-Type": "application/json", "X-Timestamp": stamp, "X-Signature": signature(key, stamp, body)}

    push = Push(client="public_service", kind="callback", items=[(name, 1)], idempotency=name)
    said = await _until(source, f"/v1/callbacks/public_service/{path}", body, headers, push)
    if said is None or said["refused"]:
        # The oracle finds refusals among pushes.
        push.refused = push.refused or push.answer
        source.books.pushes.append(push)
    else:
        source.books.events.append(name)


async def _until(
    source: Source, path: str, body: bytes, headers: Callable[[], dict[str, str]], push: Push
) -> dict[str, Any] | None:
    """Send again until it is taken; what was said then, None for a refusal."""
    while True:
        push.tries += 1
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with source.world.http.post(f"{source.world.url}{path}", data=body, headers=headers()) as reply:
                said = await reply.read()
                push.answer = f"HTTP {reply.status}: {said[:300]!r}"
                if reply.status < 300:
                    return dict(orjson.loads(said))
                if reply.status < 500 and reply.status not in (401, 408, 429):
                    push.refused = push.answer
                    return None
        await asyncio.sleep(0.05 + source.rng.random() * 0.2)
