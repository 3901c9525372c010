"""The truth of check-ins in the ledger: double punches, wrong clocks, unknown persons, wrong links, and kills in between."""

from __future__ import annotations

import asyncio
import hashlib
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import intake, parties, persons, punches, rejudge
from hub.kernel.ports import Draft
from hub.kernel.presence import Punch
from hub.worker import retime
from tests.punches import travelling

SCHOOL = "31HP0123001"
AT = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
RESET = datetime(2000, 1, 1, tzinfo=UTC)


async def ground(led: Any, *gates: str, namespace: str | None = None) -> None:
    await led.school(SCHOOL)
    await led.connector("ministry", "ministry")
    await led.core.refresh()
    led.core.router.bind(led.core.connectors)
    for gate in gates:
        await parties.add_device(
            led.core, "test", gate, family="native", profile="native", title=gate, school=SCHOOL, entrance="cổng chính",
            direction="in", person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"s" * 32,
        )  # fmt: skip
        if namespace:
            assert await persons.set_namespace(led.core, "test", gate, namespace)


def passage(gate: str, person: str, at: datetime, event: str, **more: Any) -> Arrival:
    body = {
        "person_code": person, "device": gate, "school_code": SCHOOL, "device_time_raw": at.isoformat(), "assumed_zone": "Asia/Ho_Chi_Minh",
        "direction": "in", "received_at": (at + timedelta(seconds=1)).isoformat(), "estimated_offset_s": None, "corrected_time": at.isoformat(),
        "uncertainty_s": 1.0, "historical": False, "method": "face", "verify_status": "allowed", "quarantine": None, "images_removed": 0,
        "entrance": "cổng chính",
    } | more  # fmt: skip
    source = Source("device", gate)
    raw = b'{"info": {"persionName": "L\xc3\xaa V\xc4\x83n T\xc3\xa1m"}}'
    draft = Draft(type="checkin", key=f"{gate}/{event}", body=body, event="NEW", updated_at=at, school=SCHOOL)
    return Arrival(
        source=source, type="checkin", body=raw, content_type="application/json", digest=hashlib.sha256(event.encode()).digest(),
        key=intake_key(source, "event", event), drafts=[draft], school=SCHOOL, historical=bool(more.get("historical")),
    )  # fmt: skip


async def learner(led: Any, code: str, name: str) -> None:
    body = {"learner_code": code, "full_name": name, "school_code": SCHOOL}
    draft = Draft(type="learner", key=code, body=body, updated_at=AT, school=SCHOOL)
    await intake.accept(
        led.core,
        [Arrival(source=Source("client", "c"), type="learner", body=b"{}", content_type="application/json", digest=b"0" * 32, drafts=[draft])],
    )  # fmt: skip


async def told(led: Any) -> list[tuple[str, str, str, datetime]]:
    """What goes to the Ministry, in the order in which it goes: key, event, person, time."""
    rows = await led.rows(
        "SELECT r.key, r.event, r.body->>'person_code' AS person, (r.body->>'corrected_time')::timestamptz AS at FROM deliveries d"
        " JOIN records r ON r.id = d.record WHERE r.type = 'checkin' ORDER BY d.rank"
    )
    return [(r["key"], r["event"], r["person"], r["at"]) for r in rows]


async def deliver(led: Any) -> None:
    """As if everything on its way had been taken."""
    await led.owner.execute("DELETE FROM deliveries")


async def settled(led: Any) -> None:
    await retime.find(led.core)
    for _ in range(10):
        if not await retime.advance(led.core):
            return
    raise AssertionError("it does not come to rest")


def test_one_of_two_punches_travels_and_the_other_is_kept(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1", "g2")
            s = timedelta(seconds=1)
            await intake.accept(led.core, [passage("g1", "HS1", AT, "a"), passage("g2", "HS1", AT + 20 * s, "b")])
            await intake.accept(
                led.core,
                [
                    passage("g1", "HS1", AT + 70 * s, "c"),
                    passage("g1", "HS1", AT + 70 * s, "d", direction="out"),
                    passage("g1", "HS2", AT, "e"),
                    passage("g1", "HS1", AT + 300 * s, "f"),
                    passage("g1", "HS1", AT + 310 * s, "g", verify_status="refused", quarantine="refused"),
                ],
            )
            assert sorted(k for k, *_ in await told(led)) == ["g1/a", "g1/d", "g1/e", "g1/f"]
            rows = {
                r["key"]: r
                for r in await led.rows(
                    "SELECT id, key, disposition, (body->>'merged_into')::bigint AS into FROM records"
                )
            }
            assert {k: r["disposition"] for k, r in rows.items() if r["disposition"] != 1} == {
                "g2/b": 5,
                "g1/c": 5,
                "g1/g": 3,
            }
            assert rows["g2/b"]["into"] == rows["g1/c"]["into"] == rows["g1/a"]["id"], (
                "a chain leads to the one that travels"
            )
            again = await intake.accept(led.core, [passage("g1", "HS1", AT, "a")])
            assert again[0].duplicate

    asyncio.run(go())


def test_an_earlier_punch_that_comes_late_takes_the_others_place(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1")
            await intake.accept(led.core, [passage("g1", "HS1", AT + timedelta(seconds=30), "later")])
            await intake.accept(led.core, [passage("g1", "HS1", AT, "first", historical=True)])
            assert await retime.advance(led.core) == 1
            assert len(await told(led)) == 2, "not while the one that went first is on its way"
            await deliver(led)
            await led.owner.execute("UPDATE rejudgements SET due_at = now()")
            await settled(led)
            assert [t[:2] for t in await told(led)] == [("g1/later", "CANCEL")]
            (row,) = await led.rows(
                "SELECT version, (r.body->>'follows')::bigint AS follows, (r.body->>'merged_into')::bigint AS into, o.records"
                " FROM records r JOIN message_outcomes o ON o.message = r.message WHERE r.event = 'CANCEL'"
            )
            ids = {r["key"]: r["id"] for r in await led.rows("SELECT key, id FROM records WHERE version = 1")}
            assert (row["version"], row["follows"], row["into"], row["records"]) == (
                2,
                ids["g1/later"],
                ids["g1/first"],
                1,
            )
            assert await led.value("SELECT count(*) FROM rejudgements") == 0

    asyncio.run(go())


def broken(event: str, true: datetime, *, live: bool = True, came: datetime | None = None) -> Arrival:
    """A passage under a clock that began at 2000-01-01 when it was 00:00 of the day."""
    received = came or true + timedelta(seconds=1)
    shown = RESET + (true - AT)
    return passage(
        "g1", "HS" + event, true, event, historical=not live, received_at=received.isoformat(), quarantine="clock",
        device_time_raw=shown.isoformat(), corrected_time=(received if live else shown).isoformat(),
        estimated_offset_s=(shown - received).total_seconds() if live else None,
    )  # fmt: skip


def test_a_wrong_clock_is_told_by_the_gates_own_live_events(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1")
            minute = timedelta(minutes=1)
            came = AT + 60 * minute
            await intake.accept(led.core, [broken("old", AT + 5 * minute, live=False, came=came), broken("n1", came)])
            await settled(led)
            assert await told(led) == [], "one live event is not enough"
            await intake.accept(led.core, [broken("n2", came + minute), broken("n3", came + 2 * minute)])
            await settled(led)
            second = timedelta(seconds=1)
            assert sorted((k, at) for k, _, _, at in await told(led)) == [
                ("g1/n1", came + second), ("g1/n2", came + minute + second), ("g1/n3", came + 2 * minute + second),
                ("g1/old", AT + 5 * minute + second),
            ]  # fmt: skip
            assert await led.value("SELECT count(*) FROM records WHERE version = 1 AND disposition = 3") == 4
            assert await led.value("SELECT count(*) FROM checkin_waits") == 0
            # What still comes under that clock follows by itself, and is known again when it is repeated.
            await intake.accept(led.core, [broken("n4", came + 3 * minute)])
            await settled(led)
            assert len(await told(led)) == 5
            assert await led.value("SELECT count(*) FROM gate_offsets") == 1

    asyncio.run(go())


def test_an_offset_set_by_hand_goes_before_anything_else(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1")
            await intake.accept(led.core, [broken("old", AT, live=False, came=AT + timedelta(hours=1))])
            lag = (AT - RESET).total_seconds()
            assert await persons.set_offset(led.core, "an", "g1", lag, "Mất điện đêm 22/11") == 1
            await settled(led)
            assert [(k, e, at) for k, e, _, at in await told(led)] == [("g1/old", "NEW", AT)]
            assert await led.value("SELECT body->'uncertainty_s' FROM records WHERE version = 2") == 60.0

    asyncio.run(go())


def test_unknown_persons_wait_and_follow_in_order_once_linked(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1", "g2", namespace="truong-a")
            await learner(led, "3112345678", "Lê Văn Tám")
            minute = timedelta(minutes=1)
            await intake.accept(led.core, [passage("g2", "007", AT + 9 * minute, "c"), passage("g1", "007", AT, "a")])
            await intake.accept(led.core, [passage("g1", "007", AT + 5 * minute, "b"), passage("g1", "8", AT, "x")])
            assert await told(led) == []
            first, second = (await persons.inbox(led.core, None)).ids
            skipped = await persons.inbox(led.core, None, 1, 1)
            assert (skipped.total, [u.local for u in skipped.ids]) == (2, ["8"])
            assert (first.namespace, first.local, first.count, first.name) == ("truong-a", "007", 3, "Lê Văn Tám")
            assert [(s.learner, s.why) for s in first.suggestions] == [("3112345678", "name")]
            assert second.local == "8"
            assert (await persons.inbox(led.core, ["31HP0999001"])).ids == [], "not another school's"
            with pytest.raises(persons.CannotLink, match="no_learner"):
                await persons.link(led.core, "an", "truong-a", "007", "none", "?")
            assert await persons.link(led.core, "an", "truong-a", "007", "3112345678", "Danh sách lớp") == 3
            with pytest.raises(persons.CannotLink, match="linked_already"):
                await persons.link(led.core, "an", "truong-a", "007", "3112345678", "?")
            await settled(led)
            assert [t[:3] for t in await told(led)] == [
                ("g1/a", "NEW", "3112345678"), ("g1/b", "NEW", "3112345678"), ("g2/c", "NEW", "3112345678"),
            ]  # fmt: skip
            # From now on at once; a double punch is known across the gates of the namespace.
            await intake.accept(
                led.core, [passage("g1", "007", AT + 9.5 * minute, "d"), passage("g1", "007", AT + 30 * minute, "e")]
            )
            assert {t[0] for t in await told(led)} == {"g1/a", "g1/b", "g2/c", "g1/e"}
            assert [u.local for u in (await persons.inbox(led.core, None)).ids] == ["8"]

    asyncio.run(go())


def test_a_wrong_link_is_taken_back_and_the_right_person_follows(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1", namespace="g1")
            await learner(led, "HS1", "Lê Văn Tám")
            await learner(led, "HS2", "Trần Thị Bưởi")
            await intake.accept(
                led.core, [passage("g1", "7", AT, "a"), passage("g1", "7", AT + timedelta(seconds=5), "b")]
            )
            await persons.link(led.core, "an", "g1", "7", "HS1", "?")
            await settled(led)
            assert [t[:3] for t in await told(led)] == [("g1/a", "NEW", "HS1")]
            await deliver(led)
            (link,) = await persons.links(led.core, None)
            assert link["n"] == 2
            assert await persons.undo(led.core, "an", link["id"], "Nhầm người", ["31HP0999001"]) is None
            assert await persons.undo(led.core, "an", link["id"], "Nhầm người") == 2
            await settled(led)
            assert [t[:3] for t in await told(led)] == [("g1/a", "CANCEL", "HS1")], "withdrawn as it was told"
            assert (await persons.inbox(led.core, None)).ids[0].count == 2
            await deliver(led)
            await persons.link(led.core, "an", "g1", "7", "HS2", "Đúng người")
            await settled(led)
            assert [t[:3] for t in await told(led)] == [("g1/a", "NEW", "HS2")]
            versions = await led.rows(
                "SELECT version, event, body->>'person_code' AS p FROM records WHERE key = 'g1/a' ORDER BY version"
            )
            assert [tuple(v) for v in versions] == [
                (1, "NEW", "7"),
                (2, "NEW", "HS1"),
                (3, "CANCEL", "HS1"),
                (4, "NEW", "HS2"),
            ]

    asyncio.run(go())


def test_a_kill_inside_a_round_leaves_the_order_and_nothing_else(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1", namespace="g1")
            await learner(led, "HS1", "Lê Văn Tám")
            await intake.accept(led.core, [passage("g1", "7", AT, "a")])
            await persons.link(led.core, "an", "g1", "7", "HS1", "?")

            def killed(_name: str) -> None:
                raise RuntimeError("killed")

            with monkeypatch.context() as patched:
                patched.setattr(rejudge, "reach", killed)
                with pytest.raises(RuntimeError):
                    await retime.advance(led.core)
            assert await told(led) == []
            assert await led.value("SELECT count(*) FROM rejudgements") == 1
            await settled(led)
            assert len(await told(led)) == 1
            await led.owner.execute(
                "INSERT INTO rejudgements (record) SELECT id FROM records WHERE version = 1 AND type = 'checkin'"
            )
            await deliver(led)
            await settled(led)
            assert await told(led) == [], "judged again without news, nothing follows"
            assert await led.value("SELECT count(*) FROM punches") == 1

    asyncio.run(go())


def test_a_link_made_while_an_intake_was_under_way_is_not_missed(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1", namespace="g1")
            await learner(led, "HS1", "Lê Văn Tám")
            await persons.link(led.core, "an", "g1", "7", "HS1", "?")
            await led.owner.execute("UPDATE gate_persons SET since = '2090-01-01'")
            await intake.accept(led.core, [passage("g1", "7", AT, "a")])
            assert await told(led) == []
            await led.owner.execute("UPDATE gate_persons SET since = '-infinity'")  # committed only now, as it were
            await settled(led)
            assert len(await told(led)) == 1

    asyncio.run(go())


def test_what_is_forgotten_and_what_identities_add_up(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1")
            await intake.accept(led.core, [passage("g1", "HS1", AT, "a"), broken("x", AT)])
            await rejudge.forget(led.core, AT + timedelta(days=1))
            assert await led.value("SELECT (SELECT count(*) FROM punches) + (SELECT count(*) FROM checkin_waits)") == 0
            assert punches.moment_of("không phải giờ") is None

    asyncio.run(go())


@pytest.mark.parametrize("seed", [1, 2])
def test_in_whatever_order_and_beside_whatever_they_arrive_the_same_ones_travel(ledger: Any, seed: int) -> None:
    noise = random.Random(seed)

    async def go() -> None:
        async with ledger() as led:
            await ground(led, "g1", "g2")
            plan = {f"{person}-{n}": (person, noise.randrange(900)) for person in ("HS1", "HS2") for n in range(25)}
            arrivals = [
                passage(noise.choice(("g1", "g2")), person, AT + timedelta(seconds=s), e)
                for e, (person, s) in plan.items()
            ]
            noise.shuffle(arrivals)
            await asyncio.gather(*(intake.accept(led.core, arrivals[n : n + 10]) for n in range(0, 50, 10)))
            for _ in range(30):
                await deliver(led)
                await led.owner.execute("UPDATE rejudgements SET due_at = now()")
                if not await retime.advance(led.core):
                    break
            rows = await led.rows(
                "SELECT DISTINCT ON (key) split_part(key, '/', 2) AS event, r.event AS said, disposition,"
                " (SELECT min(id) FROM records f WHERE f.key = r.key) AS first FROM records r ORDER BY key, version DESC"
            )
            expected: set[str] = set()
            for person in ("HS1", "HS2"):
                # Of two in one second the one with the lower number leads.
                mine = {r["first"]: r["event"] for r in rows if r["event"].startswith(person)}
                punched = [Punch(AT + timedelta(seconds=plan[e][1]), n) for n, e in mine.items()]
                expected |= {mine[n] for n in travelling(punched, timedelta(seconds=60))}
            assert {r["event"] for r in rows if r["disposition"] == 1 and r["said"] != "CANCEL"} == expected

    asyncio.run(go())
