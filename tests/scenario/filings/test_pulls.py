"""Lists from the portal: page and cursor in one commit, resumed after a kill, differences shown, faults that lose nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adapters import manifest as manifests
from adapters.public_service import simulator
from adapters.twin import Fault
from connectors.address import AddressPolicy
from connectors.connector import LiveConnector
from connectors.errors import AddressRefused, EndpointGone, Refused, ServiceRefused
from hub.kernel.ledger import pulls, quotas
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.pulls import PullBusy
from hub.kernel.ledger.quotas import Ask
from hub.kernel.store.db import sql
from hub.worker.pulls import Pull, UnknownPull, overdue

LOCAL = AddressPolicy(("127.0.0.0/8",))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows a page, at both ends."""
    profile = manifests.load("public_service").profile
    monkeypatch.setattr(simulator, "PROFILE", simulator.PROFILE | {"paging": simulator.PROFILE["paging"] | {"rows": 3}})
    monkeypatch.setattr(
        manifests.Manifest, "profile", lambda self, name=None: profile() | {"paging": profile()["paging"] | {"rows": 3}}
    )


async def make(s: Any, what: str, owner: str = "test") -> Pull:
    async with s.core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.pull_connector, "public_service")
    return Pull(s.core, row, what, s.led.keys, LOCAL, owner)


async def pull(s: Any, what: str, key: str, **how: Any) -> Any:
    return await (await make(s, what)).run(key, how.pop("for_s", 30.0), **how)


def procedures(count: int) -> list[dict[str, Any]]:
    return [
        {"MATTHC": f"1.{n:06}", "TENTTHC": f"Thủ tục {n}", "MALINHVUC": "GDTrH", "THOIHANGIAIQUYET": "5"}
        for n in range(count)
    ]


def test_a_list_is_kept_once_per_key_and_its_changes_are_shown(stage: Any, small_pages: None) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.lists["procedures"] = procedures(13)
            first = await pull(s, "procedures", "day-1")
            assert (first.done, first.page, first.records, first.changes, first.fault) == (True, 5, 13, 0, None)
            asked = twin.requests
            again = await pull(s, "procedures", "day-1")
            assert again.done and again.records == 13 and twin.requests == asked, "the key is done"
            assert await s.led.value("SELECT count(*) FROM pulled_changes") == 0, "a first list is no news"

            rows = twin.lists["procedures"]
            rows[1]["TENTTHC"] = "Thủ tục đổi tên"
            del rows[5]
            rows.append({"MATTHC": "9.000001", "TENTTHC": "Thủ tục mới"})
            second = await pull(s, "procedures", "day-2")
            assert (second.done, second.changes, second.unchanged) == (True, 3, 11)
            changes = await s.led.rows(
                "SELECT kind, key, before->>'name' AS b, after->>'name' AS a FROM pulled_changes ORDER BY kind"
            )
            assert [(r["kind"], r["b"], r["a"]) for r in changes] == [
                ("added", None, "Thủ tục mới"), ("changed", "Thủ tục 1", "Thủ tục đổi tên"), ("removed", "Thủ tục 5", None),
            ]  # fmt: skip
            gone = await s.led.rows(
                "SELECT event, version FROM records WHERE key = 'public_service/procedure/1.000005' ORDER BY id"
            )
            assert [(r["event"], r["version"]) for r in gone] == [("NEW", 1), ("CANCEL", 2)]
            rows.insert(5, {"MATTHC": "1.000005", "TENTTHC": "Thủ tục 5"})
            third = await pull(s, "procedures", "day-3")
            assert third.changes == 1
            assert await s.led.value("SELECT count(*) FROM pulled_changes WHERE kind = 'returned'") == 1
            assert (await account(s.core)).balanced

    asyncio.run(go())


def test_a_list_that_lost_too_much_is_not_believed(stage: Any, small_pages: None) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.lists["procedures"] = procedures(30)
            await pull(s, "procedures", "a")
            twin.lists["procedures"] = []
            shrunk = await pull(s, "procedures", "b")
            assert not shrunk.done and "30/30" in shrunk.fault.en
            assert await s.led.value("SELECT count(*) FROM pulled_entries WHERE gone_at IS NULL") == 30
            assert await s.led.value("SELECT state FROM pulls") == "failed"
            sure = await pull(s, "procedures", "c", accepting=pulls.Accepting("test", "Đã hỏi cổng dịch vụ"))
            assert sure.done and sure.changes == 30
            assert await s.led.value("SELECT count(*) FROM streams WHERE event = 'CANCEL'") == 30

    asyncio.run(go())


def test_a_nul_costs_its_entry_and_never_the_list(stage: Any, small_pages: None) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.lists["procedures"] = rows = procedures(7)
            rows[1]["TENTTHC"] = "Thủ\0tục"
            rows[5]["MATTHC"] = "1.00\0005"
            first = await pull(s, "procedures", "a")
            assert first.done and (first.records, first.rejected) == (6, 1)
            again = await pull(s, "procedures", "b")
            assert again.done and again.rejected == 1, "no run is held up by it, nor is what is there withdrawn"
            assert await s.led.value("SELECT count(*) FROM streams WHERE event = 'CANCEL'") == 0
            assert (await account(s.core)).balanced

    asyncio.run(go())


@pytest.mark.parametrize(
    "kind", ["maintenance_html", "garbage", "down_503", "gateway_502", "quota_429", "reset_after_read"]
)
def test_a_fault_stops_a_run_which_then_goes_on(stage: Any, small_pages: None, kind: str) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.lists["procedures"] = procedures(7)
            work = await make(s, "procedures")
            await work.run("k", 0.0)
            twin.set_fault(Fault(kind=kind, count=3, match='"TrangSo":"2"'))
            stopped = await pull(s, "procedures", "k")
            assert not stopped.done and stopped.fault.vi and stopped.fault.en and stopped.page == 1
            twin.faults.clear()
            over = await pull(s, "procedures", "k")
            assert over.done and over.records == 7 and over.run == stopped.run
            assert await s.led.value("SELECT count(*) FROM records") == 7

    asyncio.run(go())


def test_two_at_once_and_an_ended_session(stage: Any, small_pages: None) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.lists["procedures"] = procedures(7)
            await pulls.begin(s.core, s.core.connectors["public_service"], "procedures", "k", "somebody else", 60)
            with pytest.raises(PullBusy):
                await pull(s, "procedures", "k")
            await s.led.owner.execute("UPDATE hub.pulls SET until = now()")
            twin.end_sessions()
            assert (await pull(s, "procedures", "k")).done
            with pytest.raises(UnknownPull):
                await make(s, "nothing")

    asyncio.run(go())


def test_refused_credentials_pause_the_connector(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.portal(password="wrong")
            found = await pull(s, "fields", "k")
            assert not found.done and found.fault is not None
            assert await s.led.value("SELECT state FROM connectors") == "paused"

    asyncio.run(go())


@pytest.mark.parametrize("refused", [ServiceRefused, AddressRefused, EndpointGone])
def test_whatever_needs_a_person_pauses_the_connector_with_a_task(
    stage: Any, monkeypatch: pytest.MonkeyPatch, refused: type[Refused]
) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.portal()

            async def send(*_: Any) -> Any:
                raise refused("no")

            monkeypatch.setattr(LiveConnector, "send", send)
            found = await pull(s, "fields", "k")
            assert not found.done and found.fault == refused.TEXT and found.after_s is None
            assert await s.led.value("SELECT pause_cause FROM connectors") == refused.cause
            assert await s.led.value("SELECT cause FROM tasks WHERE state = 'open'") == refused.cause

    asyncio.run(go())


def test_what_nobody_pulled_for_long_is_found(stage: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.portal()

            async def due() -> set[str]:
                async with s.core.pool.acquire() as connection:
                    return {what for _, what in await overdue(s.core, await connection.fetch(sql.pull_connectors))}

            assert await due() == set(), "a new connector is given its time"
            await s.led.owner.execute("UPDATE hub.connectors SET updated_at = now() - interval '1 hour'")
            assert await due() == {"questions"}
            await pull(s, "questions", "k")
            assert await due() == set()
            await s.led.owner.execute("UPDATE hub.connectors SET updated_at = now() - interval '3 days'")
            assert await due() == {"procedures", "agencies", "fields"}

    asyncio.run(go())


async def _calls(twin: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each page was answered from here on."""
    times: list[float] = []
    answer = twin.answer

    def noting(ask: Any) -> Any:
        if "TrangSo" in repr(ask.body):
            times.append(time.monotonic())
        return answer(ask)

    monkeypatch.setattr(twin, "answer", noting)
    return times


def test_pages_are_asked_for_within_the_quota_beside_the_dispatcher(
    stage: Any, small_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal({"quota": {"per_second": 4, "per_day": 11}})
            twin.lists["procedures"] = procedures(16)
            times = await _calls(twin, monkeypatch)
            connector = s.core.connectors["public_service"]
            ask = Ask(per_second=4, per_day=11)
            assert (await quotas.renew(s.core, connector, ask, 1)).share == 4
            assert (await quotas.renew(s.core, connector, ask)).share == 4
            # The dispatcher's two of the four stay its own, and so do its calls of the day.
            await s.led.owner.execute("UPDATE hub.quota_shares SET share = 2")
            found = await pull(s, "procedures", "k")
            assert found.done and found.records == 16, found.fault
            assert len(times) == 6
            assert max(sum(1 for t in times if a <= t < a + 1.0) for a in times) <= 2
            assert await s.led.value("SELECT day_used FROM quotas") == 1 + 7, "six pages and the log-in before them"
            (share,) = await s.led.rows("SELECT worker, share FROM quota_shares")
            assert tuple(share) == (s.core.worker, 2), "whoever is done gives its own share back, and no other's"
            # The day's calls end in the middle of the next run, which then waits for another day.
            twin.lists["procedures"] = procedures(17)
            over = await pull(s, "procedures", "l")
            assert not over.done and over.page == 2 and over.after_s == 300.0
            assert await s.led.value("SELECT day_used FROM quotas") == 11

    asyncio.run(go())


def test_a_quota_others_use_up_stops_a_run_for_a_while(
    stage: Any, small_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal({"quota": {"per_second": 4}})
            twin.lists["procedures"] = procedures(4)
            monkeypatch.setattr("hub.worker.pulls._SHARE_WAIT_S", 0.2)
            connector = s.core.connectors["public_service"]
            await quotas.renew(s.core, connector, Ask(per_second=4, per_day=None))
            waiting = await pull(s, "procedures", "k")
            assert not waiting.done and waiting.after_s == 30.0 and "quota" in waiting.fault.en
            await quotas.leave(s.core, connector, 0, None)
            assert (await pull(s, "procedures", "k")).done

    asyncio.run(go())


_CHILD = """
import asyncio, sys
from connectors.address import AddressPolicy
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router
from hub.kernel.store.db import open_pool, sql
from hub.keys import Keys
from hub.wiring import hasher_of
from hub.worker.pulls import Pull
from mappings.engine import Catalogue

async def go():
    keys = Keys(bytes(range(32)))
    pool = await open_pool(sys.argv[1], high=4)
    core = Core(pool, Router({}, {}), Catalogue.load(), hasher_of(keys), worker="child")
    row = await pool.fetchrow(sql.pull_connector, "public_service")
    work = Pull(core, row, "questions", keys, AddressPolicy(("127.0.0.0/8",)), "child")
    work._adapter._listings._rows = 3
    print((await work.run("k", 30)).done)

asyncio.run(go())
"""


def test_killed_between_and_within_pages_it_goes_on_where_it_was(stage: Any, small_pages: None) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            one = twin.lists["questions"][0]
            twin.lists["questions"] = [
                one | {"MAHOIDAP": f"HD-{n}", "NGAYGUI": f"202611{n + 1:02}090000"} for n in range(20)
            ]
            env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
            env |= {"LIEN_THONG_FAILPOINTS": "pull.inside=kill@0.2;pull.after=kill@0.2"}
            killed = 0
            for seed in range(30):
                argv = [sys.executable, "-c", _CHILD, s.led.url]
                run_as = env | {"LIEN_THONG_FAILPOINT_SEED": str(seed)}
                done = await asyncio.to_thread(subprocess.run, argv, env=run_as, capture_output=True, timeout=60)
                pages = await s.led.value("SELECT page FROM pulls")
                assert await s.led.value("SELECT count(*) FROM records") == min(20, 3 * pages), (
                    "page and records together"
                )
                if done.returncode == 0:
                    break
                assert done.returncode == -9, done.stderr.decode()
                killed += 1
            assert killed > 0
            assert done.stdout.strip() == b"True"
            assert await s.led.value("SELECT count(DISTINCT key) FROM records") == 20
            assert await s.led.value("SELECT cursor FROM pulls") == "20261120090000"
            assert await s.led.value("SELECT run FROM pulls") == 1
            assert (await account(s.core)).balanced

    asyncio.run(go())
