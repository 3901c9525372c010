"""Receipts on a real ledger: a push that was refused as a whole is still its school's to read, and nobody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub.kernel.access import Scope
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import intake
from hub.kernel.ports import Reject, Text
from hub.kernel.receipts import receipt_code
from tests.scenario.console.test_beside import console

REFUSED = Reject(
    pointer="/0",
    code="several_faults",
    message=Text(
        "/0/data/birth_date: Ngày sinh còn thiếu.; /0/data/sex: Giới tính còn thiếu.",
        "/0/data/birth_date: Date of birth is missing.; /0/data/sex: Sex is missing.",
    ),
)


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (Scope("school", "31SC0001"), 200),
        (Scope("school", "31SC0002"), 404),
        (Scope("ward", "11500"), 200),
        (Scope("ward", "11359"), 404),
    ],
)
def test_a_refused_push_is_its_schools_to_read(ledger, tmp_path: Path, scope: Scope, status: int) -> None:
    async def run() -> None:
        async with ledger() as one:
            await one.school("31SC0001", ward="11500")
            await one.school("31SC0002", ward="11359")
            source = Source("client", "phan-mem-a")
            arrival = Arrival(
                source=source, type="learner", body=b"{}", content_type="application/x-ndjson", digest=b"x" * 32, rejects=[REFUSED], drafts=[],
            )  # fmt: skip
            (accepted,) = await intake.accept(one.core, [arrival])
            await one.owner.execute(
                "INSERT INTO clients (source, id, title, secret_hash, scope_kind, scope_code, rights)"
                " VALUES ($1, 'phan-mem-a', 'a', '', 'school', '31SC0001', '{push}')",
                await one.core.source_id(source),
            )
            async with console(one, tmp_path, None) as client:
                await one.owner.execute(
                    "UPDATE users SET role = 'auditor', scope_kind = $1, scope_code = $2", scope.kind, scope.code
                )
                code = receipt_code(one.keys.hmac("receipt"), accepted.message)
                answer = await client.get(f"/receipts/{code}")
                assert answer.status_code == status
                if status == 200:
                    text = answer.text
                    assert text.count("Date of birth") == 2 and "1 rows: 0 taken, 1 to correct" in text
                    assert "/0/data" not in text, "rows and columns, not pointers"

    asyncio.run(run())
