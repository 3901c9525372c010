"""The gates' registry in a real browser: the wards, one school, one gate, and what is ordered about it."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from tests.browser.test_pages import OVERFLOW, UNREADABLE


def looked_at(page: Any, name: str) -> None:
    if folder := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(UNREADABLE) == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_gates_read_well(site: Any, sign_in: Any, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    page.goto("/gates")
    assert page.locator("table tbody tr").count() >= 4
    looked_at(page, f"gates-{lang}-{width}")
    page.goto("/gates?state=offline")
    assert page.locator("table tbody tr").count() < 4
    page.goto("/gates?q=gate-01")
    assert page.locator("table tbody tr").count() == 1
    page.locator("table tbody tr a[href^='/gates/school/']").first.click()
    page.wait_for_url("**/gates/school/**")
    looked_at(page, f"gates-school-{lang}-{width}")
    page.goto("/gates/gate-01")
    for summary in page.locator("details summary").all():
        summary.click()
    looked_at(page, f"gate-{lang}-{width}")


def test_orders_about_a_gate(site: Any, sign_in: Any) -> None:
    page = sign_in(width=1280)
    page.goto("/gates/gate-04")
    page.fill("form[action$='/code'] [name=why]", "Lắp lại sau khi sửa")
    page.click("form[action$='/code'] button")
    assert re.fullmatch(r"[0-9A-Z]{5}-[0-9A-Z]{5}", page.inner_text("code.secret"))
    page.goto("/gates/gate-04")
    assert page.locator("code.secret").count() == 0
    page.locator("details", has=page.locator("form[action$='/trace']")).locator("summary").click()
    page.fill("form[action$='/trace'] input[name=why]", "Trường báo mất sự kiện")
    page.click("form[action$='/trace'] button")
    page.wait_for_selector("form[action$='/trace/stop']")
    page.locator("details", has=page.locator("form[action$='/replace']")).locator("summary").click()
    form = page.locator("form[action$='/replace']")
    form.locator("input[name=new]").fill("gate-04b")
    form.locator("input[name=why]").fill("Máy cũ hỏng màn hình")
    form.locator("button").click()
    page.wait_for_selector("code.secret")
    assert "gate-04b" in page.content()
    assert page.locator("dd a", has_text="mã của Sở").count() == 1
    page.goto("/gates/gate-04")
    assert page.locator("a[href='/gates/gate-04b']").count() == 1
    assert page.locator("form[action$='/move']").count() == 0
    page.goto("/gates/gate-04b")
    page.locator("details", has=page.locator("form[action$='/revoke']")).locator("summary").click()
    page.fill("form[action$='/revoke'] input[name=why]", "Dọn sau khi thử")
    page.click("form[action$='/revoke'] button")
    page.wait_for_selector(".chip.s-dead")
    assert site.sql("SELECT state FROM devices WHERE id = 'gate-04b'")[0]["state"] == "revoked"
    kinds = {r["kind"] for r in site.sql("SELECT kind FROM journal WHERE kind LIKE 'gate_%'")}
    assert {"gate_code", "gate_traced", "gate_replaced", "gate_registered", "gate_revoked"} <= kinds
