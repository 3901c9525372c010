"""A camera that is registered after its account's list was read: the list is asked for it from further back, by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from hub.api import gate_control
from hub.kernel.intake import Source
from hub.kernel.ledger import gate_accounts, gate_lists, gates, parties
from hub.kernel.ledger.intake import accept
from hub.worker import list_members
from hub.worker.catchup import LISTERS, CatchUp
from hub.worker.gate_arrivals import arrival_of
from iot.hanet.decode import PROFILES, seen
from iot.hanet.simulator import HanetPlace
from iot.simulator import Stored
from tests.scenario.iot_lists.asking import NOW, SCHOOL, asked, due, people, standing

ACCOUNT, EARLY, LATE = "TK1", "C1", "C2"
COUNT = 250


class Killed(BaseException):
    """Ends the worker where it stands."""


def seen_by(stored: Stored) -> str:
    return EARLY if stored.number % 2 else LATE


def of(camera: str, stored: list[Stored]) -> list[str]:
    return [s.person for s in stored if seen_by(s) == camera]


async def camera(here: Any, name: str, secret: bytes = b"ours") -> None:
    await parties.add_device(
        here.core, "test", name, family="hanet", profile="", title=name, school=SCHOOL, entrance="Cổng", direction="in",
        person_ids="department", zone="Asia/Ho_Chi_Minh", secret=here.keys.encrypt(b"x", name.encode()),
        signing=here.keys.encrypt(secret, gates.SIGNING),
    )  # fmt: skip


class Place:
    """An account with one camera, whose list has been read to its end, and a camera nobody registered."""

    def __init__(self, here: Any, gate: HanetPlace, worker: CatchUp) -> None:
        self.here, self.gate, self.worker = here, gate, worker
        self.stored = gate.stored

    async def work(self, worker: CatchUp | None = None) -> datetime:
        """One more round; from when it asked first."""
        before = len(self.gate.spans)
        await (worker or self.worker).work(30)
        return self.gate.spans[before][0] if len(self.gate.spans) > before else datetime.max.replace(tzinfo=UTC)

    def again(self) -> CatchUp:
        """Another worker: nothing of the first one's memory is there."""
        return CatchUp(self.here.core, self.here.keys, ["127.0.0.0/8"])

    async def journal(self) -> list[Any]:
        rows = await self.here.rows("SELECT actor, data FROM journal WHERE kind = 'gate_listed' ORDER BY id")
        return [(r["actor"], r["data"]["gates"]) for r in rows]

    async def all_stored_once(self) -> None:
        assert await people(self.here) == sorted(s.person for s in self.stored)


@asynccontextmanager
async def place(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(list_members, "_GAP_S", 0.0)
    first = NOW - timedelta(hours=20)
    stored = [Stored(number=n, person=f"HS{n:05d}", at=first + timedelta(minutes=4 * n)) for n in range(1, COUNT + 1)]
    gate = HanetPlace(stored, camera=seen_by)
    async with ledger() as here, gate as address:
        worker = await asked(here, ACCOUNT, "hanet", address, profile="account", place="12345", password=None)
        await gates.sign(here.core, "test", [ACCOUNT], here.keys.encrypt(b"ours", gates.SIGNING))
        await camera(here, EARLY)
        there = Place(here, gate, worker)
        await there.work()
        assert await people(here) == of(EARLY, stored)
        assert await there.journal() == [("hub", [EARLY, ACCOUNT])]
        await here.owner.execute("UPDATE gate_lists SET due_at = clock_timestamp() + interval '1 day'")
        yield there


@pytest.mark.parametrize("way", ["registered", "by code", "into the account"])
def test_what_it_saw_before_comes_once_and_by_itself(ledger: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    async def go() -> None:
        async with place(ledger, monkeypatch) as there:
            here = there.here
            if way == "registered":
                await camera(here, LATE)
            elif way == "by code":
                told = {"title": LATE, "school": SCHOOL, "entrance": "Cổng", "direction": "in"}
                made = gates.Gate(id=LATE, family="hanet", profile="camera", person_ids="department", **told)
                await gates.register(here.core, "test", [made], here.keys.encrypt, b"key")
                assert await there.work(there.again()) > NOW, "of no account yet"
                await gates.sign(here.core, "test", [LATE], here.keys.encrypt(b"ours", gates.SIGNING))
            else:
                await camera(here, LATE, b"another account's")
                assert await there.work(there.again()) > NOW, "it is not ours"
                await gates.sign(here.core, "test", [LATE], here.keys.encrypt(b"ours", gates.SIGNING))
            # Whoever registered it may have been killed at once, and so the worker: another finds it.
            start = await there.work(there.again())
            assert start == NOW - timedelta(days=1), "from where a person had said that the list begins"
            await there.all_stored_once()
            row = await standing(here)
            assert row["fault"] is None and row["missed"] == COUNT and row["done_to"] >= NOW
            assert await there.journal() == [("hub", [EARLY, ACCOUNT]), ("hub", [LATE])]
            lines, _ = await gates.history(here.core, LATE)
            assert lines[0]["kind"] == "listed" and lines[0]["data"]["by"] == ACCOUNT
            # It is asked for so but once.
            await due(here)
            assert await there.work() > NOW - timedelta(minutes=1)
            assert await there.work(there.again()) > NOW and (await standing(here))["missed"] == COUNT

    asyncio.run(go())


def test_what_its_webhook_tells_meanwhile_is_stored_once(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with place(ledger, monkeypatch) as there:
            entry = {"id": LATE, "school": SCHOOL, "direction": "in"}
            late = [s for s in there.stored if seen_by(s) == LATE]

            async def push(some: list[Stored]) -> list[bool]:
                made = []
                for s in some:
                    told = {"aliasid": s.person, "time": int(s.at.timestamp() * 1000)}
                    item = seen(f"webhook-{s.number}", told, s.at, entry, PROFILES.get(None).settings)
                    made.append(
                        arrival_of(
                            "hanet", "", item, b"{}", is_json=True, digest=bytes(16), source=Source("device", LATE), opener=ACCOUNT,
                        )
                    )  # fmt: skip
                return [a.duplicate for a in await accept(there.here.core, made)]

            await camera(there.here, LATE)
            assert await push(late[::3]) == [False] * len(late[::3])
            await there.work(there.again())
            assert all(await push(late)), "what it sends late is known by the list"
            await there.all_stored_once()

    asyncio.run(go())


@pytest.mark.parametrize("where", ["before", "after", "between pages"])
def test_a_kill_around_the_runs_beginning_loses_nothing_of_it(
    ledger: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async def go() -> None:
        async with place(ledger, monkeypatch) as there:
            await camera(there.here, LATE)
            left = [2]

            def killed(*_: Any, **__: Any) -> Any:
                raise Killed

            def reach(name: str) -> None:
                left[0] -= name == "pull.after"
                if left[0] == 0:
                    raise Killed

            with monkeypatch.context() as patch:
                if where == "before":
                    patch.setattr(gate_accounts, "joined", killed)
                elif where == "after":
                    patch.setattr(CatchUp, "_page", killed)
                else:
                    patch.setattr(gate_lists, "reach", reach)
                with pytest.raises(Killed):
                    await there.work(there.again())
            assert len(await there.journal()) == (1 if where == "before" else 2)
            before = len(there.gate.spans)
            await due(there.here)
            await there.work(there.again())
            assert there.gate.spans[before][0] == NOW - timedelta(days=1)
            await there.all_stored_once()

    asyncio.run(go())


def test_a_run_that_has_to_begin_anew_begins_there_too(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with place(ledger, monkeypatch) as there:
            await camera(there.here, LATE)
            there.gate.circling = True
            await there.work(there.again())
            assert (await standing(there.here))["fault"]["kind"] == "circle"
            there.gate.circling = False
            await due(there.here)
            await there.work()
            await there.all_stored_once()

    asyncio.run(go())


def test_a_run_under_way_is_not_broken_off(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with place(ledger, monkeypatch) as there:
            here = there.here
            await gate_lists.back_to(here.core, ACCOUNT, NOW - timedelta(days=1))
            page = CatchUp._page
            told: list[int] = []

            async def once(self: CatchUp, run: Any) -> bool:
                going = await page(self, run)
                if not told:
                    await camera(here, LATE)
                    await list_members.hurry(here.core, here.keys, LISTERS)
                told.append(run.asking.page)
                return going

            monkeypatch.setattr(CatchUp, "_page", once)
            await there.work()
            assert told == [1, 2, 3] and len(await people(here)) < COUNT
            await there.work(there.again())
            await there.all_stored_once()

    asyncio.run(go())


def test_one_that_was_away_from_the_registry_counts_as_new(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with place(ledger, monkeypatch) as there:
            here = there.here
            await camera(here, LATE)
            await there.work(there.again())
            await gates.revoke(here.core, "test", [LATE], "tạm tháo xuống")
            missed = Stored(number=1000, person="HS99999", at=NOW - timedelta(hours=2, seconds=7))
            there.gate.stored.append(missed)
            await due(here)
            await there.work(there.again())
            spoken = await gate_accounts.spoken_for(here.core, [ACCOUNT])
            assert sorted(spoken[ACCOUNT]) == [EARLY, ACCOUNT] and missed.person not in await people(here)
            hub = SimpleNamespace(core=here.core)
            state = SimpleNamespace(hub=hub, door=SimpleNamespace(hub=hub))
            told = await gate_control.lists(SimpleNamespace(app=SimpleNamespace(state=state)))  # type: ignore[arg-type]
            assert [row["gates"] for row in told["items"]] == [spoken[ACCOUNT]]
            lines, _ = await gates.history(here.core, LATE)
            assert [line["kind"] for line in lines][:3] == ["unlisted", "revoked", "listed"]
            await here.owner.execute("UPDATE gate_lists SET due_at = clock_timestamp() + interval '1 day'")
            await camera(here, LATE)
            await there.work(there.again())
            await there.all_stored_once()

    asyncio.run(go())


def test_a_list_at_fault_is_not_hurried_and_nobody_new_hurries_none(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with place(ledger, monkeypatch) as there:
            here = there.here
            later = (await standing(here))["due_at"]
            await there.work(there.again())
            assert (await standing(here))["due_at"] == later
            await here.owner.execute("UPDATE gate_lists SET fault = $1", {"vi": "hỏng", "en": "broken"})
            await camera(here, LATE)
            await there.work(there.again())
            assert (await standing(here))["due_at"] == later
            await here.owner.execute("UPDATE gate_lists SET fault = NULL, finished_at = clock_timestamp()")
            monkeypatch.setattr(list_members, "_GAP_S", 60.0)
            await there.work(there.again())
            soon = (await standing(here))["due_at"] - datetime.now(UTC)
            assert timedelta(seconds=50) < soon < timedelta(seconds=70), "cameras are registered one after the other"

    asyncio.run(go())


def test_no_further_back_than_the_family_says_and_check_ins_are_kept(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list asked before it was noted whom it speaks for."""

    async def go() -> None:
        async with place(ledger, monkeypatch) as there:
            here = there.here
            for days, kept_days in ((30, 365), (6, 7)):
                await here.owner.execute("DELETE FROM gate_history")
                await camera(here, LATE)
                start = await there.work(CatchUp(here.core, here.keys, ["127.0.0.0/8"], kept_days))
                assert abs(datetime.now(UTC) - timedelta(days=days) - start) < timedelta(minutes=1)
                await here.owner.execute("UPDATE gate_lists SET due_at = clock_timestamp() + interval '1 day'")
            await there.all_stored_once()

    asyncio.run(go())
