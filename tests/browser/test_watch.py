"""What the console says of alarms, forecasts and receipts: to whom, in which words, and on paper."""

from __future__ import annotations

import re

import pytest

from hub.kernel.receipts import receipt_code
from tests.browser.test_pages import OVERFLOW


def code_of(site, name: str) -> str:
    return receipt_code(site.keys.hmac("receipt"), site.ids[name])


def test_standing_alarms_are_a_banner_and_ended_ones_are_quiet(site, sign_in) -> None:
    page = sign_in(lang="en")
    page.goto("/")
    banner = page.locator(".alarms").inner_text()
    assert "Standing alarms: 1" in banner and "open for more than 60 minutes" in banner and " min ago" in banner
    ended = page.locator("#ended").inner_text()
    assert "outside the daily partitions" in ended and "lasted 12 min" in ended
    page = sign_in(width=390)
    page.goto("/")
    assert "Cảnh báo đang mở: 1" in page.locator(".alarms").inner_text() and page.evaluate(OVERFLOW) <= 0


def test_alarms_and_forecasts_are_the_departments(site, sign_in) -> None:
    page = sign_in("truong1")
    for path in ("/", "/live/overview"):
        page.goto(path)
        assert page.locator(".conn").count() > 0
        assert page.locator(".alarms, #ended, .forecast").count() == 0, path


def test_the_forecast_says_when_or_that_it_does_not_move(site, sign_in) -> None:
    page = sign_in(lang="en")
    page.goto("/")
    portal = page.locator("article.conn", has_text="public_service")
    # Which of the two depends on how long ago the seed was sown.
    assert re.search(r"Clears at \d\d:\d\d|Not moving", portal.locator(".forecast").inner_text())
    assert "5 to go" in portal.inner_text() and "epoch 3" in portal.inner_text()
    page.goto("/connectors/public_service")
    text = page.locator("main").inner_text()
    assert "in the last 5 minutes" in text and "led by airflow" in text and "no news" in text
    page.goto("/connectors/population")
    assert "13,250/20,000" in page.locator("main").inner_text()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_receipt_tells_a_school_what_to_correct_and_where(site, sign_in, width: int) -> None:
    page = sign_in("truong1", width=width)
    page.goto("/receipts")
    page.fill("[name=code]", code_of(site, "roster").lower())
    page.click("main button.main")
    assert page.url.endswith(code_of(site, "roster"))
    row = page.locator("#faults tbody tr").first.inner_text()
    assert "13" in row and "Ngày sinh" in row and "birth_date" in row and "YYYY-MM-DD" in row
    assert "14 dòng: 12 được nhận, 2 cần sửa" in page.locator("dl.facts").inner_text()
    assert page.locator("#records tbody tr").count() == 12
    assert "Đã nhận" in page.locator("#records tbody tr").first.inner_text()
    assert page.evaluate(OVERFLOW) <= 0


def test_a_receipt_on_paper_is_the_receipt_alone(site, sign_in) -> None:
    page = sign_in("truong1", dark=True)
    page.goto(f"/receipts/{code_of(site, 'roster')}")
    assert page.locator("[data-print]").is_visible()
    page.emulate_media(media="print")
    assert not page.locator(".bar").is_visible() and not page.locator("[data-print]").is_visible()
    assert page.locator("#faults").is_visible() and page.locator(".printed").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_receipts_keep_to_the_scope(site, sign_in) -> None:
    page = sign_in("truong1")
    for name in ("odd", "locked"):
        assert page.context.request.get(f"/receipts/{code_of(site, name)}").status == 404, name
    for code in ("0000-0000-0000-0000", "xyz", "%00"):
        assert page.context.request.get(f"/receipts/{code}").status == 404, code
    assert page.context.request.get("/receipts?code=0000-0000-0000-0000").status == 404
    assert sign_in("giamsat").goto(f"/receipts/{code_of(site, 'odd')}").status == 200
