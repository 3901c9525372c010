"""Gates of every HTTP family against a real gateway on a real database."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import pytest

from hub.api.control import control_token
from hub.kernel.store.db import patient
from iot.face_http.simulator import FaceHttpGate
from iot.gate import GateOptions, PlannedCheckin, entries_by_mark
from iot.hanet.simulator import HanetCamera
from iot.hikvision.simulator import HikvisionGate
from iot.webgate import WebGate
from iot.zkteco.simulator import ZkTecoGate

SCHOOL, OTHER = "31HP0000001", "31HP0000002"
SIGNING = "bi-mat-cua-tai-khoan-thu"


def plan(gate: int, count: int = 6, copies: int = 2, every_s: float = 0.02) -> list[PlannedCheckin]:
    now = datetime.now(UTC)
    return [
        PlannedCheckin(
            at_s=i * every_s,
            person=f"HS{gate:02d}{i:03d}",
            happened=now + timedelta(seconds=i),
            copies=copies if i % 2 else 1,
        )
        for i in range(count)
    ]


def options(gateway: Any, device: str, secret: str | None, **more: Any) -> GateOptions:
    return GateOptions(
        device=device, school=SCHOOL, port=gateway.port, password=secret, seed=5, resend_s=0.3, patience_s=30, image_bytes=30_000, **more
    )  # fmt: skip


async def fleet(gateway: Any, core: Any) -> list[WebGate]:
    """One gate of every kind, registered."""
    register = gateway.register
    await register(core, "ZK01", "zkteco", "z1-secret", "secret-path")
    await register(core, "ZK02", "zkteco", "z2-secret", "plain-path")
    for n, shape in enumerate(("multipart", "untyped", "json", "xml"), 1):
        await register(core, f"HIK0{n}", "hikvision", f"h{n}-secret", "standard")
        del shape
    await register(core, "FH01", "face_http", "f1-secret", "standard")
    await register(core, "HN01", "hanet", "c1-secret", "camera", signing=SIGNING)
    await register(core, "hanet-account", "hanet", "a1-secret", "account", signing=SIGNING)
    await register(core, "HN02", "hanet", "c2-secret", "camera", OTHER, SIGNING)
    await register(core, "HN66", "hanet", "c6-secret", "camera", OTHER, "another-accounts-secret")
    return [
        ZkTecoGate(options(gateway, "ZK01", "z1-secret")),
        ZkTecoGate(options(gateway, "ZK02", None)),
        HikvisionGate(options(gateway, "HIK01", "h1-secret")),
        HikvisionGate(options(gateway, "HIK02", "h2-secret"), shape="untyped"),
        HikvisionGate(options(gateway, "HIK03", "h3-secret"), shape="json"),
        HikvisionGate(options(gateway, "HIK04", "h4-secret"), shape="xml"),
        FaceHttpGate(options(gateway, "FH01", "f1-secret")),
        HanetCamera(options(gateway, "HN01", "c1-secret"), client_secret=SIGNING, with_time=False),
        HanetCamera(options(gateway, "HN02", "a1-secret"), client_secret=SIGNING, embed=True),
    ]


async def people(here: Any) -> list[tuple[str, str]]:
    rows = await here.rows("SELECT body FROM records WHERE type = 'checkin'")
    bodies = [row["body"] if isinstance(row["body"], dict) else json.loads(row["body"]) for row in rows]
    return sorted((body["device"], body["person_code"]) for body in bodies)


def books(gates: list[WebGate]) -> list[tuple[str, str]]:
    return sorted((gate.options.device, entry.plan.person) for gate in gates for entry in gate.books())


async def everything(here: Any) -> bytes:
    """All the ledger's tables as text."""
    tables = await here.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'hub' AND c.relkind = 'r'"
    )
    out = []
    for table in tables:
        out += [row[0] for row in await here.rows(f"SELECT t::text FROM {table['name']} t")]
    bodies = [bytes(row["body"]) for row in await here.rows("SELECT body FROM messages WHERE body IS NOT NULL")]
    return "\n".join(out).encode() + b"\n".join(bodies)


def test_each_event_once_through_a_database_that_goes_away(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            gates = await fleet(gateway, here.core)
            playing = [asyncio.create_task(gate.run(plan(n, every_s=0.15))) for n, gate in enumerate(gates)]
            await asyncio.sleep(0.25)
            gateway.line.cut()
            # What was committed just before the line broke is still being said.
            await asyncio.sleep(0.5)
            before = {gate.options.device: sum(e.acked for e in gate.books()) for gate in gates}
            await asyncio.sleep(2.0)
            late = {gate.options.device: sum(e.acked for e in gate.books()) for gate in gates}
            assert late == before, "a yes without a database"
            assert sum(late.values()) < sum(len(gate.books()) for gate in gates), "the line broke while there was work"
            gateway.line.mend()
            await asyncio.gather(*playing)
            assert [f"{g.options.device}/{e.event}" for g in gates for e in g.books() if not e.acked] == []
            assert any(503 in gate.statuses for gate in gates)
            assert await people(here) == books(gates)
            duplicates = await here.value("SELECT count(*) FROM messages WHERE outcome = 3")
            assert duplicates >= len(gates) * 2
            assert await here.value("SELECT count(*) FROM records WHERE type = 'checkin' AND school = $1", OTHER) == 6

            marks = entries_by_mark(gates)  # type: ignore[arg-type]
            held = await everything(here)
            assert len(marks) > 30 and b"HS00001" in held
            assert not any(mark.encode() in held for mark in marks), "a picture was stored"
            for secret in (b"-secret", b"mat-khau", b"pictures.example", SIGNING.encode()):
                assert secret not in held, secret
            assert not any(mark in gateway.log.text for mark in marks) and "-secret" not in gateway.log.text

    asyncio.run(scenario())


def test_the_registry_learns_of_its_gates(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            gates = await fleet(gateway, here.core)
            await asyncio.gather(*(gate.run(plan(n, 3)) for n, gate in enumerate(gates)))
            for _ in range(60):
                rows = await here.rows("SELECT device, events FROM device_state ORDER BY device")
                if len(rows) == len(gates):
                    break
                await asyncio.sleep(0.1)
            assert {row["device"]: row["events"] for row in rows} == {gate.options.device: 3 for gate in gates}

    asyncio.run(scenario())


def test_strangers_and_liars(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            await fleet(gateway, here.core)
            short = {"patience_s": 0.5}
            wrong: list[WebGate] = [
                # nobody's secret, nobody's serial number, a serial number that needs its secret
                HikvisionGate(options(gateway, "HIK01", "no-such-secret")),
                HanetCamera(options(gateway, "HN01", "no-such-secret"), client_secret=SIGNING),
                ZkTecoGate(options(gateway, "ZK99", None)),
                ZkTecoGate(options(gateway, "ZK01", None)),
                # another family's secret
                HikvisionGate(options(gateway, "ZK01", "z1-secret")),
                ZkTecoGate(options(gateway, "HIK01", "h1-secret")),
            ]
            liars: list[WebGate] = [
                HikvisionGate(options(gateway, "HIK01", "h1-secret", claims="HIK02")),
                ZkTecoGate(options(gateway, "ZK01", "z1-secret", claims="ZK02")),
                FaceHttpGate(options(gateway, "FH01", "f1-secret", claims="FH02")),
                HanetCamera(options(gateway, "HN01", "c1-secret", claims="HN02"), client_secret=SIGNING),
                HanetCamera(options(gateway, "hanet-account", "a1-secret", claims="HN77"), client_secret=SIGNING),
                HanetCamera(options(gateway, "hanet-account", "a1-secret", claims="HN66"), client_secret=SIGNING),
                HanetCamera(options(gateway, "HN01", "c1-secret"), client_secret="not the account's"),
            ]
            for gate in (*wrong, *liars):
                gate.options = msgspec.structs.replace(gate.options, **short)
            await asyncio.gather(*(gate.run(plan(9, 2)) for gate in (*wrong, *liars)))
            for gate in (*wrong, *liars):
                assert set(gate.statuses) == {403} and not any(entry.acked for entry in gate.books())
            assert await people(here) == []
            # A poll in another's name is not kept.
            assert await here.value("SELECT count(*) FROM messages WHERE body IS NOT NULL AND length(body) < 10") == 0
            codes = await here.rows(
                "SELECT r.code, s.name FROM rejects r JOIN messages m ON m.id = r.message JOIN sources s ON s.id = m.source"
            )
            assert {(row["code"], row["name"]) for row in codes} == {
                ("device_mismatch", "HIK01"),
                ("device_mismatch", "ZK01"),
                ("device_mismatch", "FH01"),
                ("device_mismatch", "HN01"),
                ("unknown_device", "hanet-account"),
                ("bad_signature", "HN01"),
            }

    asyncio.run(scenario())


def test_a_replayed_call_in_another_cameras_name_adds_nothing(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            await fleet(gateway, here.core)
            call = {
                "data_type": "log", "personType": "0", "aliasID": "HS1", "deviceID": "HN01", "id": "e1",
                "time": int(datetime.now(UTC).timestamp() * 1000), "hash": hashlib.md5(f"{SIGNING}e1".encode()).hexdigest(),
            }  # fmt: skip
            async with aiohttp.ClientSession() as session:
                for changed in ({}, {"deviceID": "HN02"}, {"aliasID": "HS2"}, {"time": 1}):
                    async with session.post(f"{gateway.url}/gates/a1-secret/hanet", json={**call, **changed}) as reply:
                        assert reply.status == 200
            assert await people(here) == [("HN01", "HS1")]

    asyncio.run(scenario())


def test_a_revoked_gate_is_refused(gateway: Any, stored: Any) -> None:
    from hub.kernel.ledger import parties

    async def scenario() -> None:
        async with stored() as here:
            gates = await fleet(gateway, here.core)
            await gates[2].run(plan(1, 1))
            assert gates[2].books()[0].acked
            await parties.revoke_device(here.core, "test", "HIK01")
            await asyncio.sleep(5.2)
            gates[2].options = msgspec.structs.replace(gates[2].options, patience_s=0)
            await gates[2].run(plan(2, 1))
            assert gates[2].statuses[-1] == 403 and not gates[2].books()[-1].acked

    asyncio.run(scenario())


def test_zkteco_options_commands_and_tables_that_are_not_kept(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            await fleet(gateway, here.core)
            gate = ZkTecoGate(options(gateway, "ZK02", None))
            await gate.run(plan(1, 2))
            assert gate.options_text.startswith("GET OPTION FROM: ZK02\r\n") and "ServerVer=" in gate.options_text
            assert "ATTLOGStamp=None" in gate.options_text and "TimeZone=7" in gate.options_text
            await gate.run([])
            assert "ATTLOGStamp=2" in gate.options_text, "the committed stamp"

            headers = {"Authorization": f"Bearer {control_token(gateway.keys)}"}
            span = {"from": "2026-11-18T17:00:00Z", "to": "2026-11-19T16:59:59Z"}
            async with aiohttp.ClientSession() as session:
                address = f"{gateway.url}/control/v1/gates/ZK02/catch-up"
                async with session.post(address, json=span) as reply:
                    assert reply.status == 401
                async with session.post(address, json=span, headers=headers) as reply:
                    assert reply.status == 202, await reply.text()
                for bad in ({}, {"from": "yesterday", "to": "x"}, {"from": span["to"], "to": span["from"]}):
                    async with session.post(address, json=bad, headers=headers) as reply:
                        assert reply.status == 422
                for other, status in (("HIK01", 409), ("NOBODY", 404)):
                    async with session.post(address.replace("ZK02", other), json=span, headers=headers) as reply:
                        assert reply.status == status, "a list that was never set up, a gate that is not there"
                before = await here.value("SELECT count(*) FROM messages")
                for table in ("OPERLOG", "ATTPHOTO", "BIODATA", "USERPIC", "BIOPHOTO", "options", ""):
                    async with session.post(
                        f"{gateway.url}/iclock/cdata?SN=ZK02&table={table}", data=b"\xff\xd8\xff" * 400_000
                    ) as reply:
                        assert (reply.status, await reply.read()) == (200, b"OK"), table
                    async with session.post(f"{gateway.url}/iclock/cdata?SN=ZK01&table={table}", data=b"x") as reply:
                        assert reply.status == 403
                async with session.post(f"{gateway.url}/iclock/fdata?SN=ZK02", data=b"\xff\xd8\xff") as reply:
                    assert reply.status == 200
                assert await here.value("SELECT count(*) FROM messages") == before
            await gate.poll()
            await gate.poll()
            (command,) = gate.commands
            assert command.endswith(":DATA QUERY ATTLOG StartTime=2026-11-19 00:00:00\tEndTime=2026-11-19 23:59:59")
            (row,) = await here.rows("SELECT device, state, code FROM gate_commands")
            assert (row["device"], row["state"], row["code"]) == ("ZK02", "done", "0")

    asyncio.run(scenario())


def test_a_day_of_attendance_at_once_is_history_and_known_again(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            await fleet(gateway, here.core)
            day = datetime.now(UTC) - timedelta(days=1)
            lines = [
                f"HS{i:05d}\t{day + timedelta(seconds=7 * i + 25200):%Y-%m-%d %H:%M:%S}\t0\t15\t\t0\t0"
                for i in range(1200)
            ]
            async with aiohttp.ClientSession() as session:
                address = f"{gateway.url}/gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTLOG&Stamp=9"
                for part in (lines, lines[200:900], ["not a line", *lines[:3]]):
                    async with session.post(address, data="\n".join(part).encode()) as reply:
                        assert await reply.read() == f"OK: {len(part)}".encode()
                async with session.post(address, data=b"x" * 1_100_000) as reply:
                    assert reply.status == 413
            assert await here.value("SELECT count(*) FROM records WHERE type = 'checkin'") == 1200
            assert await here.value("SELECT count(*) FROM rejects WHERE code = 'no_time'") == 1
            assert await here.value("SELECT count(*) FROM records WHERE body->>'historical' = 'true'") == 1200

    asyncio.run(scenario())


def test_a_database_that_hangs_gets_no_yes(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            gates = await fleet(gateway, here.core)
            await gates[4].run(plan(1, 1))
            tries = len(gates[4].statuses)
            async with here.owner.acquire() as other, other.transaction():
                await patient(other)
                await other.execute("LOCK TABLE intake_keys IN ACCESS EXCLUSIVE MODE")
                gates[4].options = msgspec.structs.replace(gates[4].options, patience_s=0)
                await gates[4].run(plan(2, 1, copies=1))
                assert set(gates[4].statuses[tries:]) == {503} and not gates[4].books()[-1].acked
            gates[4].options = msgspec.structs.replace(gates[4].options, patience_s=10)
            await gates[4].run([])
            assert all(entry.acked for entry in gates[4].books())
            assert await people(here) == books(gates[4:5])

    asyncio.run(scenario())


@pytest.mark.parametrize("family", ["hikvision", "hanet"])
def test_oversize_is_refused_unread(gateway: Any, stored: Any, family: str) -> None:
    async def scenario() -> None:
        async with stored() as here:
            await fleet(gateway, here.core)
            secret = {"hikvision": "h1-secret", "hanet": "c1-secret"}[family]
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{gateway.url}/gates/{secret}/{family}", data=b"{" * 8_400_000) as reply,
            ):
                assert reply.status == 413

    asyncio.run(scenario())
