"""Whoever orders something on a page says why, by one rule; without a sentence nothing is done and what was typed is given back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters import manifest as manifests
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import operations, parties, people, silence
from hub.kernel.ports import Text
from tests.scenario.console.test_beside import console

WHY = "Theo đề nghị của trường hôm nay"
SCHOOL = "31HP0000001"
TOLD = "Write a sentence of 8 to 250 characters"


async def _stand(one: Any) -> None:
    """What the orders are about: a user, a connector at rest with a school's share of it, a school, a day off, a gate."""
    await people.add_user(one.core, "test", "hai", "Người thứ hai", "operator", EVERYWHERE)
    await one.connector("ministry", "ministry")
    await one.school(SCHOOL)
    await operations.pause(one.core, "test", "ministry", Text("bảo trì", "maintenance"))
    await one.owner.execute(
        "INSERT INTO paused_shares (connector, school, cause, message) SELECT id, $1, 'contract_refused', '{}' FROM connectors", SCHOOL
    )  # fmt: skip
    await parties.add_device(
        one.core, "test", "G1", family="native", profile="standard", title="G1", school=SCHOOL, entrance="chính", direction="in",
        person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"s" * 32,
    )  # fmt: skip
    await one.core.refresh()
    today = datetime.now(UTC).date()
    await silence.add_day_off(one.core, "test", SCHOOL, today, today + timedelta(days=1), "Nghỉ bão")


ORDERS = [
    ("/users", {"name": "moi", "title": "Người mới", "role": "auditor", "scope": f"school:{SCHOOL}"}, "why", "add_user", "user", "moi"),
    ("/users/hai/block", {"blocked": "yes"}, "why", "block_user", "user", "hai"),
    ("/users/hai/password", {}, "why", "reset_password", "user", "hai"),
    ("/connectors/ministry/resume", {}, "why", "resume", None, None),
    ("/connectors/ministry/shares/resume", {"school": SCHOOL}, "why", "resume_share", "school", SCHOOL),
    ("/calendar/days/{day}/remove", {}, "why", "day_off_removed", "title", "Nghỉ bão"),
    ("/calendar/sessions", {"school": SCHOOL, "day0_1": "1", "opens0": "07:00", "closes0": "11:30"}, "why", "sessions", "school", SCHOOL),
    ("/people/namespace", {"device": "G1", "whose": "device"}, "why", "gate_namespace", "device", "G1"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "form", "field", "kind", "about", "what"), ORDERS, ids=[o[0] for o in ORDERS])
def test_an_order_carries_its_reason(
    ledger: Any, tmp_path: Path, path: str, form: dict[str, str], field: str, kind: str, about: str | None, what: str | None
) -> None:  # fmt: skip
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            await _stand(one)
            there = path.replace("{day}", str(await one.value("SELECT max(id) FROM days_off")))
            sent = {"csrf": await one.value("SELECT csrf FROM sessions"), **form}
            before = await one.value("SELECT count(*) FROM journal")
            for why in (
                {},
                {field: ""},
                {field: "ngắn"},
                {field: "  \t ngắn  \u200b "},
                {field: "x" * 300},
                {field: "Sửa cho em 079204001234"},
            ):
                answer = await client.post(there, data=sent | why)
                assert answer.status_code == 422 and answer.text.count(TOLD) == 1, (why, answer.status_code)
                typed = why.get(field, "").strip(" \t\u200b")
                assert f'name="{field}" value="{typed}"' in answer.text, "what was typed is kept"
                for name in ("name", "title"):
                    assert name not in form or f'value="{form[name]}"' in answer.text, "and so are the other fields"
            assert await one.value("SELECT count(*) FROM journal") == before
            client.cookies.set("lt_lang", "vi")
            assert "Hãy viết một câu từ 8 đến 250 ký tự" in (await client.post(there, data=sent)).text
            answer = await client.post(there, data=sent | {field: f" {WHY}\n"})
            assert answer.status_code in (200, 303), answer.text
            data = await one.value("SELECT data FROM journal WHERE kind = $1 ORDER BY id DESC LIMIT 1", kind)
            assert data["why"] == WHY and (about is None or data[about] == what)
            if answer.status_code == 200:
                assert WHY not in answer.text, "a form that was taken comes back empty"

    asyncio.run(run())


def test_a_connector_is_not_made_with_a_profile_there_is_none_of(ledger: Any, tmp_path: Path) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None, manifests=manifests.load_all()) as client:
            csrf = await one.value("SELECT csrf FROM sessions")
            form = {
                "csrf": csrf, "system": "ministry", "kind": "rest", "scheme": "bearer", "name": "bo-gddt", "why": WHY, "/secrets/token": "t",
                "/profile": "khac",
                "/transport/base_url": "https://example.org/x", "/adapter/province_code": "31", "/adapter/source": "SGDDT-HP",
            }  # fmt: skip
            for lang, told in (
                ("en", "has no profile &#39;khac&#39;; there are: "),
                ("vi", "không có hồ sơ &#39;khac&#39;; có: "),
            ):
                client.cookies.set("lt_lang", lang)
                answer = await client.post("/connectors/new", data=form)
                place, _, text = answer.text.partition('id="f-profile-e"')
                assert answer.status_code == 422 and place and told + "profile-assumed-2026" in text[:300], answer.text
                assert 'value="khac"' in answer.text
            assert await one.value("SELECT count(*) FROM connectors") == 0
            answer = await client.post("/connectors/new", data=form | {"/profile": "profile-assumed-2026"})
            assert answer.status_code == 303, answer.text

    asyncio.run(run())
