"""What people do there: resolve, approve, look closely, send again, configure. Ordered: each takes what it needs from the seed."""

from __future__ import annotations

import json
import os

import pytest

from tests.browser.seed import person
from tests.browser.test_pages import OVERFLOW, UNREADABLE


def test_masked_until_a_purpose_is_stated(site, sign_in) -> None:
    page = sign_in("vanhanh")
    record = site.sql("SELECT id FROM records WHERE message = $1 ORDER BY id LIMIT 1", site.ids["roster"])[0]["id"]
    call = site.sql("SELECT call FROM deliveries_closed WHERE record = $1", record)[0]["call"]
    name = person(0)
    for path in (f"/messages/{site.ids['roster']}", f"/records/{record}", f"/calls/{call}"):
        page.goto(path)
        assert name not in page.content() and "0912" not in page.content() and "031085001234" not in page.content(), (
            path
        )
        shown = page.locator("pre:not(.headers)").first.inner_text()
        assert "•" in shown, path
        assert '"ethnicity": "01"' not in shown, path
        page.locator("summary", has_text="Xem rõ").click()
        page.fill("[name=purpose]", "đối chiếu với nhà trường")
        page.click("text=Hiện rõ")
        assert name in page.content(), path
        page.goto(path)
        assert name not in page.content(), "this once only"
    lines = site.sql("SELECT actor, subject, data FROM journal WHERE kind = 'unmask' ORDER BY id")
    assert [r["subject"] for r in lines][-3:] == [site.ids["roster"], record, call]
    assert json.loads(lines[-1]["data"])["purpose"] == "đối chiếu với nhà trường"


def test_unmasking_needs_a_real_purpose(site, sign_in) -> None:
    page = sign_in("vanhanh")
    page.goto("/password")
    token = page.locator("[name=csrf]").first.input_value()
    before = site.sql("SELECT count(*) FROM journal WHERE kind = 'unmask'")
    answer = page.context.request.post(
        f"/messages/{site.ids['roster']}/unmask", form={"csrf": token, "purpose": "  x "}
    )
    assert answer.status == 422 and person(0) not in answer.text()
    assert site.sql("SELECT count(*) FROM journal WHERE kind = 'unmask'") == before


def test_find_by_key_and_receipt(site, sign_in) -> None:
    page = sign_in("vanhanh", lang="en")
    page.goto("/messages")
    page.fill("[name=q]", "HS31000003")
    page.press("[name=q]", "Enter")
    assert page.locator("tbody tr").count() == 1
    code = page.locator("tbody tr code").first.inner_text()
    page.goto("/messages")
    page.fill("[name=q]", code.lower().replace("-", " "))
    page.click("text=Find >> nth=-1")
    assert page.locator("tbody tr code").first.inner_text() == code
    page.click(f"text={code}")
    assert "Rejected (2)" in page.content() and "The birth date must look like" in page.content()
    page.goto("/messages?outcome=invalid")
    assert page.locator("tbody tr").count() == 1
    page.goto("/messages?outcome=rejects")
    assert page.locator("tbody tr").count() >= 1


def test_lineage_leads_to_the_exchange(site, sign_in) -> None:
    page = sign_in("vanhanh", lang="en")
    page.goto(f"/messages/{site.ids['roster']}")
    page.click("text=HS31000000")
    assert "Canonical form" in page.content() and "vn-sex" in page.content()
    page.click("text=Request and reply")
    assert "Request" in page.content() and page.locator(".http.ok").inner_text() == "200"


def test_code_approval_releases_exactly_what_waited(site, sign_in) -> None:
    page = sign_in("vanhanh")
    waiting = site.sql(
        "SELECT id FROM deliveries WHERE state = 5 AND task IN (SELECT id FROM tasks WHERE subject LIKE '%Ki-nh%')"
    )
    other = site.sql("SELECT count(*) FROM deliveries WHERE state = 5")[0][0] - len(waiting)
    page.goto("/codes")
    item = page.locator("article.unmapped", has_text="Ki-nh")
    assert "Trường Tiểu học Bạch Đằng (6)" in item.inner_text()
    item.locator("label", has_text="Kinh").first.click()
    item.locator("[name=note]").fill("Danh mục dân tộc")
    item.get_by_role("button", name="Duyệt và thả").click()
    assert page.locator(".flash").inner_text() == "Đã duyệt mã; 6 lượt gửi được thả."
    assert page.locator("article.unmapped", has_text="Ki-nh").count() == 0
    states = site.sql("SELECT state FROM deliveries WHERE id = ANY ($1::bigint[])", [r["id"] for r in waiting])
    assert [r["state"] for r in states] == [2] * 6
    assert site.sql("SELECT count(*) FROM deliveries WHERE state = 5")[0][0] == other
    approved = site.sql("SELECT * FROM approved_codes")
    assert [(r["code"], r["canonical"], r["actor"]) for r in approved] == [("Ki-nh", "01", "vanhanh")]


@pytest.mark.parametrize("lang", ["vi", "en"])
@pytest.mark.parametrize("width", [1440, 390])
def test_a_wrong_approval_is_corrected_on_the_page(site, sign_in, lang: str, width: int) -> None:
    """Behind the approval above: a later one counts, the older one stays and says that it does not."""
    page = sign_in("vanhanh", width=width, lang=lang)
    page.goto("/codes")
    before = site.sql("SELECT count(*) FROM approved_codes WHERE code = 'Ki-nh'")[0][0]
    row = page.locator("tr", has_text="Ki-nh").first
    row.locator("summary").click()
    row.locator("[name=other]").fill("999")
    row.locator("[name=note]").fill("Duyệt nhầm, xem lại danh mục")
    row.get_by_role("button").click()
    assert page.locator(".flash.bad").count() == 1, "a code that is none"
    row = page.locator("tr", has_text="Ki-nh").first
    assert row.locator("[name=other]").input_value() == "999", "given back as it was typed"
    row.locator("[name=other]").fill("02")
    row.get_by_role("button").click()
    rows = site.sql("SELECT canonical, note FROM approved_codes WHERE code = 'Ki-nh' ORDER BY id")
    assert len(rows) == before + 1 and tuple(rows[-1]) == ("02", "Duyệt nhầm, xem lại danh mục")
    told = page.locator("tr", has_text="Ki-nh")
    assert told.count() == before + 1 and told.locator("summary").count() == 1
    assert told.locator(".chip").count() == before
    assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(UNREADABLE) == []
    if folder := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=f"{folder}/codes-corrected-{lang}-{width}.png", full_page=True)


def test_a_code_that_is_none_is_not_approved(site, sign_in) -> None:
    page = sign_in("vanhanh")
    page.goto("/codes")
    token = page.locator("[name=csrf]").first.input_value()
    form = {
        "csrf": token,
        "system": "vn-ethnicity",
        "code": "Tayy",
        "target": "vn-ethnicity",
        "canonical": "999",
        "note": "thử",
    }
    assert "Chưa duyệt" in page.context.request.post("/codes/approve", form=form).text()
    assert site.sql("SELECT count(*) FROM approved_codes WHERE code = 'Tayy'")[0][0] == 0


def test_resolving_a_task(site, sign_in) -> None:
    page = sign_in("vanhanh")
    page.goto("/parked")
    page.click("text=Bộ đã khóa kỳ dữ liệu")
    page.locator("label", has_text="Gửi tiếp").click()
    page.fill("[name=note]", "Bộ đã mở lại kỳ")
    page.click("text=Xử lý 2 lượt gửi")
    assert page.locator(".flash").inner_text() == "Đã xử lý 2 lượt gửi."
    task = site.sql("SELECT id, state, actor, resolution FROM tasks WHERE cause = 'period_locked'")[0]
    assert (task["state"], task["actor"], task["resolution"]) == ("resolved", "vanhanh", "release")
    assert site.sql("SELECT count(*) FROM deliveries WHERE task = $1", task["id"])[0][0] == 0
    page.goto(f"/parked/{task['id']}")
    assert "Đã xử lý" in page.locator("main").inner_text() and page.locator("[name=resolution]").count() == 0


def test_replay_shows_its_plan_first_and_then_how_far_it_has_come(site, sign_in) -> None:
    page = sign_in("vanhanh")
    page.goto("/replay")
    assert page.locator("#plan").count() == 0
    before = site.sql("SELECT count(*) FROM deliveries WHERE replay_of IS NOT NULL")[0][0]
    page.select_option("[name=connector]", "ministry")
    page.get_by_role("button", name="Xem kế hoạch").click()
    assert "Kế hoạch: 1 lượt gửi" in page.locator("#plan").inner_text()
    assert site.sql("SELECT count(*) FROM deliveries WHERE replay_of IS NOT NULL")[0][0] == before
    page.fill("#plan [name=note]", "Bộ đã sửa lỗi phía họ")
    page.click("text=Gửi lại 1 lượt")
    assert page.locator(".flash").inner_text() == "Đã xếp 1 lượt vào hàng gửi lại."
    made = site.sql("SELECT replay_of, resend FROM deliveries WHERE replay_of IS NOT NULL ORDER BY id")[before:]
    assert [(r["replay_of"], r["resend"] is not None) for r in made] == [(site.ids["dead"], True)]
    page.goto("/replay")
    row = page.locator("#orders tbody tr", has_text="Bộ đã sửa lỗi phía họ")
    cells = [row.locator("td").nth(n).inner_text() for n in (3, 4, 5)]
    assert cells[:2] == ["1", "1"] and "0/1" in cells[2]
    page = sign_in("truong1")
    page.goto("/replay")
    assert page.locator("#orders", has_text="Bộ đã sửa lỗi").count() == 0, "others' orders are not theirs to see"


def test_withdrawing_one(site, sign_in) -> None:
    page = sign_in("vanhanh")
    row = site.sql("SELECT id, record FROM deliveries WHERE state = 4 ORDER BY id LIMIT 1")[0]
    page.goto(f"/records/{row['record']}")
    article = page.locator("article.delivery", has=page.locator("[name=note]")).first
    article.locator("[name=note]").fill("Phụ huynh rút hồ sơ")
    article.get_by_role("button", name="Hủy lượt gửi").click()
    assert page.locator(".flash").inner_text() == "Đã hủy lượt gửi."
    assert site.sql("SELECT state, detail FROM deliveries_closed WHERE id = $1", row["id"])[0]["state"] == 9


def test_pause_and_resume(site, sign_in) -> None:
    page = sign_in("vanhanh")
    page.goto("/connectors/population")
    page.fill("[name=reason]", "C06 báo bảo trì")
    page.get_by_role("button", name="Tạm dừng").click()
    assert page.locator(".flash").first.inner_text() == "Đã tạm dừng kết nối."
    assert site.sql("SELECT state FROM connectors WHERE name = 'population'")[0]["state"] == "paused"
    page.wait_for_timeout(2100)
    page.reload()
    assert "C06 báo bảo trì" in page.locator("main").inner_text()
    page.fill("[name=why]", "C06 báo đã xong bảo trì")
    page.get_by_role("button", name="Chạy tiếp").click()
    assert site.sql("SELECT state FROM connectors WHERE name = 'population'")[0]["state"] == "active"
    kinds = [
        r["kind"]
        for r in site.sql(
            "SELECT kind FROM journal WHERE actor = 'vanhanh' AND kind IN ('pause', 'resume') ORDER BY id"
        )
    ]
    assert kinds == ["pause", "resume"]


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_pause_of_the_hubs_own_ends_by_going_on_alone(site, sign_in, lang: str) -> None:
    text = '{"vi": "Bên nhận trả 410.", "en": "The receiver answers 410."}'
    site.sql(
        "UPDATE connectors SET state = 'paused', pause_cause = 'endpoint_gone', pause_message = $1::jsonb WHERE name = 'population'",
        text,
    )
    (task,) = site.sql(
        "INSERT INTO tasks (connector, cause, subject, text, data) SELECT id, 'endpoint_gone', name, $1::jsonb, "
        """'{"pauses": "population"}' FROM connectors WHERE name = 'population' RETURNING id""",
        text,
    )
    narrow = sign_in("vanhanh", width=390, lang=lang)
    narrow.goto(f"/parked/{task['id']}")
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 390
    page = sign_in("vanhanh", width=1280, lang=lang)
    page.goto(f"/parked/{task['id']}")
    assert page.locator("[type=radio]").count() == 0
    token = page.locator("form[action$=resolve] [name=csrf]").input_value()
    for way in ("give_up", "delivered", "cancel"):
        form = {"csrf": token, "resolution": way, "note": "thử"}
        reply = page.context.request.post(f"/parked/{task['id']}/resolve", form=form)
        assert reply.status == 422 and ("tạm dừng" if lang == "vi" else "paused") in reply.text()
    page.fill("[name=note]", "Bên nhận đã mở lại địa chỉ")
    page.get_by_role("button", name="Cho kết nối chạy tiếp" if lang == "vi" else "Resume the connector").click()
    assert page.locator(".flash").inner_text() == ("Kết nối chạy tiếp." if lang == "vi" else "Connector resumed.")
    assert site.sql("SELECT state FROM connectors WHERE name = 'population'")[0]["state"] == "active"
    assert site.sql("SELECT state FROM tasks WHERE id = $1", task["id"])[0]["state"] == "resolved"


def test_probe_says_what_is_wrong(site, sign_in) -> None:
    page = sign_in("vanhanh")
    page.goto("/connectors/ministry")
    page.click("text=Thử kết nối")
    assert "Không kết nối được" in page.locator("#probe").inner_text()


def test_editing_a_connector(site, sign_in) -> None:
    page = sign_in("quantri")
    page.goto("/connectors/ministry/edit")
    assert "bi-mat-1" not in page.content(), "secrets never come out"
    page.fill("[name=why]", "Theo thỏa thuận mới với Bộ")
    page.fill("[name='/policy/concurrency']", "nhiều")
    page.fill("[name='/adapter/province_code']", "310")
    page.click("text=Lưu cấu hình")
    assert "Phải là số nguyên." in page.locator(".field-error").inner_text()
    page.fill("[name='/policy/concurrency']", "0")
    page.click("text=Lưu cấu hình")
    assert page.locator(".wrong").count() == 1
    assert site.sql("SELECT revision FROM connectors WHERE name = 'ministry'")[0]["revision"] == 1
    page.fill("[name='/policy/concurrency']", "4")
    page.fill("[name='/adapter/province_code']", "31")
    page.fill("[name='/policy/quota/per_second']", "20")
    page.click("text=Lưu cấu hình")
    assert page.locator(".flash").first.inner_text() == "Đã lưu cấu hình."
    row = site.sql("SELECT revision, settings, secrets FROM connectors WHERE name = 'ministry'")[0]
    stored = json.loads(row["settings"])
    assert (row["revision"], stored["policy"]["concurrency"], stored["policy"]["quota"]["per_second"]) == (2, 4, 20)
    assert json.loads(site.keys.decrypt(row["secrets"], b"ministry")) == {"token": "bi-mat-1"}, (
        "an empty secret keeps the old one"
    )
    page.wait_for_timeout(2100)
    page.goto("/connectors/ministry")
    history = page.locator(".revision").first.inner_text()
    assert "/policy/concurrency" in history and "8" in history and "4" in history


def test_two_who_edit_at_once(site, sign_in) -> None:
    first, second = sign_in("quantri"), sign_in("quantri")
    first.goto("/connectors/population/edit")
    second.goto("/connectors/population/edit")
    for page in (first, second):
        page.fill("[name=why]", "Đối tác yêu cầu chậm lại")
    first.fill("[name='/policy/concurrency']", "3")
    first.click("text=Lưu cấu hình")
    second.fill("[name='/policy/concurrency']", "5")
    second.click("text=Lưu cấu hình")
    assert "Có người vừa sửa" in second.locator("[role=alert]").inner_text()
    assert (
        json.loads(site.sql("SELECT settings FROM connectors WHERE name = 'population'")[0]["settings"])["policy"][
            "concurrency"
        ]
        == 3
    )


def test_gate_page_has_no_faces(site, sign_in) -> None:
    page = sign_in("vanhanh", lang="en")
    page.goto("/gates/gate-01")
    assert page.locator("tbody tr").count() >= 6
    assert page.locator("main img").count() == 0
    page.goto("/messages?type=checkin")
    page.locator("tbody tr a").first.click()
    assert "2 parts were taken out" in page.locator("main").inner_text()
