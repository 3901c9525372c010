"""A NUL in what somebody sent costs its own record and nothing else; text that only looks like one is kept as it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Draft, Reject, Removed, Text

LOOKS = "C:\\u0000"


def run(work: Any) -> Any:
    return asyncio.run(work)


def step(content: str, hour: int) -> Draft:
    at = datetime(2026, 9, 5, hour, tzinfo=UTC)
    status = {"system": "filing-status", "code": "4", "canonical": "4"}
    body = {
        "file_number": "000.00.12.H24-260905-0001", "handler": "Nguyễn Thị Mẫu", "handled_at": at.isoformat(), "content": content,
        "status": status, "said_by": "portal",
    }  # fmt: skip
    return Draft(
        type="filing_progress", key=f"000.00.12.H24-260905-0001/{hour}", body=body, updated_at=at, pointer=f"/{hour}"
    )


def test_a_backslash_before_the_letters_is_text_as_any_other(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(make.draft().school)
            arrival = make.arrival(make.draft(name=LOOKS))
            arrival.attributes = {"from": LOOKS}
            arrival.removed = [Removed(f"/{LOOKS}\0", "ab", 10, "image")]
            arrival.rejects = [Reject(pointer="/1", code="x", key=LOOKS, message=Text(LOOKS, LOOKS))]
            (a,) = await accept(led.core, [arrival])
            assert (a.records, len(a.rejects)) == (1, 1)
            assert await led.value("SELECT body->>'full_name' FROM records") == LOOKS
            assert await led.value("SELECT attributes->>'from' FROM messages") == LOOKS
            assert await led.value("SELECT removed->0->>'pointer' FROM messages") == f"/{LOOKS}\N{SYMBOL FOR NULL}"
            assert await led.value("SELECT text->>'vi' FROM rejects") == LOOKS
            assert (await account(led.core)).balanced

    run(go())


def test_a_step_that_cannot_be_stored_moves_nothing(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            (a,) = await accept(led.core, [make.arrival(step("A\0B", 8), step("ghi chú", 9))])
            assert [(r.pointer, r.code) for r in a.rejects] == [("/8", "control_character")]
            assert a.records == 1
            kept = await led.rows(
                "SELECT body->>'content' AS said, body->>'quarantine' AS why, disposition FROM records"
            )
            assert [tuple(r) for r in kept] == [("ghi chú", "unknown_filing", 3)]
            assert await led.value("SELECT count(*) FROM filing_inbox") == 1
            assert (await account(led.core)).balanced

    run(go())
