"""Verifying a roster in a real browser: opening one, reading its results, taking the sheet; nobody else's school."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.browser import seed
from tests.browser.test_pages import OVERFLOW, UNREADABLE

SCHOOL = seed.SCHOOLS[0][0]
_RESULTS = (
    ("match", None, None),
    ("partial", ["full_name"], ["full_name:diacritics", "sex:not_stated"]),
    ("mismatch", ["full_name", "birth_date"], ["full_name:different", "birth_date:different"]),
    ("not_found", None, None),
    (None, None, ["personal_number:missing"]),
)


@pytest.fixture(scope="module")
def done(site: Any) -> int:
    """A verification that has ended, of five learners of the first school, and two lines of the look-up log."""
    number = site.sql(
        "INSERT INTO verifications (id, body_digest, actor, school, kind, purpose, officer, items, state, finished_at)"
        " VALUES (9000, '', 'quantri', $1, 'look_up', 'Kiểm tra hồ sơ đầu năm học', 'cb.gddt.07', 5, 'done', now()) RETURNING id",
        SCHOOL,
    )[0]["id"]
    learners = site.sql(
        "SELECT key, record FROM streams WHERE type = 'learner' AND school = $1 ORDER BY key LIMIT 5", SCHOOL
    )
    for learner, (verdict, differing, reasons) in zip(learners, _RESULTS, strict=True):
        site.sql(
            "INSERT INTO verification_items (verification, learner, record, class, state, verdict, differing, reasons, checked_at)"
            " VALUES ($1, $2, $3, 3, $4, $5, $6, $7, now())",
            number, learner["key"], learner["record"], "answered" if verdict else "skipped", verdict, differing, reasons,
        )  # fmt: skip
    closed = site.sql("SELECT id, connector FROM deliveries_closed WHERE school = $1 LIMIT 2", SCHOOL)
    for n, row in enumerate(closed):
        site.sql(
            "INSERT INTO lookups (call, connector, delivery, request_id, officer, purpose, input_hash, from_call)"
            " VALUES ($1, $2, $3, $4, 'cb.gddt.07', 'Kiểm tra hồ sơ đầu năm học', '', $5)",
            900 + n, row["connector"], row["id"], f"11339983-72a4-59a1-9e18-5391cee5155{n}", 900 if n else None,
        )  # fmt: skip
    return int(number)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_the_pages_read_well(site: Any, sign_in: Any, done: int, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    for name, path in {
        "verify": "/verify", "verification": f"/verify/{done}", "verification-all": f"/verify/{done}?all=1", "lookups": "/verify/log",
    }.items():  # fmt: skip
        answer = page.goto(path)
        assert answer is not None and answer.status == 200, name
        if name == "verify":
            page.locator("summary").first.click()
        assert page.evaluate(OVERFLOW) <= 0, f"{name} is wider than the screen"
        assert page.evaluate(UNREADABLE) == [], name
        if shots := os.environ.get("CONSOLE_SHOTS"):
            page.screenshot(path=str(Path(shots) / f"{name}-{lang}-{width}.png"), full_page=True)


def test_results_are_masked_and_the_sheet_is_journaled(site: Any, sign_in: Any, done: int) -> None:
    page = sign_in(lang="en")
    page.goto(f"/verify/{done}")
    told = page.locator("main").inner_text()
    assert "Partial match" in told and "Full name differs in diacritics only" in told
    assert "5 of 5 learners" in told and page.locator("tbody tr").count() == 4
    page.click("text=Everybody")
    assert page.locator("tbody tr").count() == 5
    names = [
        r["full_name"] for r in site.sql("SELECT body ->> 'full_name' AS full_name FROM records WHERE type = 'learner'")
    ]
    assert not any(name in page.content() for name in names)
    with page.expect_download() as download:
        page.click("text=Take the result sheet")
    book = openpyxl.load_workbook(io.BytesIO(Path(download.value.path()).read_bytes()))
    rows = [[c.value for c in row] for row in book.active.iter_rows(min_row=7)]
    assert [r[5] for r in rows] == ["Khớp", "Khớp một phần", "Không khớp", "Không tìm thấy", "Không hỏi được"]
    assert rows[1][6] == "Họ và tên" and "chỉ khác dấu" in rows[1][7] and rows[0][2] in names
    assert all(r[4] is None or r[4].startswith("•") for r in rows)
    journaled = site.sql("SELECT actor FROM journal WHERE kind = 'verification_sheet' AND subject = $1", done)
    assert [j["actor"] for j in journaled] == ["quantri"]


def test_one_is_opened_by_form_and_only_once(site: Any, sign_in: Any) -> None:
    page = sign_in(lang="vi")
    page.goto("/verify")
    if page.locator("details[open]").count() == 0:
        page.locator("summary").first.click()
    page.fill("[name=school]", seed.SCHOOLS[1][0])
    page.fill("[name=officer]", "cb.gddt.09")
    page.fill("[name=purpose]", "Tuyển sinh đầu cấp năm nay")
    page.click("text=Bắt đầu xác minh")
    assert "Đã bắt đầu xác minh" in page.locator("main").inner_text() and "0 trên" in page.locator("main").inner_text()
    first = page.url.partition("?")[0]
    page.goto("/verify")
    if page.locator("details[open]").count() == 0:
        page.locator("summary").first.click()
    page.fill("[name=school]", seed.SCHOOLS[1][0])
    page.fill("[name=officer]", "cb.gddt.09")
    page.fill("[name=purpose]", "Tuyển sinh đầu cấp năm nay")
    page.click("text=Bắt đầu xác minh")
    assert page.url.partition("?")[0] == first and "đang có một đợt" in page.locator("main").inner_text()
    page.fill("form[action$='/cancel'] [name=why]", "Trường đã rút đề nghị")
    page.click("text=Dừng, không hỏi thêm")
    assert "Đã dừng" in page.locator("main").inner_text()


def test_a_school_sees_its_own_alone(site: Any, sign_in: Any, done: int) -> None:
    other = site.sql(
        "INSERT INTO verifications (id, body_digest, actor, school, kind, purpose, officer, items, state)"
        " VALUES (9001, '', 'quantri', $1, 'verify', 'Của trường khác', 'cb.gddt.99', 1, 'cancelled') RETURNING id",
        seed.SCHOOLS[2][0],
    )[0]["id"]
    page = sign_in("truong1")
    answer = page.goto(f"/verify/{other}")
    assert answer is not None and answer.status == 404
    answer = page.goto(f"/verify/{done}")
    assert answer is not None and answer.status == 200
    page.goto("/verify")
    assert "Của trường khác" not in page.content() and "Kiểm tra hồ sơ đầu năm học" in page.content()
    page.goto("/verify/log")
    assert page.locator("tbody tr").count() == 2
