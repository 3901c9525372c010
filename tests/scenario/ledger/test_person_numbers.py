"""A gate's own person numbers never pass for the department's codes: not when it is registered, not when it is replaced, not
when a vendor's number comes among the department's, and not when its numbers mean something else by now."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from hub import commands_gates
from hub.commands_gates import read_gates
from hub.kernel.access import Scope
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import gates, intake, persons
from hub.kernel.ledger.gates import GateRefused
from hub.kernel.ports import Draft
from hub.worker import retime
from iot.hanet.decode import PROFILES, seen

A, B = "31HP0123001", "31HP0123002"
AT = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
KEY = b"code key"
HEADER = "id,family,profile,title,school,entrance,direction"


def played(ledger: Any, scene: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            for school in (A, B):
                await led.school(school)
            await led.connector("ministry", "ministry")
            await led.core.refresh()
            led.core.router.bind(led.core.connectors)
            await scene(led)

    asyncio.run(go())


async def registered(
    led: Any, *lines: str, header: str = HEADER, otherwise: str | None = None
) -> dict[str, str | None]:
    """As `hub gates register` does it. Gate → its namespace."""
    found, wrong = read_gates([header, *lines], otherwise)
    assert wrong == [] and gates.faults(led.core, found) == []
    await gates.register(led.core, "test", found, led.keys.encrypt, KEY)
    return {r["id"]: r["namespace"] for r in await led.rows("SELECT id, namespace FROM devices")}


async def learner(led: Any, code: str, school: str) -> None:
    body = {"learner_code": code, "full_name": "Lê Văn Tám", "school_code": school}
    draft = Draft(type="learner", key=code, body=body, updated_at=AT, school=school)
    await intake.accept(
        led.core,
        [Arrival(source=Source("client", "c"), type="learner", body=b"{}", content_type="application/json",
                 digest=hashlib.sha256(code.encode()).digest(), drafts=[draft])],
    )  # fmt: skip


def arrival(draft: Draft) -> Arrival:
    source = Source("device", draft.body["device"])
    return Arrival(
        source=source, type="checkin", body=b"{}", content_type="application/json", digest=hashlib.sha256(draft.key.encode()).digest(),
        key=intake_key(source, "event", draft.key), drafts=[draft], school=draft.school,
    )  # fmt: skip


def passage(gate: str, person: str, school: str, event: str, at: datetime = AT) -> Arrival:
    body = {
        "person_code": person, "device": gate, "school_code": school, "device_time_raw": at.isoformat(), "assumed_zone": "Asia/Ho_Chi_Minh",
        "direction": "in", "received_at": at.isoformat(), "estimated_offset_s": None, "corrected_time": at.isoformat(), "uncertainty_s": 1.0,
        "historical": False, "method": "finger", "verify_status": "allowed", "quarantine": None, "images_removed": 0, "entrance": "Cổng",
    }  # fmt: skip
    return arrival(Draft(type="checkin", key=f"{gate}/{event}", body=body, event="NEW", updated_at=at, school=school))


def sighting(
    camera: str, school: str, event: str, *, at: datetime = AT, when: datetime | None = None, **more: Any
) -> Arrival:
    """What the hub makes of a call of the vendor's cloud. `at`: when it came; `when`: what the camera's clock says."""
    told = {"time": int((when or at).timestamp()), **more}
    entry = {"id": camera, "school": school, "entrance": "Cổng", "direction": "in"}
    item = seen(event, told, at + timedelta(seconds=1), entry, PROFILES.get("camera").settings)
    return arrival(item.decoded.drafts[0])


async def told(led: Any) -> set[tuple[str, str]]:
    """What goes to the Ministry: key and person."""
    rows = await led.rows(
        "SELECT r.key, r.body->>'person_code' AS person FROM deliveries d JOIN records r ON r.id = d.record WHERE r.type = 'checkin'"
    )
    return {(r["key"], r["person"]) for r in rows}


async def settled(led: Any) -> None:
    await retime.find(led.core)
    for _ in range(10):
        if not await retime.advance(led.core):
            return
    raise AssertionError("it does not come to rest")


async def waiting(led: Any) -> list[tuple[str, str, int]]:
    return [(u.namespace, u.local, u.count) for u in (await persons.inbox(led.core, None)).ids]


def test_one_pin_at_two_schools_is_two_people_and_nobody_until_linked(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        spaces = await registered(
            led, f"ZA,zkteco,secret-path,Cổng A,{A},Cổng,in", f"ZB,zkteco,secret-path,Cổng B,{B},Cổng,in"
        )
        assert spaces == {"ZA": "ZA", "ZB": "ZB"}
        await learner(led, "17", A)
        await learner(led, "HS-B", B)
        await intake.accept(led.core, [passage("ZA", "17", A, "a"), passage("ZB", "17", B, "b")])
        assert await told(led) == set(), "a learner 17 exists, and still nobody is told"
        assert await waiting(led) == [("ZA", "17", 1), ("ZB", "17", 1)]
        assert await persons.link(led.core, "an", "ZB", "17", "HS-B", "Danh sách lớp", schools=[B]) == 1
        await settled(led)
        assert await told(led) == {("ZB/b", "HS-B")}
        assert await waiting(led) == [("ZA", "17", 1)]

    played(ledger, scene)


def test_the_file_says_whose_the_numbers_are_or_the_family_does(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        rest = f"Cổng,{A},Cổng,in"
        assert await registered(
            led, f"F1,face_mqtt,push-ack,{rest}", f"N1,native,standard,{rest}", f"Z1,zkteco,secret-path,{rest}",
            f"H1,hikvision,standard,{rest}", f"D1,dahua,standard,{rest}", f"C1,hanet,camera,{rest}", f"X1,unheard,of,{rest}",
        ) == {"F1": None, "N1": None, "Z1": "Z1", "H1": "H1", "D1": "D1", "C1": "C1", "X1": "X1"}  # fmt: skip
        spaces = await registered(
            led, f"Z2,zkteco,secret-path,{rest},department", f"F2,face_mqtt,push-ack,{rest},Device", f"C2,hanet,camera,{rest},truong-a",
            f"Z3,zkteco,secret-path,{rest},", header=HEADER + ",person_ids",
        )  # fmt: skip
        assert {k: spaces[k] for k in ("Z2", "F2", "C2", "Z3")} == {
            "Z2": None,
            "F2": "F2",
            "C2": "truong-a",
            "Z3": "Z3",
        }
        spaces = await registered(led, f"Z4,zkteco,secret-path,{rest}", otherwise="department")
        assert (spaces["Z4"], spaces["Z1"]) == (None, "Z1"), "and those there are stay as they are"
        found, _ = read_gates([HEADER + ",person_ids", f"Z5,zkteco,secret-path,{rest},của Sở"])
        ((place, words),) = gates.faults(led.core, found)
        assert place == 0 and "của Sở" in words.vi and "department" in words.en
        # A gate called like an account would have its own numbers read by the account's links.
        with pytest.raises(GateRefused) as refused:
            await registered(led, f"truong-a,zkteco,secret-path,{rest}")
        assert refused.value.code == "namespace"
        assert (await registered(led, f"truong-a,hanet,account,{rest},truong-a", header=HEADER + ",person_ids"))[
            "truong-a"
        ]

    played(ledger, scene)


def test_a_vendors_number_waits_also_at_a_gate_with_the_departments_codes(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        rest = f"Cổng,{A},Cổng,in"
        spaces = await registered(led, f"C1,hanet,camera,{rest}", f"C2,hanet,camera,{rest}", otherwise="department")
        assert set(spaces.values()) == {None}
        await learner(led, "HS7", A)
        await intake.accept(
            led.core,
            [sighting("C1", A, "a", personid="7"), sighting("C1", A, "b", personid="8", aliasid="HS1"), sighting("C2", A, "c", personid="7")],
        )  # fmt: skip
        named = {p for _, p in await told(led)}
        assert named == {"HS1"}, "who has a name there travels at once"
        assert await waiting(led) == [("C1", "hanet:7", 1), ("C2", "hanet:7", 1)]
        # What its numbers mean from now on does not change what waits already, nor bring it back as something else.
        assert await persons.set_namespace(led.core, "an", "C1", "truong-a")
        await settled(led)
        await intake.accept(led.core, [sighting("C1", A, "d", personid="7", at=AT + timedelta(hours=1))])
        assert await waiting(led) == [("C1", "hanet:7", 1), ("C2", "hanet:7", 1), ("truong-a", "hanet:7", 1)]
        # Neither may another school say who it is, though no gate has that namespace.
        with pytest.raises(persons.CannotLink, match="shared"):
            await persons.link(led.core, "an", "C2", "hanet:7", "HS7", "?", schools=[B])
        assert await persons.link(led.core, "an", "C1", "hanet:7", "HS7", "Trường xác nhận", schools=[A]) == 1
        await settled(led)
        assert len(await told(led)) == 2 and {p for _, p in await told(led)} == {"HS1", "HS7"}
        (link,) = await persons.links(led.core, None)
        await led.owner.execute("DELETE FROM deliveries")
        assert await persons.undo(led.core, "an", link["id"], "Nhầm") == 1
        await settled(led)
        assert {p for _, p in await told(led)} == {"HS7"}, "withdrawn as it was told"
        assert ("C1", "hanet:7", 1) in await waiting(led)

    played(ledger, scene)


def test_a_vendors_number_under_a_wrong_clock_is_no_code_once_the_clock_is_told(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        await registered(led, f"C1,hanet,camera,Cổng,{A},Cổng,in", otherwise="department")
        wrong = datetime(2019, 1, 1, tzinfo=UTC)
        await intake.accept(led.core, [sighting("C1", A, "a", when=wrong, personid="7")])
        assert await led.value("SELECT count(*) FROM checkin_waits WHERE reason = 'clock'") == 1
        assert await persons.set_offset(led.core, "an", "C1", (AT - wrong).total_seconds(), "Mất điện") == 1
        await settled(led)
        assert await told(led) == set()
        assert await waiting(led) == [("C1", "hanet:7", 1)]

    played(ledger, scene)


def test_what_a_number_meant_when_it_came_stays(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        await registered(led, f"Z1,zkteco,secret-path,Cổng,{A},Cổng,in")
        await learner(led, "HS1", A)
        await intake.accept(led.core, [passage("Z1", "17", A, "before")])
        assert await persons.set_namespace(led.core, "an", "Z1", None)
        await intake.accept(led.core, [passage("Z1", "HS9", A, "after", AT + timedelta(hours=1))])
        await led.owner.execute("INSERT INTO rejudgements (record) SELECT id FROM records WHERE type = 'checkin'")
        await settled(led)
        assert {p for _, p in await told(led)} == {"HS9"}, "17 of before is still the device's own"
        assert await persons.link(led.core, "an", "Z1", "17", "HS1", "Danh sách lớp") == 1
        await settled(led)
        assert {p for _, p in await told(led)} == {"HS9", "HS1"}
        kinds = [h["kind"] for h in (await gates.history(led.core, "Z1"))[0]]
        assert kinds == ["namespace", "registered"]
        for word in ("device", "Department"):
            with pytest.raises(persons.CannotLink, match="bad_namespace"):
                await persons.set_namespace(led.core, "an", "Z1", word)

    played(ledger, scene)


def test_what_was_kept_as_nobodys_waits_for_a_link_once_the_gates_numbers_are_told(ledger: Any) -> None:
    """As it was stored before a vendor's own number waited for anybody: quarantined, in no namespace, in no inbox."""

    async def scene(led: Any) -> None:
        await registered(led, f"C1,hanet,camera,Cổng,{A},Cổng,in", f"C2,hanet,camera,Cổng,{A},Cổng,in")
        await learner(led, "HS7", A)
        await intake.accept(led.core, [sighting("C1", A, "a", personid="7"), sighting("C2", A, "b", personid="8")])
        await led.owner.execute("DELETE FROM checkin_waits")
        await led.owner.execute(
            """UPDATE records SET body = body - 'namespace' || '{"quarantine": "unregistered"}' WHERE type = 'checkin'"""
        )
        await settled(led)
        assert await waiting(led) == []
        for _ in range(2):  # said again it is the same
            assert await persons.set_namespace(led.core, "an", "C1", "truong-a", "Đã hỏi hãng")
            await settled(led)
            assert await waiting(led) == [("C1", "hanet:7", 1)], "and nothing of any other gate"
        assert await persons.link(led.core, "an", "C1", "hanet:7", "HS7", "Danh sách") == 1
        await settled(led)
        assert await told(led) == {("C1/a", "HS7")} and await waiting(led) == []

    played(ledger, scene)


def test_a_replacement_makes_no_number_the_departments(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        rest = f"Cổng,{A},Cổng,in"
        await registered(
            led, f"C1,hanet,camera,{rest},truong-a", f"Z1,zkteco,secret-path,{rest},device", f"F1,face_mqtt,push-ack,{rest},department",
            f"S1,zkteco,secret-path,{rest},device", f"S2,zkteco,secret-path,{rest},S1", header=HEADER + ",person_ids",
        )  # fmt: skip
        await learner(led, "HS7", A)
        await persons.link(led.core, "an", "truong-a", "hanet:7", "HS7", "Danh sách")
        await persons.link(led.core, "an", "Z1", "17", "HS7", "Danh sách")
        for old, new in (("C1", "C1b"), ("Z1", "Z1b"), ("F1", "F1b"), ("S1", "S1b")):
            await gates.replace(led.core, "an", old, new, None, "", led.keys.encrypt, KEY, "Máy hỏng")
        spaces = {r["id"]: r["namespace"] for r in await led.rows("SELECT id, namespace FROM devices")}
        assert (spaces["C1b"], spaces["Z1b"], spaces["F1b"], spaces["S1b"]) == ("truong-a", "Z1b", None, "S1")
        await intake.accept(led.core, [sighting("C1b", A, "a", personid="7"), passage("Z1b", "17", A, "b")])
        assert {p for _, p in await told(led)} == {"HS7"}, "the account's number is who it was"
        assert await waiting(led) == [("Z1b", "17", 1)], "another device's 17 is somebody else"
        # Nor does a device take a name that an account has.
        with pytest.raises(GateRefused):
            await gates.replace(led.core, "an", "F1b", "truong-a", None, "", led.keys.encrypt, KEY, "Máy hỏng")
        (line, *_) = [h for h in (await gates.history(led.core, "Z1b"))[0] if h["kind"] == "registered"]
        assert line["data"]["person_ids"] == "device"

    played(ledger, scene)


def test_the_commands_say_whose_the_numbers_are(ledger: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(led: Any) -> None:
        house, loop = SimpleNamespace(core=led.core, keys=led.keys), asyncio.get_running_loop()

        def here(work: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(work(house), loop).result(60)

        async def run(*words: str, fails: bool = False) -> str:
            got = await asyncio.to_thread(CliRunner().invoke, commands_gates.group, [*words])
            assert (got.exit_code != 0) is fails, got.output
            return got.output + got.stderr

        async def space(gate: str) -> str | None:
            found: str | None = await led.value("SELECT namespace FROM devices WHERE id = $1", gate)
            return found

        monkeypatch.setattr(commands_gates, "_run", here)
        file = tmp_path / "gates.csv"
        file.write_text(
            f"{HEADER}\nZ1,zkteco,secret-path,Cổng,{A},Cổng,in\nN1,native,standard,Cổng,{A},Cổng,in\n", encoding="utf-8"
        )
        told = await run("register", str(file))
        assert "they wait to be linked" in told and "the department's codes" in told
        assert (await space("Z1"), await space("N1")) == ("Z1", None)
        await run("person-ids", "Z1", "--as", "truong-a", "--why", "Máy của trường")
        assert await space("Z1") == "truong-a"
        assert "account truong-a" in await run("replace", "Z1", "Z1b", "--why", "Máy hỏng")
        await run("person-ids", "Z1b", "--as", "device", "--why", "Máy của trường")
        assert await space("Z1b") == "Z1b"
        assert "they wait to be linked" in await run("replace", "Z1b", "Z1c", "--why", "Máy hỏng")
        assert await space("Z1c") == "Z1c"
        await run("person-ids", "Z1c", "--as", "của Sở", "--why", "Máy của trường", fails=True)
        await run("person-ids", "khong-co", "--as", "device", "--why", "Máy của trường", fails=True)
        assert await space("Z1c") == "Z1c"
        assert "Z1c" in await run("list")

    played(ledger, scene)


def pushed(school: str, gate: str, person: str, event: str, **more: Any) -> Arrival:
    """A passage told by a school's own software."""
    made = passage(gate, person, school, event)
    made.source, made.scope = Source("client", f"phan-mem-{school}"), Scope("school", school)
    made.drafts[0].body.update(more)  # type: ignore[index]
    return made


def test_a_schools_software_speaks_of_no_other_schools_gate_in_its_numbers(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        await registered(led, f"ZA,zkteco,standard,Cổng,{A},Cổng,in", f"ZB,zkteco,standard,Cổng,{B},Cổng,in")
        await learner(led, "HSA17", A)
        await learner(led, "HSB17", B)
        for gate, code in (("ZA", "HSA17"), ("ZB", "HSB17")):
            await persons.link(led.core, "an", gate, "17", code, "Danh sách của trường")
        await intake.accept(led.core, [pushed(A, "ZB", "17", "e1")])
        assert await led.value("SELECT code FROM rejects") == "no_such_gate"
        # Neither does an account's name, nor any word only a gate or the hub may say, open its numbers.
        words = {"local_id": "17", "namespace": "ZB", "merged_into": 1, "follows": 1}
        await intake.accept(led.core, [pushed(A, "may-la", "HS9", "e2", **words)])
        await intake.accept(led.core, [pushed(A, "ZB2", "HS8", "e3", quarantine="unregistered", **words)])
        stored = await led.rows("SELECT body FROM records WHERE type = 'checkin' ORDER BY id")
        assert [r["body"]["person_code"] for r in stored] == ["HS9", "HS8"]
        assert not any(words.keys() & r["body"].keys() or r["body"].get("quarantine") for r in stored)
        assert await waiting(led) == [], "nobody else's inbox holds it, nor keeps another school from linking"
        # Its own gate's numbers are its own to use.
        await intake.accept(led.core, [pushed(A, "ZA", "17", "e4")])
        assert await led.value("SELECT body->>'person_code' FROM records WHERE key = 'ZA/e4'") == "HSA17"

    played(ledger, scene)
