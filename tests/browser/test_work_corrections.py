"""Correct and resend, and how far a replay has come."""

from __future__ import annotations

import json

import pytest

from hub.kernel.ledger.corrections import as_pushed
from tests.browser.seed import SCHOOLS, person
from tests.browser.test_pages import OVERFLOW


def record_of(site, key: str) -> int:
    return int(site.sql("SELECT id FROM records WHERE key = $1 ORDER BY id DESC LIMIT 1", key)[0]["id"])


def opened(page, record: int):
    page.goto(f"/records/{record}")
    page.locator("#correct summary").click()
    page.fill("#correct [name=purpose]", "sửa ngày sinh theo khai sinh")
    page.click("#correct button")
    return page


@pytest.mark.parametrize(("width", "lang"), [(1440, "vi"), (390, "en")])
def test_a_correction_says_what_is_wrong_with_it(site, sign_in, width: int, lang: str) -> None:
    record = record_of(site, "HS31000007")
    page = opened(sign_in("truong1", width=width, lang=lang), record)
    assert page.evaluate(OVERFLOW) <= 0
    journaled = site.sql("SELECT actor, subject FROM journal WHERE kind = 'unmask' ORDER BY id DESC LIMIT 1")[0]
    assert tuple(journaled) == ("truong1", record)
    before = site.sql("SELECT count(*) FROM messages")
    content = json.loads(page.input_value("[name=data]"))
    assert content["full_name"] == person(7) and content["ethnicity"] == {"system": "vn-ethnicity", "code": "01"}
    for data, said in (
        ("{", "line 1" if lang == "en" else "dòng 1"),
        ("[1]", "one object" if lang == "en" else "một đối tượng"),
        (json.dumps(content | {"birth_date": "2012-02-31"}), "/birth_date"),
        (json.dumps(content | {"learner_code": "HS31999999"}), "must stay" if lang == "en" else "không được đổi"),
        (json.dumps(content | {"school_code": SCHOOLS[1][0]}), "school" if lang == "en" else "trường"),
        (json.dumps(content), "equals" if lang == "en" else "không khác"),
    ):
        page.fill("[name=data]", data)
        page.fill("[name=why]", "theo giấy khai sinh")
        page.click("main button.main")
        assert said in page.locator("[role=alert]").inner_text(), data
        assert page.input_value("[name=data]") == data and page.evaluate(OVERFLOW) <= 0
    sent = site.sql("SELECT count(*) FROM messages")[0][0] - before[0][0]
    assert sent == 1, "only what another school owns is refused by the ledger itself, and kept as refused"


def test_a_correction_goes_as_a_new_message_linked_both_ways(site, sign_in) -> None:
    old = record_of(site, "HS31000008")
    page = opened(sign_in("vanhanh"), old)
    content = json.loads(page.input_value("[name=data]"))
    page.fill("[name=data]", json.dumps(content | {"birth_date": "2012-05-04"}, ensure_ascii=False, indent=2))
    page.fill("[name=why]", "theo giấy khai sinh")
    page.click("main button.main")
    assert "Đã gửi bản sửa" in page.locator(".flash").first.inner_text()
    assert page.locator("#correct").count() == 0, "an old version is not corrected again"
    page.click("p.flash a[href^='/messages/']")
    assert "Sửa cho bản ghi" in page.locator("dl.facts").inner_text()
    new = record_of(site, "HS31000008")
    assert new != old
    page.goto(f"/records/{new}")
    flash = page.locator("p.flash").first
    assert "Sửa cho bản ghi" in flash.inner_text() and "theo giấy khai sinh" in flash.inner_text()
    flash.locator("a").click()
    assert page.url.endswith(f"/records/{old}")
    body = json.loads(site.sql("SELECT body FROM records WHERE id = $1", new)[0]["body"])
    assert as_pushed(body) == content | {"birth_date": "2012-05-04"}
    stored = site.sql("SELECT actor, subject FROM journal WHERE kind = 'correct' ORDER BY id DESC LIMIT 1")[0]
    assert tuple(stored) == ("vanhanh", old)
    page = sign_in("giamsat")
    page.goto("/audit?kind=correct")
    assert str(old) in page.locator("tbody tr").first.inner_text()


def test_who_may_not_correct(site, sign_in) -> None:
    record = record_of(site, "HS31000009")
    page = sign_in("giamsat")
    page.goto(f"/records/{record}")
    assert page.locator("#correct").count() == 0
    page = sign_in("truong1")
    page.goto("/password")
    token = page.locator("[name=csrf]").first.input_value()
    foreign = site.sql("SELECT id FROM records WHERE school = $1 LIMIT 1", SCHOOLS[1][0])[0]["id"]
    old = site.sql("SELECT id FROM records WHERE key = 'HS31000008' ORDER BY id LIMIT 1")[0]["id"]
    form = {"csrf": token, "purpose": "tò mò thôi mà", "data": "{}", "why": "thử xem"}
    before = site.sql("SELECT count(*) FROM journal WHERE kind IN ('unmask', 'correct')")
    for path in ("correct", "correct/send"):
        assert page.context.request.post(f"/records/{foreign}/{path}", form=form).status == 404
        assert page.context.request.post(f"/records/{old}/{path}", form=form).status == 409
    short = page.context.request.post(f"/records/{record}/correct", form=form | {"purpose": "x"})
    assert person(9) not in short.text() and "một câu từ 8 đến 250 ký tự" in short.text()
    assert site.sql("SELECT count(*) FROM journal WHERE kind IN ('unmask', 'correct')") == before
