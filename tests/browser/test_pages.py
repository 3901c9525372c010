"""Every page, in both languages, wide and narrow: there, readable, nothing sticking out, no script errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.kernel.receipts import receipt_code

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNREADABLE = """() => [...document.querySelectorAll('main a, main button, main input, main select, main label, main td, main h1, main h2')]
  .filter(e => e.getClientRects().length
    && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest('.table')).map(e => e.outerHTML.slice(0, 120))"""


def pages(site) -> dict[str, str]:
    """Every kind of page there is, by name."""
    record = site.sql("SELECT id FROM records WHERE message = $1 ORDER BY id LIMIT 1", site.ids["odd"])[0]["id"]
    uncertain = site.sql("SELECT record, intent FROM deliveries WHERE state = 6 LIMIT 1")[0]
    task = site.sql("SELECT id FROM tasks WHERE cause = 'period_locked'")[0]["id"]
    return {
        "overview": "/", "connectors": "/connectors", "connector": "/connectors/public_service", "edit": "/connectors/population/edit",
        "connector-new": "/connectors/new", "connector-new-form": "/connectors/new?system=public_service",
        "connector-new-files": "/connectors/new?system=ministry&kind=sftp",
        "messages": "/messages", "message": f"/messages/{site.ids['roster']}", "message-gate": "/messages?type=checkin",
        "receipts": "/receipts", "receipt": f"/receipts/{receipt_code(site.keys.hmac('receipt'), site.ids['roster'])}", "record": f"/records/{record}",
        "record-uncertain": f"/records/{uncertain['record']}", "call": f"/calls/{uncertain['intent']}", "deliveries": "/deliveries?state=parked",
        "deliveries-closed": "/deliveries?state=delivered&connector=ministry", "parked": "/parked", "task": f"/parked/{task}", "codes": "/codes",
        "code-system": "/codes/systems/vn-ward?q=hong+bang", "crosswalk": "/codes/crosswalks/vn-ward-2024--vn-ward", "gates": "/gates",
        "gate": "/gates/gate-01", "airflow": "/airflow", "replay": "/replay?connector=ministry", "audit": "/audit", "users": "/users",
        "password": "/password",
    }  # fmt: skip


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_every_page(site, sign_in, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    shots = os.environ.get("CONSOLE_SHOTS")
    for name, path in pages(site).items():
        answer = page.goto(path)
        assert answer is not None and answer.status == 200, name
        assert page.get_attribute("html", "lang") == lang, name
        assert page.locator("main h1").count() == 1, name
        assert page.evaluate(OVERFLOW) <= 0, f"{name} is wider than the screen"
        assert page.evaluate(UNREADABLE) == [], name
        if shots:
            page.screenshot(path=str(Path(shots) / f"{name}-{lang}-{width}.png"), full_page=True)


def test_dark(site, sign_in) -> None:
    page = sign_in(dark=True)
    page.goto("/")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sign_in()
    light.goto("/")
    assert dark != light.evaluate("getComputedStyle(document.body).backgroundColor")
    if shots := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=str(Path(shots) / "overview-dark.png"))


def test_language_switch_is_kept(site, sign_in) -> None:
    page = sign_in(lang="vi")
    page.goto("/messages?type=learner")
    page.click("text=English")
    assert page.get_attribute("html", "lang") == "en" and "type=learner" in page.url
    page.goto("/parked")
    assert page.locator("h1").inner_text() == "Needs a person"
    page.click("text=Tiếng Việt")
    assert page.locator("h1").inner_text() == "Việc cần xử lý"


def test_overview_tells_how_things_are(site, sign_in) -> None:
    page = sign_in(lang="en")
    page.goto("/")
    text = page.locator("main").inner_text()
    assert "Nothing lost" in text or "nothing lost" in text, "the accounting identity holds in the seeded hub"
    portal = page.locator("article.conn", has_text="public_service").inner_text()
    assert "Recovering" in portal and "Uncertain 2" in portal and "Waiting 2" in portal and "led by airflow" in portal
    ministry = page.locator("article.conn", has_text="ministry").first.inner_text()
    assert "Needs attention" in ministry and "Parked 9" in ministry
    assert "13,250/20,000" in page.locator("article.conn", has_text="population").inner_text()
    assert "worker-1" in text and "1 restarts" in text


def test_overview_refreshes_itself(site, sign_in) -> None:
    page = sign_in(lang="en")
    page.goto("/")
    before = page.locator(".live").inner_text()
    page.wait_for_function("before => document.querySelector('.live').innerText !== before", arg=before, timeout=15_000)


def test_readable_without_script(site, sign_in, browser) -> None:
    cookies = sign_in().context.cookies()
    context = browser.new_context(base_url=site.url, java_script_enabled=False, viewport={"width": 390, "height": 800})
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto("/")
    assert "ministry" in page.content() and page.locator("h1").inner_text() == "Tổng quan"
    page.click("label[for=menu]")
    page.click("nav >> text=Bảng mã")
    assert page.url.endswith("/codes")
    context.close()


def test_error_pages_are_pages(site, sign_in) -> None:
    page = sign_in("vanhanh")
    for path in (
        "/nowhere",
        "/messages/123",
        "/messages/abc",
        "/records/99999999999999999999",
        "/connectors/none",
        "/codes/systems/none",
        "/gates/none",
    ):
        answer = page.context.request.get(path, headers={"accept": "text/html"})
        assert answer.status == 404, path
        assert "Về trang tổng quan" in answer.text(), path
    assert page.context.request.get("/v1/nowhere").headers["content-type"].startswith("application/problem+json")
