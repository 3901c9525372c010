"""Every form that asks why says what it wants first, refuses what is no sentence at its field and gives back what was typed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.routing import Match

import hub.console
from tests.browser import seed
from tests.browser.test_pages import OVERFLOW, UNREADABLE, pages
from tests.unit.console.test_reasons import AT_TIMES, NONE, PURPOSE, REASON

FIELDS = ("why", "note", "reason", "purpose")
READ = """() => [...document.querySelectorAll('main form[method=post]')].map(form => ({
  action: new URL(form.action).pathname,
  fields: [...form.elements].filter(e => e.name && (!['radio', 'checkbox'].includes(e.type) || e.checked) && e.type !== 'file')
    .map(e => ({name: e.name, value: e.value, asks: e.closest('.why') !== null || e.id === 'why',
                least: e.minLength, most: e.maxLength, must: e.required})),
}))"""
TOLD = {"vi": "Hãy viết một câu từ 8 đến 250 ký tự", "en": "Write a sentence of 8 to 250 characters"}


def where(site: Any) -> list[str]:
    """The pages with forms, of things that are there."""
    waiting = site.sql("SELECT id, record FROM deliveries WHERE state = 4 ORDER BY id LIMIT 1")[0]
    return [
        *pages(site).values(), f"/records/{waiting['record']}", "/people", "/calendar", f"/calendar?school={seed.SCHOOLS[0][0]}",
        "/verify", "/reconcile", "/filings/portal", "/filings/inbox", "/gates/gate-02", "/gates/gate-01/pictures",
    ]  # fmt: skip


def of_route(path: str) -> str:
    scope = {"type": "http", "path": path, "method": "POST", "root_path": "", "headers": []}
    return next(str(r.path) for r in hub.console.router.routes if r.matches(scope)[0] is Match.FULL)  # type: ignore[attr-defined]


def test_every_form_there_is_asks_as_it_is_said_to(site: Any, sign_in: Any) -> None:
    page = sign_in("quantri", lang="vi")
    before = site.sql("SELECT count(*) FROM journal")
    seen: set[str] = set()
    for address in where(site):
        page.goto(address)
        for form in page.evaluate(READ):
            route = of_route(form["action"])
            asked = [f for f in form["fields"] if f["asks"]]
            accepted = {f["name"]: f["value"] for f in form["fields"]}.get("accept")
            assert bool(asked) is (route in REASON | PURPOSE or (route in AT_TIMES and accepted == "yes")), form
            assert route in REASON | PURPOSE or route in AT_TIMES or route in NONE, route
            if not asked or route in seen:
                continue
            (field,) = asked
            assert field["name"] in FIELDS and (field["least"], field["most"], field["must"]) == (8, 250, True), form
            if route in ("/connectors/new", "/connectors/{name}/edit"):  # their own tests: every field has its error
                continue
            seen.add(route)
            sent = [(f["name"], "vắn<tắt" if f is field else f["value"]) for f in form["fields"]]
            kind = {"content-type": "application/x-www-form-urlencoded"}
            answer = page.context.request.post(form["action"], data=urlencode(sent), headers=kind)
            text = answer.text()
            assert answer.status == 422 and text.count(TOLD["vi"]) == 1, (route, answer.status, text[-400:])
            assert f'name="{field["name"]}" value="vắn&lt;tắt"' in text, f"{route}: what was typed is kept"
    assert site.sql("SELECT count(*) FROM journal") == before, "nothing was done, nothing shown"
    unseen = (REASON | PURPOSE) - seen
    assert unseen <= {
        "/connectors/new", "/connectors/{name}/edit", "/connectors/{name}/resume", "/connectors/{name}/shares/resume", "/calendar/days/{number}/remove",
        "/filings/inbox/{entry}", "/filings/portal/callback/{connector}", "/filings/portal/callback/{connector}/end",
        "/gates/{gate}/pictures/{picture}", "/gates/{gate}/pictures/keep", "/parked/send-anyway", "/people/link", "/people/show", "/people/offset",
        "/people/links/{number}/undo", "/reconcile/{given}/repair", "/records/{record}/correct/send", "/verify/{verification}/cancel",
    }, sorted(unseen)  # fmt: skip


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_short_reason_is_refused_at_its_field_and_read_well(site: Any, sign_in: Any, lang: str, width: int) -> None:
    page = sign_in("quantri", width=width, lang=lang)
    waiting = site.sql("SELECT id, record FROM deliveries WHERE state = 4 ORDER BY id LIMIT 1")[0]
    record = f"/records/{waiting['record']}"
    for name, address, action, more in (
        ("users", "/users", "/users", {"name": "moi-nua", "title": "Người mới", "role": "auditor"}),
        ("block", "/users", "/users/giamsat/block", {}),
        ("pause", "/connectors/population", "/connectors/population/pause", {}),
        ("gate-move", "/gates/gate-02", "/gates/gate-02/move", {"entrance": "Cổng sau"}),
        ("record", record, f"/deliveries/{waiting['id']}/cancel", {}),
        ("unmask", record, f"{record}/unmask", {}),
        ("namespace", "/people", "/people/namespace", {"device": "gate-02", "whose": "device"}),
        ("sessions", f"/calendar?school={seed.SCHOOLS[0][0]}", "/calendar/sessions", {"opens0": "07:10", "closes0": "11:20"}),
        ("replay", "/replay?connector=ministry", "/replay", {}),
        ("export", "/receipts", "/receipts/export", {}),
    ):  # fmt: skip
        page.goto(address)
        form = page.locator(f"main form[method=post][action='{action}']").first
        page.evaluate("for (const d of document.querySelectorAll('main details')) d.open = true")
        for key, value in more.items():
            field = form.locator(f"[name={key}]")
            if field.evaluate("e => e.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)
        why = form.locator(".why input")
        assert "8–250" in form.locator(".why label").inner_text()
        why.fill(" " * 12)
        form.evaluate("e => { e.noValidate = true }")
        form.locator("button").last.click()
        page.wait_for_load_state()
        again = page.locator(f"main form[method=post][action='{action}']", has=page.locator(".why.wrong")).first
        assert page.locator(".why.wrong").count() == 1, name
        assert TOLD[lang] in again.locator(".field-error").inner_text() and again.locator(".why input").is_visible(), (
            name
        )
        for key, value in more.items():
            assert again.locator(f"[name={key}]").input_value() == value, (name, key)
        assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true", name
        assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(UNREADABLE) == [], name
        if shots := os.environ.get("CONSOLE_SHOTS"):
            page.screenshot(path=str(Path(shots) / f"reason-{name}-{lang}-{width}.png"), full_page=True)


def test_a_link_refused_for_its_reason_keeps_what_was_chosen_and_stays_in_clear(site: Any, sign_in: Any) -> None:
    page = sign_in("quantri", lang="en")
    page.goto("/people")
    token = page.locator("[name=csrf]").first.input_value()
    form = {"csrf": token, "namespace": "gate-01", "local": "00017", "other": "HS31000001", "why": "short"}
    before = site.sql("SELECT count(*) AS n FROM journal WHERE kind = 'unmask'")[0]["n"]
    answer = page.context.request.post("/people/link", form=form)
    assert (
        answer.status == 422 and site.sql("SELECT count(*) AS n FROM journal WHERE kind = 'unmask'")[0]["n"] == before
    )
    answer = page.context.request.post("/people/link", form=form | {"purpose": "Linking ids of the device"})
    assert answer.status == 422 and re.search(r'name="purpose" value="Linking ids of the device"', answer.text())
    assert site.sql("SELECT count(*) AS n FROM journal WHERE kind = 'unmask'")[0]["n"] == before + 1, (
        "shown again: journaled again"
    )
