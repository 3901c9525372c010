"""Pictures that a deployment was told to keep: ciphertext in one table, hours, every view written down, and nothing elsewhere."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import gate_pictures, people
from hub.kernel.ledger.gate_pictures import Sealed
from hub.settings import SettingsError, load
from hub.worker.gate_album import Album
from tests.scenario.firewall import doors
from tests.scenario.firewall.marks import Marks, search
from tests.scenario.firewall.test_marked_images import leaks_everywhere, over_mqtt

BASIS = "Quyết định 00/QĐ-SGDĐT (thử), điều 2"


@pytest.fixture
def pictures() -> dict[str, Any]:
    return {"legal_basis": BASIS, "retention_hours": 12}


def passage(number: int, image: bytes) -> tuple[bytes, str]:
    """A Hikvision terminal's push of one passage with a picture."""
    now = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    told = {
        "ipAddress": "10.0.0.5", "dateTime": now, "eventType": "AccessControllerEvent", "eventState": "active",
        "AccessControllerEvent": {
            "majorEventType": 5, "subEventType": 75, "employeeNoString": f"HS{number:03d}", "serialNo": number, "currentEvent": True,
        },
    }  # fmt: skip
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="event_log"\r\nContent-Type: application/json\r\n\r\n',
        json.dumps(told).encode(),
        b'\r\n--x\r\nContent-Disposition: form-data; name="Picture"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n',
        image,
        b"\r\n--x--\r\n",
    ]
    return b"".join(parts), "multipart/form-data; boundary=x"


async def until(led: Any, count: int) -> None:
    async with asyncio.timeout(15):
        while await led.value("SELECT count(*) FROM gate_pictures") < count:
            await asyncio.sleep(0.1)


def test_pictures_are_kept_sealed_and_nowhere_else(
    gateway: Any, broker: Any, redis_server: Any, ledger: Any, postgres: Any, database: str, tmp_path: Any
) -> None:
    marks = Marks()
    images = [marks.image(f"kept {n}") for n in range(3)]

    async def scenario() -> tuple[list[str], bytes]:
        async with ledger() as led:
            for device, family, profile, secret in (
                ("HIK01", "hikvision", "standard", "h1-secret"), ("HIK02", "hikvision", "standard", "h2-secret"),
                ("F1", "face_mqtt", "push-ack", "f1-secret"),
            ):  # fmt: skip
                await gateway.register(led.core, device, family, profile, secret)
            for device in ("HIK01", "F1"):
                await gate_pictures.switch(led.core, "test", device, True, "Theo quyết định", BASIS, 12)
            album = Album(led.core, gateway.keys.encrypt, 12)
            keeping = asyncio.create_task(album.run())
            await asyncio.sleep(5.2)  # the gateway reads its registry anew
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
                for number, image in enumerate(images):
                    body, kind = passage(number + 1, image)
                    for gate in ("h1-secret", "h2-secret", "h1-secret"):  # the third is sent twice: known again
                        reply = await client.post(
                            f"/gates/{gate}/hikvision", content=body, headers={"Content-Type": kind}
                        )
                        assert reply.status_code == 200
                await until(led, 3)
                # Face terminals over MQTT, in every shape there is: what is no passage keeps no picture.
                await over_mqtt(led.core, broker.port, marks, album)
                rows = await led.rows("SELECT * FROM gate_pictures WHERE device = 'HIK01' ORDER BY id")
                assert len(rows) == 3 and not await led.value(
                    "SELECT count(*) FROM gate_pictures WHERE device = 'HIK02'"
                )
                clear = [gateway.keys.decrypt(r["sealed"], gate_pictures.place_of("HIK01", r["message"])) for r in rows]
                assert sorted(clear) == sorted(images)
                assert {(r["expires_at"] - r["kept_at"]).total_seconds() for r in rows} == {12 * 3600}

                password = await people.add_user(led.core, "test", "binh", "Bình", "admin", EVERYWHERE)
                token, _ = await people.sign_in(led.core, "binh", password, 600)
                await led.owner.execute("UPDATE users SET must_change = false")
                session = await people.find_session(led.core, token, 600)
                assert session is not None
                client.cookies.update({"lt_session": token, "lt_lang": "en"})
                page = f"/gates/HIK01/pictures/{rows[0]['id']}"
                for purpose, status in (("", 422), ("xem", 422), ("Phụ huynh báo mất cặp, theo đơn", 200)):
                    seen = await client.post(page, data={"csrf": session.csrf, "purpose": purpose})
                    assert seen.status_code == status
                    assert (base64.b64encode(clear[0]).decode() in seen.text) == (status == 200)
                assert (
                    seen.headers["cache-control"] == "no-store" and "data:" in seen.headers["content-security-policy"]
                )
                assert (await client.post(page, data={"purpose": "không có mã của trang"})).status_code == 403
                index = await client.get("/gates/HIK01/pictures")
                assert index.status_code == 200 and "data:image" not in index.text and BASIS in index.text
                noted = await led.rows("SELECT actor, subject, data FROM journal WHERE kind = 'gate_picture_seen'")
                assert [(n["actor"], n["subject"]) for n in noted] == [("binh", rows[0]["message"])]
                assert noted[0]["data"]["purpose"] == "Phụ huynh báo mất cặp, theo đơn"
                assert [
                    r["views"]
                    for r in await led.rows("SELECT views FROM gate_pictures WHERE device = 'HIK01' ORDER BY id")
                ] == [1, 0, 0]
                metrics = (await client.get("/metrics")).content
            leaks = [found for name, data in await doors.packs(led) for found in search(name, data, marks)]
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            return leaks, metrics

    leaks, metrics = asyncio.run(scenario())

    leaks += leaks_everywhere(marks, postgres, database, gateway, redis_server, tmp_path / "data", broker=broker)
    leaks += search("metrics", metrics, marks)
    whole = doors.backup(postgres, database)
    leaks += search("backup", whole, marks)
    assert not leaks, f"{len(leaks)} leaks:\n" + "\n".join(leak[:900] for leak in leaks[:12])
    assert b"COPY hub.gate_pictures " in whole, "a backup as anybody makes it holds the ciphertext"
    assert b"COPY hub.gate_pictures " not in doors.backup(postgres, database, "--no-unlogged-table-data")


def test_a_pictures_time_ends_and_so_does_the_permission(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school("31HP0000001")
            from hub.kernel.ledger import parties

            await parties.add_device(
                led.core, "test", "G1", family="native", profile="standard", title="G1", school="31HP0000001", entrance="x", direction="in",
                person_ids="department", zone="Asia/Ho_Chi_Minh", secret=led.keys.encrypt(b"s", b"G1"),
            )  # fmt: skip

            async def keep(message: int, hours: float = 72) -> int:
                sealed = led.keys.encrypt(b"picture", gate_pictures.place_of("G1", message))
                one = Sealed(
                    device="G1", school="31HP0000001", message=message, kind="image/jpeg", size=7, sealed=sealed
                )
                return await gate_pictures.add(led.core, [one], hours)

            async def left() -> int:
                return int(await led.value("SELECT count(*) FROM gate_pictures"))

            assert await keep(1) == 0, "no gate keeps pictures unless somebody said so"
            await gate_pictures.switch(led.core, "an", "G1", True, "Theo quyết định", BASIS, 72)
            assert await keep(1) == 1 and await keep(1) == 0, "once a message"
            with pytest.raises(asyncpg.CheckViolationError):
                await keep(2, hours=73)
            assert await gate_pictures.see(led.core, "an", "G1", 10**6, "không có", None) is None
            (row,) = await gate_pictures.of_gate(led.core, "G1", None)
            assert await gate_pictures.see(led.core, "an", "G1", row["id"], "trường khác", ["31HP0000002"]) is None
            assert await gate_pictures.of_gate(led.core, "G1", ["31HP0000002"]) == []
            await led.owner.execute(
                "UPDATE gate_pictures SET kept_at = kept_at - interval '30 hours', expires_at = expires_at - interval '30 hours'"
            )
            assert await gate_pictures.sweep(led.core, 72) == 0 and await left() == 1
            assert await gate_pictures.sweep(led.core, 24) == 1, "a time made shorter holds for those there are"
            await keep(3, 0.0)
            assert await gate_pictures.of_gate(led.core, "G1", None) == [], (
                "what is past its time is not shown before it is swept"
            )
            assert await gate_pictures.sweep(led.core, 72) == 1
            await keep(4)
            assert (
                await gate_pictures.switch(led.core, "an", "G1", False, "Hết căn cứ", BASIS, 72) == 1
                and await left() == 0
            )
            assert await keep(5) == 0
            await gate_pictures.switch(led.core, "an", "G1", True, "Theo quyết định", BASIS, 72)
            await keep(6)
            assert await gate_pictures.sweep(led.core, 0) == 1, "without a legal basis everything goes"
            kinds = [r["kind"] for r in await led.rows("SELECT kind FROM gate_history ORDER BY id")]
            assert kinds == ["pictures_on", "pictures_off", "pictures_on"]
            assert await led.value("SELECT relpersistence = 'u' FROM pg_class WHERE relname = 'gate_pictures'")

    asyncio.run(go())


def test_the_album_is_bounded_and_survives_a_database_that_is_away(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub.kernel.gate_pictures import Picture
    from hub.worker import gate_album

    async def go() -> None:
        async with ledger() as led:
            album = Album(led.core, led.keys.encrypt, 1)
            monkeypatch.setattr(gate_album, "WAITING_MOST", 1000)
            one = Picture("image/jpeg", b"x" * 600)
            assert album.hold(one) and not album.hold(one)
            album.let_go(one)
            assert album.hold(one)
            album.offer("G1", None, 1, one)

            async def away(*_: Any) -> int:
                raise ConnectionError

            monkeypatch.setattr(gate_album.gate_pictures, "add", away)
            assert await album.step() == 0
            assert album.hold(one), "what was given up made room"

    asyncio.run(go())


def test_settings_want_a_ground_and_a_short_time() -> None:
    assert load().pictures.hours == 0
    assert load(pictures={"legal_basis": BASIS}).pictures.hours == 24
    for wrong in ({"legal_basis": "vì cần"}, {"legal_basis": BASIS, "retention_hours": 73}):
        with pytest.raises(SettingsError):
            load(pictures=wrong)
