"""What nobody may do: forms without their token, roles and scopes overstepped, names that are scripts."""

from __future__ import annotations

import re

import pytest
from fastapi.routing import APIRoute

import hub.console
from tests.browser.seed import EVIL, SCHOOLS
from tests.browser.test_pages import pages

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
}
CHANGES = "SELECT count(*) FROM journal WHERE kind NOT IN ('sign_in', 'sign_out', 'sign_in_blocked')"


def forms(site) -> list[str]:
    """The address of every form of the console that needs a session, with real things in its place-holders."""
    task = site.sql("SELECT id FROM tasks WHERE state = 'open' ORDER BY id LIMIT 1")[0]["id"]
    delivery = site.sql("SELECT id, record, intent FROM deliveries WHERE state = 6 LIMIT 1")[0]
    real = {
        "{message}": site.ids["roster"], "{record}": delivery["record"], "{call}": delivery["intent"], "{delivery}": delivery["id"], "{task}": task,
    }  # fmt: skip
    found = []
    for route in hub.console.router.routes:
        if isinstance(route, APIRoute) and "POST" in route.methods and route.path != "/login":
            path = route.path
            for mark, value in real.items():
                path = path.replace(mark, str(value))
            found.append(path.replace("{name}", "giamsat" if path.startswith("/users") else "ministry"))
    return found


def _token(page) -> str:
    page.goto("/password")
    return str(page.locator("[name=csrf]").first.input_value())


def test_every_form_needs_its_token(site, sign_in) -> None:
    page = sign_in("quantri")
    token = _token(page)
    paths = forms(site)
    assert len(paths) >= 14
    before = site.sql(CHANGES)
    for path in paths:
        assert (
            page.context.request.post(path, form={"reason": "x", "note": "x", "purpose": "kiểm tra"}).status == 403
        ), path
        assert page.context.request.post(path, form={"csrf": token[:-1] + "x", "note": "x"}).status == 403, path
        elsewhere = page.context.request.post(
            path, form={"csrf": token}, headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        )
        assert elsewhere.status == 403, path
    assert site.sql(CHANGES) == before


def test_an_auditor_changes_nothing(site, sign_in) -> None:
    page = sign_in("giamsat")
    token = _token(page)
    before = site.sql(CHANGES)
    for path in forms(site):
        if path in ("/logout", "/password"):
            continue
        form = {
            "csrf": token,
            "reason": "x",
            "note": "x",
            "purpose": "kiểm tra thử",
            "resolution": "release",
            "connector": "ministry",
        }
        assert page.context.request.post(path, form=form).status == 403, path
    assert site.sql(CHANGES) == before
    for path in ("/users", "/replay", "/connectors/ministry/edit"):
        assert page.context.request.get(path).status == 403, path
    page.goto("/audit")
    assert page.locator("h1").inner_text() == "Nhật ký"
    for path in pages(site).values():
        if path.split("?")[0] in ("/users", "/replay", "/connectors/population/edit", "/password"):
            continue
        page.goto(path)
        assert page.locator("main form[method=post]").count() == 0, f"{path} offers what an auditor may not do"


def test_an_operator_administers_nothing(site, sign_in) -> None:
    page = sign_in("vanhanh")
    token = _token(page)
    for path in ("/users", "/connectors/ministry/edit", "/audit"):
        assert page.context.request.get(path).status == 403, path
    for path in ("/users", "/users/giamsat/block", "/users/giamsat/password", "/connectors/ministry/edit"):
        assert page.context.request.post(path, form={"csrf": token, "blocked": "yes"}).status == 403, path


def test_a_school_sees_its_own_and_nothing_else(site, sign_in) -> None:
    """Two schools: whatever page a user of the first asks for, nothing of the others is on it."""
    page = sign_in("truong1")
    others = {r["key"] for r in site.sql("SELECT key FROM records WHERE school <> $1", SCHOOLS[0][0])}
    mine = {r["key"] for r in site.sql("SELECT key FROM records WHERE school = $1", SCHOOLS[0][0])}
    seen = ""
    for name, path in pages(site).items():
        answer = page.context.request.get(path, headers={"accept": "text/html"})
        assert answer.status in (200, 403, 404), name
        text = answer.text()
        seen += text
        assert not [key for key in others if key in text], name
        for _code, school, _ward in SCHOOLS[1:]:
            assert school not in text, name
    assert [key for key in mine if key in seen], "their own is there"
    foreign = site.sql("SELECT id, message FROM records WHERE school = $1 LIMIT 1", SCHOOLS[1][0])[0]
    locked = site.sql("SELECT id FROM tasks WHERE cause = 'period_locked'")[0]["id"]
    batch = site.sql(
        "SELECT c.id FROM calls c JOIN deliveries_closed d ON d.id = ANY (c.deliveries) WHERE d.school <> $1 LIMIT 1",
        SCHOOLS[0][0],
    )[0]["id"]
    for path in (
        f"/records/{foreign['id']}",
        f"/messages/{foreign['message']}",
        f"/parked/{locked}",
        f"/calls/{batch}",
        "/gates/gate-03",
    ):
        assert page.context.request.get(path).status == 404, path
    for path in ("/audit", "/users", "/connectors/ministry/edit"):
        assert page.context.request.get(path).status == 403, path
    token = _token(page)
    theirs = site.sql("SELECT id FROM deliveries WHERE school = $1 AND state = 5 LIMIT 1", SCHOOLS[1][0])[0]["id"]
    for path in (f"/deliveries/{theirs}/cancel", f"/parked/{locked}/resolve", f"/records/{foreign['id']}/unmask"):
        assert (
            page.context.request.post(
                path, form={"csrf": token, "note": "x", "resolution": "release", "purpose": "tò mò thôi"}
            ).status
            == 404
        ), path
    for path in ("/connectors/ministry/pause", "/connectors/ministry/probe", "/codes/approve"):
        assert page.context.request.post(path, form={"csrf": token, "reason": "x", "note": "x"}).status == 403, path
    for query in (f"school={SCHOOLS[1][0]}&states=delivered", "connector=ministry&states=dead&states=delivered"):
        text = page.context.request.get(f"/replay?{query}").text()
        assert not [key for key in others if key in text], query


def test_names_that_are_scripts_are_text(site, sign_in) -> None:
    page = sign_in("quantri")
    page.goto(f"/messages/{site.ids['evil']}")
    assert EVIL in page.locator("dl.facts").inner_text()
    site.sql("UPDATE users SET title = $1 WHERE name = 'giamsat'", EVIL)
    site.sql("UPDATE schools SET name = name || $1 WHERE code = $2", EVIL, SCHOOLS[2][0])
    try:
        page.goto("/users")
        assert EVIL in page.locator("main").inner_text()
        for path in (
            f"/messages?q={EVIL}",
            f"/messages?type={EVIL}&school={EVIL}",
            f"/codes/systems/vn-ward?q={EVIL}",
            f"/?done={EVIL}",
            f"/audit?actor={EVIL}",
        ):
            page.goto(path)
            assert page.evaluate("window.hacked") is None, path
        record = site.sql("SELECT id FROM records WHERE message = $1", site.ids["evil"])[0]["id"]
        page.goto(f"/records/{record}")
        page.locator("summary", has_text="Xem rõ").click()
        page.fill("[name=purpose]", "kiểm tra tên lạ")
        page.click("text=Hiện rõ")
        assert "window.hacked=1" in page.locator("pre").first.inner_text()
        assert page.evaluate("window.hacked") is None
    finally:
        site.sql("UPDATE users SET title = 'Vũ Ngọc Lan, thanh tra' WHERE name = 'giamsat'")
        site.sql("UPDATE schools SET name = $1 WHERE code = $2", SCHOOLS[2][1], SCHOOLS[2][0])


@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/messages", "/live/overview"])
def test_headers(site, sign_in, path: str) -> None:
    answer = sign_in().context.request.get(path, headers={"accept": "text/html"})
    for name, value in HEADERS.items():
        assert answer.headers[name] == value, name
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|<[^>]*\s(on[a-z]+|style)=", answer.text()), "nothing inline"


def test_static_files_are_kept(site, sign_in) -> None:
    page = sign_in()
    page.goto("/")
    for address in page.evaluate(
        "[...document.querySelectorAll('link[href],script[src],img[src]')].map(e => e.href || e.src)"
    ):
        answer = page.context.request.get(address)
        assert answer.status == 200 and "immutable" in answer.headers["cache-control"], address
        assert address.startswith(site.url), "nothing from elsewhere"
