"""Marked images through the quieter doors, and what leaves by the quieter ways: forms, callbacks, lists; packs and a backup."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx

from tests.scenario.firewall import doors
from tests.scenario.firewall.conftest import SCHOOL
from tests.scenario.firewall.marks import Marks, search
from tests.scenario.firewall.test_marked_images import leaks_everywhere


def test_no_mark_comes_in_by_a_side_door_or_leaves_with_an_export(
    gateway: Any, redis_server: Any, ledger: Any, postgres: Any, database: str, tmp_path: Any
) -> None:
    marks = Marks()

    async def pushed() -> None:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30, headers={"X-API-Key": "key"}) as client:
            for number in range(4):
                photo = base64.b64encode(marks.image(f"push {number}")).decode()
                data = {"learner_code": f"L{number}", "full_name": "Nguyễn Văn Mẫu", "school_code": SCHOOL}
                await client.post("/v1/messages/learner", json={"data": data, "anh": photo})
                await client.post("/v1/messages/learner", json={"data": {**data, "note": photo}})
            for number, body in enumerate(marks.device_bodies("gate")):
                line = f"HS{number}\t2026-11-20 07:00:02\t0\t15\n".encode()
                for sent in (line, line + body):
                    await client.post("/gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTLOG", content=sent)

    async def scenario() -> list[str]:
        async with ledger() as led:
            for device, family, profile, secret in (
                ("ZK01", "zkteco", "standard", "z1-secret"), ("HIK01", "hikvision", "standard", "h1-secret"),
                ("HN01", "hanet", "camera", "c1-secret"), ("DH01", "dahua", "standard", "d1-secret"),
            ):  # fmt: skip
                await gateway.register(led.core, device, family, profile, secret)
            await pushed()
            assert await doors.console(led, gateway, marks) > 120
            assert await doors.callbacks(led, gateway, marks) > 10
            assert await doors.lists(led, marks) > 50
            listed = await led.value(
                "SELECT count(*) FROM records WHERE type = 'checkin' AND body->>'person_code' IN ('HS7', '7')"
            )
            assert listed >= 2, "what a list says beside its pictures is taken"
            return [found for name, data in await doors.packs(led) for found in search(name, data, marks)]

    leaks = asyncio.run(scenario())

    leaks += leaks_everywhere(marks, postgres, database, gateway, redis_server, tmp_path / "data")
    leaks += search("backup", doors.backup(postgres, database), marks)
    assert not leaks, f"{len(leaks)} leaks:\n" + "\n".join(leak[:900] for leak in leaks[:12])
