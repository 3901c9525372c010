"""What people state before anything is shown, and an evidence pack the ledger does not agree with."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.evidence import verify
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Draft
from mappings.engine import TYPES, parse_item
from tests.scenario.console.test_beside import console

SCHOOL = "31HP0000001"


async def learner(one: Any) -> int:
    """A learner's record, stored and delivered to nobody yet."""
    await one.connector("ministry", "ministry")
    await one.school(SCHOOL)
    item = {
        "learner_code": "3112345678", "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "Nam", "ethnicity": "01",
        "school_code": SCHOOL, "class_code": "6A1", "grade": "6", "school_level": "03", "status": "studying",
    }  # fmt: skip
    draft = parse_item("learner", {"data": item}, "", datetime.now(UTC))
    assert isinstance(draft, Draft)
    one.core.catalogue.standardise_record(TYPES["learner"], draft.body, draft.updated_at.date())
    arrival = Arrival(
        source=Source("client", "test"), type="learner", body=b"{}", content_type="application/json", digest=b"d" * 32, drafts=[draft]
    )  # fmt: skip
    await accept(one.core, [arrival])
    return int(await one.value("SELECT id FROM records"))


async def said(one: Any) -> list[str]:
    return [
        r["purpose"]
        for r in await one.rows("SELECT data->>'purpose' AS purpose FROM journal WHERE kind = 'unmask' ORDER BY id")
    ]


def test_evidence_the_ledger_does_not_agree_with_is_named_so_and_still_given(
    ledger: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            record = await learner(one)
            csrf = await one.value("SELECT csrf FROM sessions")
            form = {"csrf": csrf, "purpose": "Trả lời khiếu nại"}
            place = f"/records/{record}/evidence"
            fine = await client.post(place, data=form)
            assert fine.status_code == 200 and verify.check(fine.content).state in ("proven", "unsealed")
            # Whoever may write to the database changes what was received.
            await one.owner.execute("UPDATE messages SET body = '{\"changed\": true}'")
            with caplog.at_level(logging.ERROR, "hub.console.pages.evidence"):
                told = await client.post(place, data=form)
            assert told.status_code == 409 and "application/zip" not in told.headers["content-type"]
            assert "The ledger does not agree with itself" in told.text
            assert "message/message.json: the journal holds another message" in told.text
            assert [r.levelname for r in caplog.records] == ["ERROR"]
            client.cookies.set("lt_lang", "vi")
            assert "Sổ cái không khớp chính nó" in (await client.post(place, data=form)).text
            given = await client.post(place, data=form | {"anyway": "yes"})
            assert given.status_code == 200
            assert f'filename="evidence-{record}-does-not-agree.zip"' in given.headers["content-disposition"]
            with pytest.raises(verify.Altered):
                verify.check(given.content)
            # The language's link of that page leads back to the record.
            back = await client.get(place, params={"lang": "en"})
            assert back.status_code == 303 and back.headers["location"] == f"/records/{record}?lang=en"
            assert await said(one) == ["Trả lời khiếu nại"] * 4, "each journaled before"

    asyncio.run(run())


def test_the_evidence_of_a_filing_is_all_of_it_and_each_record_is_journaled(ledger: Any, tmp_path: Path) -> None:
    number = "000.00.12.H24-261122-0001"

    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            await one.school(SCHOOL)
            at = datetime(2026, 11, 20, tzinfo=UTC)
            told = [("filing", number), ("filing_progress", f"{number}/1"), ("filing", number)]
            for n, (kind, key) in enumerate(told):
                body = {
                    "file_number": number,
                    "content": f"Lần {n}",
                    "status": {"canonical": None},
                    "handled_at": at.isoformat(),
                }
                draft = Draft(type=kind, key=key, body=body, updated_at=at + timedelta(hours=n), school=SCHOOL)
                arrival = Arrival(
                    source=Source("client", "c"), type=kind, body=b"{}", content_type="application/json", digest=b"0" * 32, drafts=[draft]
                )  # fmt: skip
                (answer,) = await accept(one.core, [arrival])
                assert answer.records == 1, answer.rejects
            numbers = [r["id"] for r in await one.rows("SELECT id FROM records ORDER BY id")]
            form = {"csrf": await one.value("SELECT csrf FROM sessions"), "purpose": "Trả lời khiếu nại"}
            given = await client.post(f"/records/{numbers[0]}/evidence", data=form)
            assert given.status_code == 200
            found = verify.check(given.content)
            assert found.state in ("proven", "unsealed") and any("3 bản ghi" in line for line in found.lines), (
                found.lines
            )
            looked = await one.rows("SELECT subject FROM journal WHERE kind = 'unmask'")
            assert sorted(r["subject"] for r in looked) == numbers

    asyncio.run(run())


def test_a_purpose_is_a_sentence_before_anything_is_shown(ledger: Any, tmp_path: Path) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            record = await learner(one)
            csrf = await one.value("SELECT csrf FROM sessions")
            doors = [
                f"/records/{record}/unmask",
                f"/records/{record}/evidence",
                f"/records/{record}/correct",
                "/people/show",
            ]
            image = "data:image/jpeg;base64," + "/9j/4AAQSkZJRgABAQ" * 9
            for door in doors:
                for purpose in ("\0\0\0\0\0\0\0\0", "ngắn", "   \n \t   ", "x" * 7 + "\0", image[:280]):
                    answer = await client.post(door, data={"csrf": csrf, "purpose": purpose})
                    assert answer.status_code == 422 and "Write a sentence of 8 to 250" in answer.text, (door, purpose)
                    assert "/9j/" not in answer.text, "a picture is not given back"
                    assert "Nguyễn Văn Mẫu" not in answer.text
            assert await said(one) == []
            # What pasting brings along is taken off, not held against anybody.
            pasted = "Kiểm tra\0 hồ\u200b sơ\u00a0 đầu\r\nnăm\ufeff"
            answer = await client.post(doors[0], data={"csrf": csrf, "purpose": pasted})
            assert answer.status_code == 200 and "Nguyễn Văn Mẫu" in answer.text
            assert await said(one) == ["Kiểm tra hồ sơ đầu năm"]
            # Where nothing is typed, an address with NUL in it is its sender's fault.
            broken = await client.get("/audit", params={"actor": "a\0"})
            assert broken.status_code == 422 and "no text" in broken.text
            # Reasons and names come through the same door.
            pause = await client.post("/connectors/ministry/pause", data={"csrf": csrf, "reason": "bảo\0 trì đêm nay"})
            assert pause.status_code == 303 and await one.value("SELECT state FROM connectors") == "paused"

    asyncio.run(run())
