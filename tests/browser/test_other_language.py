"""On a page that refuses a form the other language loses nothing that was typed, does nothing, and needs no script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import seed
from tests.browser.test_pages import OVERFLOW, UNREADABLE

OTHER = {"vi": "English", "en": "Tiếng Việt"}
TOLD = {"vi": "không ghi số định danh", "en": "without anybody's personal"}
PERSON = "Theo đơn của chị Hà, 0912 345 678"
SENTENCE = "Theo đề nghị của trường hôm nay"

FORMS = [
    ("users", "/users", "/users", "why", {"name": "nguoi-moi", "title": "Người mới", "role": "operator"}),
    ("pause", "/connectors/population", "/connectors/population/pause", "reason", {}),
    ("gate-move", "/gates/gate-02", "/gates/gate-02/move", "why", {"entrance": "Cổng sau", "direction": "out"}),
    ("sessions", f"/calendar?school={seed.SCHOOLS[0][0]}", "/calendar/sessions", "why", {"opens0": "07:10", "closes0": "11:20"}),
    ("replay", "/replay?connector=ministry", "/replay", "note", {}),
    ("export", "/receipts", "/receipts/export", "purpose", {"school": seed.SCHOOLS[0][0]}),
    ("verify", "/verify", "/verify", "purpose", {"school": seed.SCHOOLS[0][0], "officer": "CB-07"}),
]  # fmt: skip


@pytest.fixture
def plain(site: Any, browser: Any, sign_in: Any, _states: dict[str, Any]) -> Iterator[Any]:
    """`plain(width, lang)` gives an administrator's page in a browser without scripts."""
    sign_in("quantri")
    contexts = []

    def go(width: int, lang: str) -> Any:
        context = browser.new_context(
            base_url=site.url, viewport={"width": width, "height": 900}, java_script_enabled=False, storage_state=_states["quantri"]
        )  # fmt: skip
        context.add_cookies([{"name": "lt_lang", "value": lang, "url": site.url}])
        contexts.append(context)
        return context.new_page()

    yield go
    for context in contexts:
        context.close()


def fill(form: Any, name: str, value: str) -> None:
    field = form.locator(f"[name={name}]").last
    if field.evaluate("e => e.tagName") == "SELECT":
        field.select_option(value)
    else:
        field.fill(value)


def turn(page: Any, lang: str, width: int) -> None:
    """Take the other language where everybody looks for it."""
    if width < 900:
        page.locator(".menu-label").click()
    page.locator(f".who-links :text('{OTHER[lang]}')").click()
    page.wait_for_load_state()


def shot(page: Any, name: str) -> None:
    if shots := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=str(Path(shots) / f"language-{name}.png"), full_page=True)


@pytest.mark.parametrize(("width", "lang"), [(1280, "vi"), (390, "en")])
@pytest.mark.parametrize(("name", "address", "action", "why", "more"), FORMS, ids=[f[0] for f in FORMS])
def test_what_was_typed_stays(
    site: Any, plain: Any, lang: str, width: int, name: str, address: str, action: str, why: str, more: dict[str, str]
) -> None:
    page = plain(width, lang)
    now = "en" if lang == "vi" else "vi"
    page.goto(address)
    before = site.sql("SELECT (SELECT count(*) FROM journal) AS j, (SELECT count(*) FROM users) AS u")

    def form() -> Any:
        return page.locator(f"main form[method=post][action='{action}']").last

    page.evaluate("for (const d of document.querySelectorAll('main details')) d.open = true")
    for key, value in more.items():
        fill(form(), key, value)
    fill(form(), why, PERSON)
    form().locator("button").last.click()
    page.wait_for_load_state()
    assert TOLD[lang] in form().locator(".field-error").inner_text(), "a reason names nobody by number"
    shot(page, f"{name}-refused-{lang}-{width}")
    # What is typed after the refusal is what counts.
    fill(form(), why, f"{PERSON} và 0987654321")
    turn(page, lang, width)
    assert page.locator("html").get_attribute("lang") == now and "?" not in page.url and page.url.endswith(action)
    for key, value in more.items():
        assert form().locator(f"[name={key}]").last.input_value() == value, key
    assert form().locator(f"[name={why}]").input_value() == f"{PERSON} và 0987654321"
    assert TOLD[now] in form().locator(".field-error").inner_text()
    assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(UNREADABLE) == [], name
    shot(page, f"{name}-turned-{lang}-{width}")
    # With nothing wrong any more it is still only another language: nothing is done, and nothing is called wrong.
    fill(form(), why, SENTENCE)
    turn(page, now, width)
    assert page.locator("html").get_attribute("lang") == lang and page.locator(".field-error").count() == 0
    assert form().locator(f"[name={why}]").input_value() == SENTENCE
    for key, value in more.items():
        assert form().locator(f"[name={key}]").last.input_value() == value, key
    assert site.sql("SELECT (SELECT count(*) FROM journal) AS j, (SELECT count(*) FROM users) AS u") == before
    # It is remembered, and an address as ever is a link.
    page.goto(address)
    assert page.locator("html").get_attribute("lang") == lang
    assert page.locator(f".who-links a:text('{OTHER[lang]}')").count() == 1


def test_enter_in_the_form_sends_it_and_the_keyboard_finds_the_other_language(site: Any, plain: Any) -> None:
    page = plain(1280, "vi")
    page.goto("/connectors/population")
    reason = page.locator("form[action='/connectors/population/pause'] [name=reason]")
    reason.fill(PERSON)
    reason.press("Enter")
    page.wait_for_load_state()
    reason.fill(SENTENCE)
    page.locator("#lang").focus()
    assert page.locator("#lang").bounding_box()["x"] >= 0, "shown when it is reached"
    page.locator("#lang").press("Enter")
    page.wait_for_load_state()
    assert page.locator("html").get_attribute("lang") == "en" and reason.input_value() == SENTENCE
    before = site.sql("SELECT count(*) AS n FROM journal WHERE kind = 'pause'")[0]["n"]
    reason.press("Enter")
    page.wait_for_url("**/connectors/population*done=*")
    assert site.sql("SELECT count(*) AS n FROM journal WHERE kind = 'pause'")[0]["n"] == before + 1
    resume = page.locator("form[action='/connectors/population/resume'] [name=why]")
    resume.fill(SENTENCE)
    resume.press("Enter")
    page.wait_for_url("**/connectors/population*done=*")


@pytest.mark.parametrize("width", [1280, 390])
def test_settings_of_a_connector_stay_as_they_were_typed_but_secrets(site: Any, plain: Any, width: int) -> None:
    page = plain(width, "vi")
    page.goto("/connectors/population/edit")
    before = site.sql("SELECT revision FROM connectors WHERE name = 'population'")
    address = page.locator("[name='/transport/base_url']")
    address.fill("không phải địa chỉ")
    secret = page.locator("main [type=password]").first
    secret.fill("bí-mật-vừa-gõ")
    page.fill("#why", SENTENCE)
    page.locator("button.main").click()
    page.wait_for_load_state()
    assert page.locator(".field-error").count() >= 1
    address.fill("https://khac.example.vn")
    secret.fill("bí-mật-vừa-gõ")
    turn(page, "vi", width)
    assert page.locator("html").get_attribute("lang") == "en"
    assert address.input_value() == "https://khac.example.vn" and page.input_value("#why") == SENTENCE
    assert "bí-mật-vừa-gõ" not in page.content(), "a secret is never shown again"
    assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(UNREADABLE) == []
    assert site.sql("SELECT revision FROM connectors WHERE name = 'population'") == before
    shot(page, f"settings-{width}")


@pytest.mark.parametrize("width", [1280, 390])
def test_days_off_without_dates_that_fit_stay_too(site: Any, plain: Any, width: int) -> None:
    page = plain(width, "vi")
    page.goto("/calendar")
    form = page.locator("form[action='/calendar/days']")
    form.locator("[name=title]").fill("Nghỉ bão")
    form.locator("[name=since]").fill("2027-01-05")
    form.locator("[name=until]").fill("2027-01-04")
    form.locator("button").last.click()
    page.wait_for_load_state()
    form.locator("[name=until]").fill("2027-01-06")
    turn(page, "vi", width)
    assert page.locator("html").get_attribute("lang") == "en"
    assert [form.locator(f"[name={n}]").input_value() for n in ("title", "since", "until")] == [
        "Nghỉ bão",
        "2027-01-05",
        "2027-01-06",
    ]
    assert site.sql("SELECT count(*) AS n FROM days_off WHERE title = 'Nghỉ bão' AND since = '2027-01-05'")[0]["n"] == 0


def test_the_name_at_the_door_stays_and_so_does_where_one_was_going(site: Any, browser: Any) -> None:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/login?next=%2Fcalendar")
    page.fill("[name=name]", "quantri")
    page.fill("[name=password]", "không phải mật khẩu")
    page.click("button.main")
    page.click("button:has-text('English')")
    assert page.locator("html").get_attribute("lang") == "en" and page.input_value("[name=name]") == "quantri"
    assert page.input_value("[name=password]") == "" and page.url.endswith("/login")
    shot(page, "door")
    page.fill("[name=password]", seed.PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/calendar")
    context.close()
