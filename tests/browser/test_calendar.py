"""The school calendar and the evidence button in a real browser: what a school's person may change, and what they get."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from hub.evidence import verify
from tests.browser import seed
from tests.browser.test_pages import OVERFLOW, UNREADABLE

SCHOOL = seed.SCHOOLS[0][0]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_the_calendar_reads_well_and_keeps_what_is_given(site: Any, sign_in: Any, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    page.goto("/calendar")
    page.fill("input[name=title]", f"Nghỉ bão {lang} {width}")
    page.fill("input[name=since]", "2030-03-04")
    page.fill("input[name=until]", "2030-03-06")
    page.click("form[action='/calendar/days'] button")
    assert f"Nghỉ bão {lang} {width}" in page.content() and "06/03/2030" in page.content()
    page.goto(f"/calendar?school={SCHOOL}")
    page.check("input[name=day0_1]")
    page.check("input[name=day0_6]")
    page.fill("input[name=opens0]", "07:00")
    page.fill("input[name=closes0]", "11:30")
    page.fill("form[action='/calendar/sessions'] [name=why]", "Thời khóa biểu học kỳ I")
    page.click("form[action='/calendar/sessions'] button")
    assert page.is_checked("input[name=day0_6]") and page.input_value("input[name=closes0]") == "11:30"
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(UNREADABLE) == []
    if folder := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=f"{folder}/calendar-{lang}-{width}.png", full_page=True)
    page.fill("input[name=opens0]", "12:00")
    page.fill("form[action='/calendar/sessions'] [name=why]", "Thời khóa biểu học kỳ II")
    page.click("form[action='/calendar/sessions'] button")
    assert page.locator("[role=alert]").count() == 1
    assert page.input_value("input[name=opens0]") == "12:00", "what was typed is there to be mended"
    assert page.input_value("form[action='/calendar/sessions'] [name=why]") == "Thời khóa biểu học kỳ II"
    page.goto("/calendar")
    row = page.locator("tr", has_text=f"Nghỉ bão {lang} {width}").first
    row.locator("summary").click()
    row.locator("[name=why]").fill("Bão đã đổi hướng")
    row.locator("button").click()
    assert f"Nghỉ bão {lang} {width}" not in page.content()
    (line,) = site.sql("SELECT data FROM journal WHERE kind = 'day_off_removed' ORDER BY id DESC LIMIT 1")
    assert "Bão đã đổi hướng" in line["data"]


def test_the_evidence_of_a_record_checks_out(site: Any, sign_in: Any) -> None:
    page = sign_in(width=1280)
    record = site.sql("SELECT record FROM streams WHERE type = 'learner' AND school = $1 ORDER BY key LIMIT 1", SCHOOL)[
        0
    ]["record"]
    page.goto(f"/records/{record}")
    page.locator("summary", has_text="bằng chứng").click()
    if folder := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=f"{folder}/evidence.png", full_page=True)
    form = page.locator(f"form[action='/records/{record}/evidence']")
    form.locator("input[name=purpose]").fill("Trả lời khiếu nại của phụ huynh")
    with page.expect_download() as download:
        form.locator("button").click()
    data = io.BytesIO(download.value.path().read_bytes()).getvalue()
    assert download.value.suggested_filename == f"evidence-{record}.zip"
    found = verify.check(data)
    assert found.state == "proven", verify.told(found)
    said = site.sql("SELECT data FROM journal WHERE kind = 'unmask' AND subject = $1", record)
    assert any("khiếu nại" in str(row["data"]) for row in said)


@pytest.mark.parametrize(("width", "lang", "says"), [(1280, "vi", "không khớp"), (390, "en", "does not agree")])
def test_evidence_that_does_not_agree_is_said_to_be_none(
    site: Any, sign_in: Any, request: pytest.FixtureRequest, width: int, lang: str, says: str
) -> None:
    # Whoever may write to the database changes what was received.
    (found,) = site.sql(
        "SELECT r.id, m.id AS message, m.body FROM streams s JOIN records r ON r.id = s.record JOIN messages m ON m.id = r.message"
        " WHERE s.type = 'learner' AND s.school = $1 ORDER BY s.key LIMIT 1",
        SCHOOL,
    )
    record, change = found["id"], "UPDATE messages SET body = $2 WHERE id = $1"
    request.addfinalizer(lambda: site.sql(change, found["message"], found["body"]))
    site.sql(change, found["message"], b"{}")
    page = sign_in(width=width, lang=lang)
    page.goto(f"/records/{record}")
    form = page.locator(f"form[action='/records/{record}/evidence']")
    page.locator("details", has=form).locator("summary").click()
    form.locator("input[name=purpose]").fill("Trả lời khiếu nại của phụ huynh")
    form.locator("button").click()
    assert says in page.locator("h1").inner_text() and page.locator("[role=alert]").count() == 1
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(UNREADABLE) == []
    if folder := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=f"{folder}/evidence-altered-{lang}-{width}.png", full_page=True)
    with page.expect_download() as download:
        page.locator(f"form[action='/records/{record}/evidence'] button").click()
    assert download.value.suggested_filename == f"evidence-{record}-does-not-agree.zip"
