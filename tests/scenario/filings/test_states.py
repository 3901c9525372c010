"""Filings in the ledger: moves judged in the transaction that stores them, the inbox, withdrawals, dates."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import datetime
from typing import Any

from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.file_tokens import grant_of
from hub.kernel.filings import ZONE, WorkCalendar
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import files, filing_watch
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Draft
from mappings.engine import TYPES, parse_item, today_of

N = "000.00.12.H24-261122-0001"


def run(work: Any) -> Any:
    return asyncio.run(work)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


async def offer(
    s: Any, kind: str, *items: dict[str, Any], portal: bool = False, scope: Scope = EVERYWHERE, event: str = ""
) -> Any:
    """Items as a sender, or the portal, gives them; the answer, with what was refused."""
    drafts = []
    for n, item in enumerate(items):
        found = parse_item(kind, item, f"/{n}", datetime.now(ZONE))
        assert isinstance(found, Draft), found
        s.core.catalogue.standardise_record(TYPES[kind], found.body, today_of(found.updated_at))
        if portal:
            found.body["said_by"] = "portal"
        drafts.append(found)
    source = Source("connector", "public_service") if portal else Source("client", "test")
    arrival = Arrival(
        source=source, type=kind, body=b"{}", content_type="application/json", digest=b"d" * 32, drafts=drafts,
        scope=scope,
    )  # fmt: skip
    (answer,) = await accept(s.core, [arrival])
    return answer


async def held(s: Any, number: str = N) -> Any:
    rows = await s.led.rows(f"SELECT * FROM filings WHERE number = '{number}'")
    return rows[0] if rows else None


def test_moves_are_taken_and_illegal_ones_refused_with_the_reason(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            assert (await offer(s, "filing", items.filing(N, status="2"))).records == 1
            assert (await offer(s, "filing_progress", items.progress(N, "2026-11-21T09:00:00+07:00", "4"))).records == 1
            row = await held(s)
            assert (row["state"], row["department"]) == (4, "Phòng Giáo dục trung học")
            late = await offer(s, "filing_progress", items.progress(N, "2026-11-20T10:00:00+07:00", "2"))
            assert late.records == 1 and (await held(s))["state"] == 4, "an older step is history"
            gone = await offer(
                s, "filing", items.filing(N, at="2026-11-21T11:00:00+07:00", status="10", content="xong")
            )
            assert gone.records == 1 and (await held(s))["state"] == 10
            back = await offer(
                s, "filing", items.filing(N, at="2026-11-21T12:00:00+07:00", status="4", content="lùi"),
                items.filing(N.replace("0001", "0002"), status="1"),
            )  # fmt: skip
            assert back.records == 1, "what stands beside it is taken"
            (reject,) = back.rejects
            assert (reject.pointer, reject.code) == ("/0/data/status", "state_not_allowed")
            assert "10 (Đã trả kết quả)" in reject.message.vi and "10 (Returned)" in reject.message.en
            old = await offer(s, "filing", items.filing(N, at="2026-11-20T08:00:00+07:00", status="4", content="cũ"))
            assert old.rejects[0].code == "state_outdated"
            step = await offer(s, "filing_progress", items.progress(N, "2026-11-22T09:00:00+07:00", "4"))
            assert step.rejects[0].code == "state_not_allowed"
            assert (await account(s.core)).balanced

    run(go())


def test_a_school_moves_its_own_filings_and_no_others(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            other = "31HP0123009"
            await s.led.school(other)
            await offer(s, "filing", items.filing(N, status="2"))
            step = items.progress(N, "2026-11-21T09:00:00+07:00", "10", school_code=other)
            foreign = await offer(s, "filing_progress", step, scope=Scope("school", other))
            assert ([(r.pointer, r.code) for r in foreign.rejects], foreign.records) == ([("/0", "outside_scope")], 0)
            row = await held(s)
            assert (row["state"], row["department"], row["step_at"]) == (2, None, None)
            school = row["school"]
            own = items.progress(N, "2026-11-21T09:00:00+07:00", "4", school_code=school)
            assert (await offer(s, "filing_progress", own, scope=Scope("school", school))).records == 1
            assert (await held(s))["state"] == 4

    run(go())


def test_moves_within_one_batch_are_judged_in_their_order(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            answer = await offer(
                s, "filing",
                *(items.filing(N, at=f"2026-11-20T{9 + n:02}:00:00+07:00", status=c, content=f"lần {n}") for n, c in enumerate("2492")),
            )  # fmt: skip
            assert (answer.records, [r.code for r in answer.rejects]) == (3, ["state_not_allowed"])
            assert (await held(s))["state"] == 9

    run(go())


def test_a_withdrawal_with_the_number_alone_is_told_as_the_whole_filing(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            await offer(s, "filing", items.filing(N, status="2"))
            cancel = {"event": "CANCEL", "updated_at": "2026-11-21T09:00:00+07:00", "data": {"file_number": N}}
            await offer(s, "filing", cancel)
            again = await offer(s, "filing", cancel)
            assert again.unchanged == 1, "the same withdrawal is no news"
            await s.work()
            await s.settled(delivered=2)
            assert [e.content["TrangThaiHoSo"] for e in twin.books.effects] == ["2", "7"]
            assert twin.books.effects[1].content["ChuHoSo"] == "Trần Thị Ví Dụ"
            assert (await held(s))["state"] == 7

    run(go())


def test_what_the_portal_tells_of_unknown_filings_waits_and_follows(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            told = items.progress(N, "2026-11-21T09:00:00+07:00", "5", due_at="2026-11-30T17:00:00+07:00")
            wrong = items.progress(N, "2026-11-21T10:00:00+07:00", "1")
            assert (await offer(s, "filing_progress", told, wrong, portal=True)).records == 2
            assert await held(s) is None
            rows = await s.led.rows("SELECT disposition, body->>'quarantine' AS q FROM records")
            assert [(r["disposition"], r["q"]) for r in rows] == [(3, "unknown_filing")] * 2
            assert {r["reason"] for r in await s.led.rows("SELECT reason FROM filing_inbox")} == {"unknown_filing"}
            await offer(s, "filing", items.filing(N, status="2"))
            row = await held(s)
            # 5 → 1 is a move there is: both steps followed, in their order.
            assert (row["state"], row["said_by"]) == (1, "portal")
            assert row["due_at"] == at("2026-11-30T17:00")
            assert await s.led.value("SELECT count(*) FROM filing_inbox WHERE closed_at IS NULL") == 0
            assert (
                await offer(s, "filing_progress", items.progress(N, "2026-11-21T11:00:00+07:00", "2"), portal=True)
            ).records == 1
            await s.work()
            await s.settled(delivered=1)
            assert [e.type for e in twin.books.effects] == ["filing"], "what the portal said does not go back to it"
            assert (await held(s))["state"] == 2

    run(go())


def test_an_impossible_step_of_the_portal_is_kept_for_a_person(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await offer(s, "filing", items.filing(N, status="3"))
            answer = await offer(s, "filing_progress", items.progress(N, "2026-11-21T09:00:00+07:00", "4"), portal=True)
            assert answer.records == 1 and (await held(s))["state"] == 3
            entry = await s.led.value("SELECT id FROM filing_inbox WHERE reason = 'state_not_allowed'")
            found = await filing_watch.watch(s.core, at("2026-11-23T10:00"), WorkCalendar(), 0)
            assert found.inbox == 1
            assert (
                await s.led.value("SELECT count(*) FROM alarms WHERE kind = 'filing_inbox' AND ended_at IS NULL") == 1
            )
            assert await filing_watch.settle_inbox(s.core, "lan", entry, "applied", "Cổng đã mở lại hồ sơ")
            assert not await filing_watch.settle_inbox(s.core, "lan", entry, "applied", "lần hai")
            assert (await held(s))["state"] == 4
            await filing_watch.watch(s.core, at("2026-11-23T10:00"), WorkCalendar(), 0)
            assert (
                await s.led.value("SELECT count(*) FROM alarms WHERE kind = 'filing_inbox' AND ended_at IS NULL") == 0
            )

    run(go())


def test_dates_are_judged_and_each_alarm_is_said_once(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.portal()
            numbers = {
                name: N.replace("0001", f"{n:04}")
                for n, name in enumerate(("missed", "today", "fine", "done", "asked"))
            }
            for name, due, status in (
                ("missed", "2026-11-20T17:00:00+07:00", "4"), ("today", "2026-11-23T00:00:00+07:00", "2"),
                ("fine", "2026-12-23T17:00:00+07:00", "2"), ("done", "2026-11-23T17:00:00+07:00", "9"),
                ("asked", "2026-11-20T17:00:00+07:00", "5"),
            ):  # fmt: skip
                await offer(s, "filing", items.filing(numbers[name], due_at=due, status=status))
            now, calendar = at("2026-11-23T14:00"), WorkCalendar()
            for _ in range(3):
                found = await filing_watch.watch(s.core, now, calendar, 4 * 3600)
            assert [d.number for d in found.overdue] == [numbers["missed"]]
            assert [(d.number, d.left_s) for d in found.will_miss] == [(numbers["today"], 3 * 3600)]
            assert {d.number for d in found.untold} == {numbers[n] for n in ("missed", "today", "done", "asked")}
            assert {d.stuck for d in found.untold} == {"ready"}
            assert found.closes_at == at("2026-11-23T17:00")
            kinds = await s.led.rows("SELECT kind, count(*) AS n FROM alarms GROUP BY kind ORDER BY kind")
            assert [(r["kind"], r["n"]) for r in kinds] == [
                ("filing_overdue", 1), ("filing_untold", 1), ("filing_will_miss", 1)
            ]  # fmt: skip
            await s.work()
            await s.settled(delivered=5)
            found = await filing_watch.watch(s.core, now, calendar, 4 * 3600)
            assert found.untold == []
            assert await s.led.value("SELECT ended_at IS NOT NULL FROM alarms WHERE kind = 'filing_untold'")
            told = filing_watch.told(found)
            assert told["counts"] == {"overdue": 1, "will_miss": 1, "untold": 0, "inbox": 0}
            assert "Ví Dụ" not in repr(told)

    run(go())


def test_what_falls_due_right_after_a_long_holiday_is_warned_of_before_it(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await offer(s, "filing", items.filing(N, due_at="2026-02-23T09:00:00+07:00", status="2"))
            # The Friday before nine days of Tết: five working hours today, one and a half on the Monday after.
            found = await filing_watch.forecast(s.core, at("2026-02-13T10:00"), WorkCalendar(), 8 * 3600)
            assert [(d.number, d.left_s) for d in found.will_miss] == [(N, 6.5 * 3600)]

    run(go())


def test_the_portal_is_given_an_address_of_a_kept_document(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            twin = await s.portal()
            file = uuid.uuid4()
            source = Source("client", "test")
            assert await files.keep(
                s.core, source, file, None, "application/pdf", "Đơn.pdf", b"%PDF-", s.led.keys.encrypt
            )
            paper = {"id": "TL-1", "name": "Đơn.pdf", "file": file.hex}
            results = [{"name": "Giấy giới thiệu", "code": "KQ-1", "file": file.hex}]
            await offer(s, "filing", items.filing(N, status="2", attachments=[paper], results=results))
            await s.work()
            await s.settled(delivered=1)
            (told,) = [e.content for e in twin.books.effects]
            for address in (
                told["TaiLieuNop"][0]["DuongDanTaiTepTin"],
                told["DanhSachGiayToKetQua"][0]["DuongDanTepTinKetQua"],
            ):
                grant = grant_of(s.led.keys.hmac("file-token"), address.rpartition("/v1/files/")[2])
                assert grant is not None and (grant.file, grant.connector) == (
                    file,
                    s.core.connectors["public_service"],
                )
                assert grant.until > time.time() + 29 * 86_400
            assert await files.forget(s.core, 0, 3650) == 0, "a document a filing names is kept"
            await s.led.owner.execute("UPDATE hub.files SET linked_at = now() - interval '4000 days'")
            assert await files.forget(s.core, 0, 3650) == 1
            assert await s.led.value("SELECT count(*) FROM file_pieces") == 0
            assert await files.find(s.core, file, s.led.keys.decrypt) is None

    run(go())
