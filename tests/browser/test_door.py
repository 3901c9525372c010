"""Coming in and going out: passwords, one-time passwords, sessions, limits."""

from __future__ import annotations

import hashlib

from tests.browser.seed import PASSWORD


def _fill(page, name: str, password: str) -> None:
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.click("button.main")


def test_sign_in_and_out(site, browser) -> None:
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/messages?type=learner")
    assert "/login?next=" in page.url
    _fill(page, "vanhanh", "không phải mật khẩu này")
    assert page.locator("[role=alert]").inner_text() == "Tên đăng nhập hoặc mật khẩu không đúng."
    assert page.input_value("[name=name]") == "vanhanh"
    _fill(page, "vanhanh", PASSWORD)
    (cookie,) = [c for c in context.cookies() if c["name"] == "lt_session"]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    assert len(cookie["value"]) >= 43, "256 random bits"
    digest = hashlib.sha256(cookie["value"].encode()).digest()
    assert site.sql("SELECT user_name FROM sessions WHERE digest = $1", digest)[0]["user_name"] == "vanhanh"
    page.click("text=Đăng xuất")
    page.wait_for_url("**/login")
    assert site.sql("SELECT 1 FROM sessions WHERE digest = $1", digest) == []
    context.add_cookies([cookie])
    page.goto("/")
    assert page.url.endswith("/login"), "the old token is worth nothing"
    context.close()


def test_after_sign_in_only_addresses_of_ours(site, browser) -> None:
    for there in ("//evil.example", "https://evil.example", "/\\evil.example", "/%5Cevil.example"):
        context = browser.new_context(base_url=site.url)
        page = context.new_page()
        page.goto(f"/login?next={there}")
        _fill(page, "giamsat", PASSWORD)
        page.wait_for_load_state()
        assert page.url.startswith(site.url), there
        context.close()


def test_one_time_password_must_be_changed(site, sign_in, browser) -> None:
    admin = sign_in("quantri")
    admin.goto("/users")
    admin.fill("form.card [name=name]", "moi")
    admin.fill("form.card [name=title]", "Người mới")
    admin.fill("form.card [name=why]", "Tiếp nhận từ hôm nay")
    admin.click("form.card button.main")
    once = admin.locator("code.secret").inner_text()
    admin.goto("/users")
    assert once not in admin.content(), "shown once only"

    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/login")
    _fill(page, "moi", once)
    assert page.url.endswith("/password")
    page.goto("/messages")
    assert page.url.endswith("/password"), "nothing else before the change"
    for new, error in (
        ("ngắn", None),
        ("moi-moi-moi-moi", "Mật khẩu không được chứa tên đăng nhập."),
        ("aaaaaaaaaaaaaa", "Mật khẩu quá đơn giản."),
    ):
        page.fill("[name=old]", once)
        page.fill("[name=new]", new)
        page.fill("[name=again]", new)
        page.locator("form.stack").evaluate("f => f.noValidate = true")
        page.click("button.main")
        found = page.locator("[role=alert]").inner_text()
        assert found == (error or "Mật khẩu mới phải có ít nhất 12 ký tự.")
    page.fill("[name=old]", once)
    page.fill("[name=new]", PASSWORD)
    page.fill("[name=again]", PASSWORD)
    page.click("button.main")
    assert page.locator(".flash").inner_text() == "Đã đổi mật khẩu."

    # Blocked by the administrator: the running session ends at once.
    admin.goto("/users")
    row = admin.locator("tr", has_text="Người mới")
    row.locator("summary", has_text="Chặn").click()
    row.locator("form[action$='/block'] [name=why]").fill("Đã nghỉ việc từ hôm nay")
    row.get_by_role("button", name="Chặn").click()
    (line,) = site.sql("SELECT data FROM journal WHERE kind = 'block_user'")
    assert "Đã nghỉ việc từ hôm nay" in line["data"]
    page.goto("/messages")
    assert "/login" in page.url
    _fill(page, "moi", PASSWORD)
    assert page.locator("[role=alert]").count() == 1
    context.close()


def test_many_wrong_passwords_make_wait(site, sign_in, browser) -> None:
    admin = sign_in("quantri")
    admin.goto("/users")
    admin.fill("form.card [name=name]", "quen")
    admin.fill("form.card [name=title]", "Hay quên")
    admin.fill("form.card [name=why]", "Tiếp nhận từ hôm nay")
    admin.click("form.card button.main")
    once = admin.locator("code.secret").inner_text()
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/login")
    for _ in range(5):
        _fill(page, "quen", "sai mật khẩu rồi nhé")
    _fill(page, "quen", once)
    assert "Sai nhiều lần" in page.locator("[role=alert]").inner_text(), "the right one does not help while blocked"
    site.sql("UPDATE users SET blocked_until = now() - interval '1 second' WHERE name = 'quen'")
    _fill(page, "quen", once)
    assert page.url.endswith("/password")
    context.close()


def test_sessions_end(site, browser) -> None:
    for spoil in ("seen_at = now() - interval '2 hours'", "until = now()"):
        context = browser.new_context(base_url=site.url)
        page = context.new_page()
        page.goto("/login")
        _fill(page, "giamsat", PASSWORD)
        page.wait_for_url(f"{site.url}/")
        token = next(c["value"] for c in context.cookies() if c["name"] == "lt_session")
        digest = hashlib.sha256(token.encode()).digest()
        # A page that refreshes itself keeps nothing alive.
        site.sql("UPDATE sessions SET seen_at = now() - interval '30 minutes' WHERE digest = $1", digest)
        before = site.sql("SELECT seen_at FROM sessions WHERE digest = $1", digest)
        assert context.request.get("/live/overview", headers={"x-live": "1"}).status == 200
        assert site.sql("SELECT seen_at FROM sessions WHERE digest = $1", digest) == before
        site.sql(f"UPDATE sessions SET {spoil} WHERE digest = $1", digest)
        assert context.request.get("/live/overview", headers={"x-live": "1"}).status == 401
        page.goto("/")
        assert "/login" in page.url
        context.close()


def test_sign_in_form_of_another_page_is_refused(site, browser) -> None:
    context = browser.new_context(base_url=site.url)
    answer = context.request.post("/login", form={"name": "vanhanh", "password": PASSWORD, "proof": "x"})
    assert answer.status == 403
    assert not [c for c in context.cookies() if c["name"] == "lt_session"]
    answer = context.request.post(
        "/login", form={"name": "vanhanh", "password": PASSWORD}, headers={"origin": "https://evil.example"}
    )
    assert answer.status == 403
    context.close()
