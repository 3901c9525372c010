"""A roster verified with the population database: within its quota, through kills, nobody looked up twice; requests answered
later; answers kept for a while. What was really asked is read from the simulator's books."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisAway

from adapters import manifest as manifests
from adapters.population.people import Person
from hub.kernel.ledger import lookups, verifications
from hub.kernel.ledger.verifications import AlreadyRunning, KeyReused, NoConnector, NothingToAsk, Wanted
from hub.kernel.store.db import patient, sql
from hub.worker.kept import Kept

SCHOOL = "31HP0123001"
PEOPLE = [
    Person(
        number=f"0312140{n:05}",
        name=f"Nguyễn Văn Thử {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[n % 26]}",
        birth="20140305",
        sex="1",
    )
    for n in range(12)
]
WANTED = Wanted(school=SCHOOL, kind="verify", purpose="Kiểm tra đầu năm học", officer="cb.gddt.07")


def _roster(items: Any) -> list[dict[str, Any]]:
    """The first as the database knows them; the second with another name; the third without a number; the fourth unknown."""
    changes: dict[int, dict[str, Any]] = {1: {"full_name": "Trần Khác Hẳn"}, 2: {"personal_number": None}}
    changes[3] = {"personal_number": "031214099999"}
    roster = []
    for n, person in enumerate(PEOPLE):
        data = {"full_name": person.name, "personal_number": person.number} | changes.get(n, {})
        roster.append(items.learner(f"31000000{n:02}", **{k: v for k, v in data.items() if v is not None}))
    return roster


async def _finished(s: Any, number: int) -> Any:
    async def done() -> bool:
        # Workers do so every two seconds; a test has less time.
        await verifications.advance(s.core)
        return (await verifications.one(s.core, number))["state"] == "done"

    await s.until(done, 30)
    return await verifications.one(s.core, number)


def test_a_roster_is_verified_and_every_question_is_accounted_for(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            # Pushed while there is no connector: the everyday look-up of a new learner must not stand in for it.
            await s.push("learner", *_roster(items))
            with pytest.raises(NoConnector):
                await verifications.open_verification(s.core, "test", WANTED)
            twin = await s.population(PEOPLE)
            kind = Wanted(school=SCHOOL, kind="look_up", purpose=WANTED.purpose, officer=WANTED.officer)
            number, replayed = await verifications.open_verification(s.core, "test", kind, b"k" * 16)
            assert not replayed
            assert (await verifications.open_verification(s.core, "test", kind, b"k" * 16)) == (number, True)
            other = Wanted(school=SCHOOL, kind="look_up", purpose="Mục đích khác", officer="cb.gddt.07")
            with pytest.raises(KeyReused):
                await verifications.open_verification(s.core, "test", other, b"k" * 16)
            with pytest.raises(AlreadyRunning) as running:
                await verifications.open_verification(s.core, "test", kind)
            assert running.value.verification == number
            with pytest.raises(NothingToAsk):
                await verifications.open_verification(
                    s.core, "test", Wanted(school="31HP9999999", kind="look_up", purpose=WANTED.purpose, officer="o")
                )
            await s.work()
            row = await _finished(s, number)
            assert {k: row[k] for k in ("items", "answered", "skipped", "match", "mismatch", "not_found")} == {
                "items": 12, "answered": 11, "skipped": 1, "match": 9, "mismatch": 1, "not_found": 1,
            }  # fmt: skip
            found = {r["learner"]: r for r in await verifications.results(s.core, number)}
            assert found["3100000001"]["differing"] == ["full_name"]
            assert found["3100000002"]["reasons"] == ["personal_number:missing"]
            assert [r["learner"] for r in await verifications.results(s.core, number, faults=True)] == [
                f"310000000{n}" for n in (1, 2, 3)
            ]
            told = twin.summary()
            assert (told["effects"], told["numbers"], told["numbers_asked_again"], told["doubles"]) == (11, 11, 0, [])
            assert {e.content["officer"] for e in twin.books.effects} == {"cb.gddt.07"}
            log = await lookups.recent(s.core, None)
            assert len(log) == 11 and {r["purpose"] for r in log} == {WANTED.purpose}
            assert {r["request_id"] for r in log} == {e.key for e in twin.books.effects}
            assert await lookups.recent(s.core, ["31HP0000000"]) == [] != await lookups.recent(s.core, [SCHOOL])
            await s.settled(delivered=11)

    asyncio.run(work())


def test_kills_between_any_two_steps_ask_nobody_twice(stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other step dies inside its transaction, several go on at once, and the first tries of half the questions end
    without an answer."""

    async def work() -> None:
        async with stage() as s:
            await s.push("learner", *_roster(items))
            twin = await s.population(PEOPLE)
            number, _ = await verifications.open_verification(s.core, "test", WANTED)
            monkeypatch.setattr(verifications, "_STEP", 2)
            steps = 0

            def reach(point: str) -> None:
                nonlocal steps
                steps += 1
                if point == "verification.inside" and steps % 2:
                    raise ConnectionError("killed here")

            monkeypatch.setattr(verifications, "reach", reach)
            from adapters.twin import Fault

            twin.set_fault(Fault(kind="commit_then_timeout", count=4, delay_s=0.02))
            await s.work()
            for _ in range(12):
                await asyncio.gather(*(verifications.advance(s.core) for _ in range(3)), return_exceptions=True)
                await asyncio.sleep(0.02)
            row = await _finished(s, number)
            assert (row["answered"], row["skipped"]) == (11, 1)
            told = twin.summary()
            # What was tried again came under the number of the first try: one question in both logs.
            assert (told["numbers"], told["numbers_asked_again"], told["doubles"]) == (11, 0, [])
            assert told["repeats"] >= 1

    asyncio.run(work())


def test_a_kill_after_a_steps_commit_loses_nothing_of_it(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bell is not rung then: what was asked is in the ledger and goes by the poll; nobody is asked twice."""

    async def work() -> None:
        async with stage() as s:
            await s.push("learner", *_roster(items))
            twin = await s.population(PEOPLE)
            number, _ = await verifications.open_verification(s.core, "test", WANTED)

            def die(point: str) -> None:
                if point == "verification.after":
                    raise ConnectionError("killed here")

            with monkeypatch.context() as patched:
                patched.setattr(verifications, "reach", die)
                with pytest.raises(ConnectionError):
                    await verifications.advance(s.core)
            asked = (await verifications.one(s.core, number))["asked"]
            assert asked > 0, "the step was committed"
            await s.work()
            row = await _finished(s, number)
            assert (row["answered"], row["skipped"]) == (11, 1)
            told = twin.summary()
            assert (told["numbers"], told["numbers_asked_again"], told["doubles"]) == (11, 0, [])

    asyncio.run(work())


def test_questions_are_given_out_as_the_days_quota_lets(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            await s.push("learner", *_roster(items))
            await s.population(PEOPLE, {"quota": {"per_day": 5}})
            number, _ = await verifications.open_verification(s.core, "test", WANTED)
            first, second = await verifications.advance(s.core), await verifications.advance(s.core)
            assert (first.asked + first.skipped, second.asked) == (5, 1)  # one of the first five had no number
            assert (await verifications.advance(s.core)).asked == 0
            row = await verifications.one(s.core, number)
            assert (row["asked"], row["waiting"], row["state"]) == (5, 6, "open")
            # While a worker is at it: what a person decides waits its turn.
            async with s.core.pool.acquire() as busy, busy.transaction():
                await patient(busy)
                assert await busy.fetchrow(sql.verification_lock, number) is not None
                cancelled = asyncio.create_task(verifications.cancel(s.core, "test", number))
                done, _ = await asyncio.wait([cancelled], timeout=0.3)
                assert not done
            assert await cancelled == 6
            assert await verifications.cancel(s.core, "test", number) is None

    asyncio.run(work())


def test_schools_due_are_opened_once(stage: Any, items: Any) -> None:
    async def work() -> None:
        from datetime import UTC, datetime, timedelta

        async with stage() as s:
            await s.push("learner", *_roster(items))
            await s.population(PEOPLE)
            long_ago = datetime.now(UTC) - timedelta(days=90)
            args = (s.core, "schedule", "verify", "Kiểm tra định kỳ", "cb.gddt.07", long_ago, 10)
            opened = await verifications.open_due(*args)
            assert len(opened) == 1 and await verifications.open_due(*args) == []

    asyncio.run(work())


# ------------------------------------------------------------------------------------------ answered later


def test_a_request_is_put_once_and_its_answer_fetched_when_due(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = await s.population(PEOPLE, adapter={"asynchronous": True}, polls=2)
            await s.work()
            await s.push("learner", *_roster(items)[:2])
            await s.settled(delivered=2)
            told = twin.summary()
            assert (told["requests"], told["requests_open"], told["numbers_asked_again"], told["doubles"]) == (
                2,
                0,
                0,
                [],
            )
            async with s.core.pool.acquire() as connection:
                checks = await connection.fetch(
                    "SELECT key, body FROM records WHERE type = 'population_check' ORDER BY key"
                )
                assert [(c["key"], c["body"]["verdict"]) for c in checks] == [
                    ("3100000000", "match"),
                    ("3100000001", "mismatch"),
                ]
                assert await connection.fetchval("SELECT count(*) FROM conversations") == 0
                kept = await connection.fetch("SELECT meta FROM calls WHERE operation = 'GetRequestResult'")
                assert kept and not any("asked" in c["meta"] or "0312140" in str(c["meta"]) for c in kept)
                assert await connection.fetchval("SELECT count(*) FROM lookups") == 2

    asyncio.run(work())


@pytest.mark.parametrize(
    "fault",
    ["commit_then_timeout", "commit_then_500", "fault_500", "garbage", "reset_after_read", "committed_503", "down_503"],
)
def test_a_submission_without_an_answer_is_looked_for_before_it_is_made_again(
    stage: Any, items: Any, fault: str
) -> None:
    async def work() -> None:
        from adapters.twin import Fault

        async with stage() as s:
            twin = await s.population(PEOPLE, adapter={"asynchronous": True})
            twin.set_fault(Fault(kind=fault, count=1, match="GetRequests>", delay_s=0.05))
            await s.work()
            await s.push("learner", _roster(items)[0])
            await s.settled(30, delivered=1)
            told = twin.summary()
            assert (told["requests"], told["requests_open"], told["doubles"]) == (1, 0, [])

    asyncio.run(work())


def test_a_worker_that_dies_in_the_middle_leaves_a_conversation_that_goes_on(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = await s.population(PEOPLE, adapter={"asynchronous": True}, polls=3)
            await s.work()
            await s.push("learner", *_roster(items)[:2])

            async def begun() -> bool:
                return len(await lookups.conversations(s.core, await _open(s))) == 2

            await s.until(begun)
            for _ in range(3):
                await s.rest()
                await s.work()
                await asyncio.sleep(0.3)
            await s.settled(delivered=2)
            assert (twin.summary()["requests"], twin.summary()["requests_open"]) == (2, 0)

    asyncio.run(work())


async def _open(s: Any) -> list[int]:
    async with s.core.pool.acquire() as connection:
        return [r["id"] for r in await connection.fetch("SELECT id FROM deliveries")]


def test_a_request_that_failed_there_is_put_again_under_another_number(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = manifests.load("population").profile() | {}
    profile["requests"] = profile["requests"] | {"again_s": 0.1}
    monkeypatch.setattr(manifests.Manifest, "profile", lambda self, name=None: profile)

    async def work() -> None:
        async with stage() as s:
            twin = await s.population(PEOPLE, adapter={"asynchronous": True}, fail_first=1)
            await s.work()
            await s.push("learner", _roster(items)[0])
            await s.settled(delivered=1)
            told = twin.summary()
            assert told["requests"] == 2 and told["doubles"] == []

    asyncio.run(work())


# ------------------------------------------------------------------------------------------ kept answers, and the log


class _Redis:
    """As much of Redis as keeping needs; `away` makes it fail."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.away = False

    async def mget(self, names: list[str]) -> list[bytes | None]:
        if self.away:
            raise RedisAway("away")
        return [self.held.get(name) for name in names]

    async def set(self, name: str, value: bytes, px: int) -> None:
        if self.away:
            raise RedisAway("away")
        self.held[name] = value


def test_a_kept_answer_serves_its_own_purpose_and_is_logged(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with stage() as s:
            redis = _Redis()
            monkeypatch.setattr("hub.worker.targets.Kept", lambda _redis, keys, name: Kept(redis, keys, name))  # type: ignore[arg-type]
            await s.push("learner", *_roster(items)[:2])
            twin = await s.population(PEOPLE, adapter={"cache_hours": 1})
            await s.work()

            async def verified(purpose: str) -> int:
                wanted = Wanted(school=SCHOOL, kind="look_up", purpose=purpose, officer="cb.gddt.07")
                number, _ = await verifications.open_verification(s.core, "test", wanted)
                row = await _finished(s, number)
                assert (row["match"], row["mismatch"]) == (1, 1)
                return len(twin.books.effects)

            assert await verified("Kiểm tra lần một") == 2
            assert await verified("Kiểm tra lần một") == 2  # nothing left the hub
            log = await lookups.recent(s.core, None)
            assert len(log) == 4 and [r["from_call"] is not None for r in log] == [True, True, False, False]
            assert await verified("Một mục đích khác") == 4
            sealed = b"".join(redis.held.values()) + "".join(redis.held).encode()
            assert b"Nguy" not in sealed and b"0312140" not in sealed
            redis.held.clear()
            assert await verified("Kiểm tra lần một") == 6  # flushed: asked again, nothing lost
            redis.away = True
            assert await verified("Kiểm tra lần một") == 8
            await s.settled(delivered=10)

    asyncio.run(work())


def test_without_purpose_or_officer_nothing_is_asked(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = await s.population(PEOPLE)
            await s.work()
            # As no parser would let it through: the last door must hold by itself.
            from datetime import UTC, datetime

            from hub.kernel.intake import Arrival, Source
            from hub.kernel.ledger.intake import accept
            from hub.kernel.ports import Draft

            held = {"id": 1, "kind": "verify", "purpose": "  ", "officer": "cb", "school": SCHOOL}
            learner = {
                "learner_code": "3100000000",
                "personal_number": PEOPLE[0].number,
                "full_name": "A",
                "birth_date": "2014-03-05",
            }
            body = verifications.question(held, "3100000000", learner)
            draft = Draft(type="population_request", key="1/x", body=body, updated_at=datetime.now(UTC), school=SCHOOL)
            arrival = Arrival(
                source=Source("operator", "test"), type="population_request", body=b"{}", content_type="application/json",
                digest=b"d" * 32, drafts=[draft], school=SCHOOL,
            )  # fmt: skip
            await accept(s.core, [arrival])
            await s.settled(parked=1)
            assert twin.requests == 0 and await lookups.recent(s.core, None) == []
            async with s.core.pool.acquire() as connection:
                assert [r["cause"] for r in await connection.fetch("SELECT cause FROM tasks")] == ["lookup_unaccounted"]
                assert await connection.fetchval(sql.conversations_tidy) is None

    asyncio.run(work())
