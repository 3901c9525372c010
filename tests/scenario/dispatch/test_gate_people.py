"""People sent to face terminals over a real broker: pace, refusals, gates that are off, and records before deletions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from adapters import manifest as manifests
from hub.kernel.ledger import parties
from iot.face_mqtt.simulator import FaceGate
from iot.gate import GateOptions
from tests.brokers import broker, needs_broker

pytestmark = needs_broker
SCHOOL = "31HP0123001"


@contextlib.asynccontextmanager
async def gate(device: str, port: int) -> AsyncIterator[FaceGate]:
    made = FaceGate(GateOptions(device=device, school=SCHOOL, port=port))
    await made._open()
    try:
        yield made
    finally:
        await made._close()


def person(device: str, code: str, event: str = "UPDATE", **more: Any) -> dict[str, Any]:
    data = {
        "device": device, "person_code": code, "school_code": SCHOOL, "full_name": "Trần Thị Mẫu", "sex": "Nữ",
        "birth_date": "2014-03-05", **more,
    }  # fmt: skip
    return {"event": event, "updated_at": "2026-09-07T08:00:00+07:00", "data": data}


async def connect(stage: Any, port: int) -> None:
    transport = {
        "kind": "mqtt", "host": "127.0.0.1", "port": port, "client_id": "people", "answers": "mqtt/face/+/Ack", "answer_s": 1.0,
    }  # fmt: skip
    timeouts = {"connect_s": 2.0, "read_s": 8.0}
    await stage.connect("face_gates", transport, {"scheme": "none"}, {}, {}, {"timeouts": timeouts})


async def away(gate: FaceGate, code: str) -> bool:
    return code not in gate.people


async def until(what: Any, seconds: float = 25.0) -> None:
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.1)


def test_people_reach_their_gates_and_one_gate_does_not_hold_up_another(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = manifests._profile(manifests.load("face_gates").folder / "profile-face-mqtt.yaml")
    for name, seconds in (
        ("silent_s", 0.5),
        ("busy_s", 0.2),
        ("drain_wait_s", 0.3),
        ("drain_ask_s", 0.3),
        ("drain_settle_s", 0.2),
    ):
        monkeypatch.setitem(profile, name, seconds)

    async def go(port: int) -> None:
        async with stage() as s:
            await connect(s, port)
            for device in ("G1", "G2"):
                await parties.add_device(
                    s.core, "test", device, family="face_mqtt", profile="push-ack", title=device, school=SCHOOL,
                    entrance="Cổng chính", direction="in",
                    person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"sealed",
                )  # fmt: skip

            async with gate("G1", port) as one:
                one.codes["EditPerson"] = ["410", "464"]
                await s.push("gate_person", *(person("G1", f"HS{i}") for i in range(4)), person("G2", "HS9"))
                await s.work()

                async def three() -> bool:
                    return len(one.people) == 3

                await until(three)
                times = [at for at, word in one.commands if word == "EditPerson"]
                assert min(b - a for a, b in pairwise(times)) >= 0.95, "a second apart"
                tasks = await s.led.rows("SELECT cause, text FROM tasks")
                assert [t["cause"] for t in tasks] == ["gate_refused_464"]
                assert await s.led.value("SELECT state FROM connectors WHERE name = 'face_gates'") == "active"
                async with gate("G2", port) as two:

                    async def there() -> bool:
                        return "HS9" in two.people

                    await until(there)
                known = sorted(one.people)
                del one.commands[:]
                one.sending_s = 2.5
                await s.push("gate_person", person("G1", known[0], "CANCEL"))

                async def gone() -> bool:
                    return known[0] not in one.people

                await until(gone)
                words = [word for _, word in one.commands]
                assert words.index("ManualPushRecords") < words.index("DeletePersons")
                # Deleted only once the gate took another question: until then it was still sending.
                asked = [at for at, word in one.commands if word == "ManualPushRecords"]
                assert len(asked) >= 3 and asked[-1] - asked[0] >= one.sending_s, asked
                assert one.asked, "its records were asked for first"

                # Off while it is asked, and restarted meanwhile: what it was sending is broken off, and it takes any question.
                del one.commands[:], one.asked[:]
                one.sending_s = 3.0
                await s.push("gate_person", person("G1", known[1], "CANCEL"))

                async def sending() -> bool:
                    return bool(one.asked)

                await until(sending)
                one.mute, told = True, len(one.commands)

                async def unanswered() -> bool:
                    return len(one.commands) > told

                await until(unanswered)
                await asyncio.sleep(1.2)  # longer than it is waited for
                one.mute, one.sending_until = False, 0.0
                await until(lambda: away(one, known[1]))
                whole = [span for span in one.asked if not span[1].endswith("00:00:01")]
                assert len(whole) == 2, "its records were asked for again, whole"
            await s.push("gate_person", person("G1", "HS7", photo_url="https://files.example.invalid/a.jpg"))

            async def refused() -> bool:
                return bool(await s.led.rows("SELECT 1 FROM tasks WHERE cause = 'cannot_render'"))

            await until(refused)

    with broker(tmp_path) as mosquitto:
        asyncio.run(go(mosquitto.port))


def test_many_who_leave_go_together_and_nobody_counts_as_gone_who_still_stands_at_the_gate(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over answers that are cut, name another command, come late, and a gate that goes silent in the middle."""
    profile = manifests._profile(manifests.load("face_gates").folder / "profile-face-mqtt.yaml")
    for name, value in (
        ("silent_s", 0.3), ("busy_s", 0.2), ("drain_ask_s", 0.3), ("drain_settle_s", 0.2), ("gap_ms", {"plain": 20, "uri": 20}),
    ):  # fmt: skip
        monkeypatch.setitem(profile, name, value)
    codes = [f"HS{n:03d}" for n in range(60)]
    ended = """SELECT split_part(d.key, '/', 2) AS person FROM deliveries_closed d JOIN records r ON r.id = d.record
        WHERE d.state = 7 AND r.event = 'CANCEL'"""

    async def go(port: int) -> None:
        async with stage() as s, gate("G1", port) as one:
            await connect(s, port)
            await parties.add_device(
                s.core, "test", "G1", family="face_mqtt", profile="push-ack", title="G1", school=SCHOOL, entrance="Cổng chính",
                direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"sealed",
            )  # fmt: skip
            await s.push("gate_person", *(person("G1", code) for code in codes))
            await s.work()

            async def told() -> bool:
                return len(one.people) == len(codes)

            await until(told)
            del one.commands[:]
            one.late_s = 1.2
            one.spoilt = {"ManualPushRecords": ["", "late"], "DeletePersons": ["cut", "other", "late"]}
            obey = one._obey

            def once(operator: str, info: Any) -> None:
                # What it answers to so badly it has not done.
                if operator != "DeletePersons" or not one.spoilt["DeletePersons"]:
                    obey(operator, info)

            one._obey = once  # type: ignore[method-assign]
            one.sending_s = 0.5
            await s.push("gate_person", *(person("G1", code, "CANCEL") for code in codes))
            broken = False

            async def gone() -> bool:
                nonlocal broken
                said = {r["person"] for r in await s.led.rows(ended)}
                assert not said & one.people.keys(), "counted as gone, and still there"
                if not broken and len(one.commands) > 8:
                    broken = one.mute = True
                    asyncio.get_running_loop().call_later(1.5, setattr, one, "mute", False)
                return len(said) == len(codes)

            await until(gone, 40)
            assert not one.people
            words = [word for _, word in one.commands]
            whole = [span for span in one.asked if not span[1].endswith("00:00:01")]
            assert len(words) < len(codes) / 2 and len(whole) < 6, words
            assert await s.led.value("SELECT count(*) FROM deliveries") == 0

    with broker(tmp_path) as mosquitto:
        asyncio.run(go(mosquitto.port))
