# ruff: noqa: E501 - SQL reads best in rows
"""The pages of filings, looked at: dates, states, inbox, the portal's lists; both languages, wide and narrow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.test_pages import OVERFLOW, UNREADABLE

N = "000.00.12.H24-261122-0001"
_ROWS = """
INSERT INTO filings (number, school, agency, procedure, title, state, since, submitted_at, due_at, department, step_at, paid) VALUES
 ('000.00.12.H24-261101-90001', NULL, 'Sở Giáo dục và Đào tạo', '2.001914', 'Chỉnh sửa nội dung văn bằng, chứng chỉ', 4, now() - interval '9 days',
  now() - interval '12 days', now() - interval '4 days', 'Phòng Quản lý chất lượng và Công nghệ thông tin', now() - interval '9 days', 0),
 ('000.00.12.H24-261101-90002', NULL, 'Sở Giáo dục và Đào tạo', '1.005092', 'Cấp bản sao văn bằng, chứng chỉ từ sổ gốc', 5, now() - interval '2 days',
  now() - interval '5 days', now() + interval '3 days', NULL, NULL, 0),
 ('000.00.12.H24-261101-90003', NULL, 'Sở Giáo dục và Đào tạo', '1.005092', 'Cấp bản sao văn bằng, chứng chỉ từ sổ gốc', 10, now() - interval '2 days',
  now() - interval '6 days', now() - interval '1 day', 'Bộ phận một cửa', now() - interval '2 days', 20000)
ON CONFLICT DO NOTHING
"""
_INBOX = """
INSERT INTO filing_inbox (number, message, reason, text, state, at)
SELECT v.number, 1, v.reason, v.text::jsonb, v.state, now() - interval '1 hour' FROM (VALUES
 ('000.00.12.H24-261101-99999', 'unknown_filing', '{"vi": "Trục chưa có hồ sơ này.", "en": "The hub does not hold this filing."}', 4),
 ('000.00.12.H24-261101-90003', 'state_not_allowed', '{"vi": "Hồ sơ đang ở trạng thái 10, không chuyển được sang 4.", "en": "The filing is 10 and cannot become 4."}', 4))
 v(number, reason, text, state) WHERE NOT EXISTS (SELECT 1 FROM filing_inbox WHERE closed_at IS NULL)
"""
_PULLS = """
INSERT INTO pulls (connector, what, run, state, records, changes, started_at, finished_at, fault, whole)
SELECT id, v.what, 3, v.state, 6120, 4, now() - interval '1 hour', now() - interval '1 hour', v.fault::jsonb, true FROM connectors, (VALUES
 ('procedures', 'done', NULL), ('agencies', 'failed', '{"vi": "Danh mục mới thiếu quá nhiều mục (30/31).", "en": "The new list lacks too much (30/31)."}')) v(what, state, fault)
WHERE name = 'public_service' ON CONFLICT DO NOTHING
"""
_CHANGES = """
INSERT INTO pulled_changes (connector, what, key, run, kind, before, after)
SELECT c.id, 'procedures', v.key, 3, v.kind, v.b::jsonb, v.a::jsonb FROM connectors c, (VALUES
 ('p/1', 'changed', '{"code": "2.002481", "name": "Chuyển trường đối với học sinh trung học cơ sở", "days": 5}', '{"code": "2.002481", "name": "Chuyển trường THCS", "days": 2, "parent": "GDTrH"}'),
 ('p/2', 'removed', '{"code": "1.009999", "name": "Thủ tục đã bãi bỏ"}', NULL), ('p/3', 'added', NULL, '{"code": "3.000181", "name": "Tuyển sinh trung học phổ thông"}'))
 v(key, kind, b, a) WHERE c.name = 'public_service' AND NOT EXISTS (SELECT 1 FROM pulled_changes)
"""


@pytest.fixture
def filled(site):
    for text in (_ROWS, _INBOX, _PULLS, _CHANGES):
        site.sql(text)
    return site


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_every_page_of_filings(filled, sign_in, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    shots = os.environ.get("CONSOLE_SHOTS")
    for name, path in {
        "filings": "/filings", "filings-waiting": "/filings?view=waiting", "filings-ended": "/filings?view=ended", "filings-all": "/filings?view=all", "filings-undated": "/filings?view=undated",
        "filings-found": "/filings?q=90001", "filing": f"/filings/{N}", "filing-inbox": "/filings/inbox", "filing-portal": "/filings/portal",
    }.items():  # fmt: skip
        answer = page.goto(path)
        assert answer is not None and answer.status == 200, name
        assert page.locator("main h1").count() == 1, name
        assert page.evaluate(OVERFLOW) <= 0, f"{name} is wider than the screen"
        assert page.evaluate(UNREADABLE) == [], name
        if shots:
            page.screenshot(path=str(Path(shots) / f"{name}-{lang}-{width}.png"), full_page=True)


def test_the_most_urgent_comes_first_and_is_told_as_late(filled, sign_in) -> None:
    page = sign_in()
    page.goto("/filings")
    first = page.locator("tbody tr").first
    assert "261101-90001" in first.inner_text() and "Quá hạn" in first.inner_text()
    page.goto("/filings?q=261101-90002")
    assert "tạm dừng tính giờ" in page.locator("tbody").inner_text()
    page.goto(f"/filings/{N}")
    assert "Trần" not in page.locator("main").inner_text(), "names are masked"


def test_a_school_sees_its_own_filings_only(filled, sign_in) -> None:
    page = sign_in("truong1")
    page.goto("/filings")
    assert "261101-9000" not in page.content()
    assert page.goto("/filings/000.00.12.H24-261101-90001").status == 404
    assert page.goto("/filings/inbox").status == 403
    assert page.goto("/filings/portal").status == 403


def test_an_entry_of_the_inbox_is_applied_with_a_reason(filled, sign_in) -> None:
    page = sign_in()
    page.goto("/filings/inbox")
    known = page.locator("article", has_text="261101-90003")
    known.locator("input[name=why]").fill("Cổng đã mở lại hồ sơ")
    known.locator("button[value=applied]").click()
    assert page.locator(".flash").inner_text() == "Đã xử lý thông báo."
    assert filled.sql("SELECT state FROM filings WHERE number LIKE '%90003'")[0]["state"] == 4
    filled.sql("UPDATE filings SET state = 10 WHERE number LIKE '%90003'")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_callback_key_is_made_shown_once_and_the_old_ones_ended(filled, sign_in, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    filled.sql("DELETE FROM callback_keys")
    words = WORDS[lang]
    page.goto("/filings/portal")
    assert "/v1/callbacks/public_service/" not in page.content() and words["first"] in page.content()
    assert page.get_by_role("button", name=words["end"]).count() == 0, "there is nothing old yet"
    page.fill("form[action$='/callback/public_service'] [name=why]", "Cổng yêu cầu thay khóa")
    page.get_by_role("button", name=words["new"]).click()
    card = page.locator(".flash", has_text=words["fresh"])
    assert card.bounding_box()["y"] < 500, "in sight, as it is shown this once"
    path, key = card.locator("dd code").all_inner_texts()
    assert path.startswith("/v1/callbacks/public_service/") and len(key) == 64
    assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(UNREADABLE) == []
    if shots := os.environ.get("CONSOLE_SHOTS"):
        card.screenshot(path=str(Path(shots) / f"filing-portal-fresh-{lang}-{width}.png"))
    assert filled.sql("SELECT count(*) AS n FROM journal WHERE kind = 'callback_made'")[0]["n"] >= 1
    page.goto("/filings/portal")
    assert path not in page.content() and key not in page.content(), "shown once"
    page.fill("form[action$='/end'] [name=why]", "Cổng đã dùng khóa mới")
    page.get_by_role("button", name=words["end"]).click()
    assert page.locator(".flash").inner_text() == words["ended"]
    assert page.get_by_role("button", name=words["end"]).count() == 0
    if shots:
        page.screenshot(path=str(Path(shots) / f"filing-portal-ended-{lang}-{width}.png"), full_page=True)
    filled.sql("DELETE FROM callback_keys")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    ("lang", "word"), [("vi", "Không kiểm tra: lưu ở nơi khác"), ("en", "Not checked: kept elsewhere")]
)
def test_a_document_kept_elsewhere_is_said_to_be_unchecked(filled, sign_in, lang: str, word: str, width: int) -> None:
    (row,) = filled.sql("SELECT record, school FROM streams WHERE type = 'filing' AND key = $1", N)
    kept = filled.sql("SELECT body FROM records WHERE id = $1", row["record"])[0]["body"]
    paper = '[{"id": "TL1", "name": "Đơn xin chuyển trường.pdf", "url": "https://kho.example.invalid/1?khoa=rieng"}]'
    filled.sql(
        "UPDATE records SET body = jsonb_set(body, '{attachments}', $2::text::jsonb) WHERE id = $1",
        row["record"],
        paper,
    )
    try:
        page = sign_in(width=width, lang=lang)
        for path in (f"/filings/{N}", f"/records/{row['record']}"):
            page.goto(path)
            assert page.locator(".chip", has_text=word).count() == 1, path
            assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(UNREADABLE) == [], path
            if shots := os.environ.get("CONSOLE_SHOTS"):
                page.screenshot(path=str(Path(shots) / f"elsewhere-{path[1:4]}-{lang}-{width}.png"), full_page=True)
    finally:
        filled.sql("UPDATE records SET body = $2::text::jsonb WHERE id = $1", row["record"], kept)


def test_only_an_administrator_makes_a_callback_key(filled, sign_in) -> None:
    page = sign_in("vanhanh")
    assert page.goto("/filings/portal").status == 200
    assert page.locator("form[action*='/portal/callback/']").count() == 0
    csrf = page.locator("input[name=csrf]").first.input_value()
    for path in ("public_service", "public_service/end"):
        told = page.request.post(f"/filings/portal/callback/{path}", form={"csrf": csrf})
        assert told.status == 403, path
    assert filled.sql("SELECT count(*) AS n FROM callback_keys")[0]["n"] == 0


WORDS = {
    "vi": {
        "new": "Tạo địa chỉ và khóa mới", "end": "Chấm dứt địa chỉ cũ ngay", "first": "Đang dùng địa chỉ và khóa ban đầu.",
        "fresh": "Sao chép ngay", "ended": "Địa chỉ và khóa cũ không còn dùng được.",
    },
    "en": {
        "new": "Make a new address and key", "end": "End the old ones now", "first": "The first address and key are in use.",
        "fresh": "Copy these now", "ended": "The old address and key no longer open.",
    },
}  # fmt: skip


def test_pulling_now_says_why_it_failed(filled, sign_in) -> None:
    page = sign_in()
    page.goto("/filings/portal")
    page.locator("tr", has_text="Danh mục lĩnh vực").get_by_role("button").click()
    assert "Chưa lấy được danh mục" in page.locator(".flash").inner_text()
