"""Whoever blocks a user, resets a password or gives a gate a code on a page says why; without a sentence nothing is done."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import people
from tests.scenario.console.test_beside import console

WHY = "Theo đề nghị của trường hôm nay"


@pytest.mark.parametrize(
    ("path", "form", "kind"),
    [
        ("/users/hai/block", {"blocked": "yes"}, "block_user"),
        ("/users/hai/password", {}, "reset_password"),
    ],
)
def test_an_order_about_a_user_carries_its_reason(
    ledger: Any, tmp_path: Path, path: str, form: dict[str, str], kind: str
) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            await people.add_user(one.core, "test", "hai", "Người thứ hai", "operator", EVERYWHERE)
            csrf = await one.value("SELECT csrf FROM sessions")
            for why in ({}, {"why": ""}, {"why": "ngắn"}, {"why": "x" * 300}):
                answer = await client.post(path, data={"csrf": csrf, **form, **why})
                assert answer.status_code == 422 and "8–250" in answer.text, why
            assert await one.value("SELECT count(*) FROM journal WHERE kind = $1", kind) == 0
            assert await one.value("SELECT state FROM users WHERE name = 'hai'") == "active"
            answer = await client.post(path, data={"csrf": csrf, **form, "why": f" {WHY}\n"})
            assert answer.status_code in (200, 303)
            assert await one.value("SELECT data FROM journal WHERE kind = $1", kind) == {"user": "hai", "why": WHY}

    asyncio.run(run())
