"""A school's share that rests for mass refusals: seen on the connector's page, and let go on by a person."""

from __future__ import annotations

import pytest

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def resting(site):
    number = site.sql("SELECT id FROM connectors WHERE name = 'ministry'")[0]["id"]
    (school,) = site.sql("SELECT code, name FROM schools ORDER BY code LIMIT 1")
    site.sql(
        "INSERT INTO paused_shares (connector, school, cause, message) VALUES ($1, $2, 'contract_refused', $3::jsonb)",
        number, school["code"],
        '{"vi": "61 trong 100 bản ghi gần nhất của một trường bị từ chối cùng lý do “contract_refused”. Xem mục chờ xử lý, sửa nguyên nhân rồi mở lại.",'
        ' "en": "61 of the last 100 records of one school were refused for one cause, “contract_refused”. See what is parked, mend the cause, then resume."}',
    )  # fmt: skip
    yield school["name"]
    site.sql("DELETE FROM paused_shares")
    site.sql("UPDATE alarms SET ended_at = now() WHERE kind = 'share'")


@pytest.mark.parametrize(("width", "lang"), [(1280, "vi"), (390, "vi"), (390, "en")])
def test_a_resting_share_is_seen_with_its_reason(site, sign_in, resting, width: int, lang: str) -> None:
    page = sign_in("quantri", width=width, lang=lang)
    page.goto("/connectors/ministry")
    box = page.locator("section.share")
    assert box.count() == 1 and resting in box.inner_text()
    assert ("tạm nghỉ" if lang == "vi" else "rests") in box.inner_text()
    assert ("cùng lý do" if lang == "vi" else "for one cause") in box.inner_text()
    assert page.evaluate(OVERFLOW) <= 0


def test_a_person_lets_it_go_on_and_that_is_on_record(site, sign_in, resting) -> None:
    page = sign_in("quantri", lang="en")
    page.goto("/connectors/ministry")
    page.fill("section.share [name=why]", "Trường đã sửa danh mục")
    page.click("section.share button")
    page.wait_for_url("**done=done.share")
    assert page.locator("section.share").count() == 0 and "share goes on" in page.content()
    assert not site.sql("SELECT 1 FROM paused_shares")
    (line,) = site.sql("SELECT actor, data FROM journal WHERE kind = 'resume_share'")
    assert line["actor"] == "quantri" and "Trường đã sửa danh mục" in line["data"]
    page.goto("/audit")
    assert "A school's share was resumed" in page.locator("main").inner_text()


def test_a_school_sees_nothing_of_others(site, sign_in, resting) -> None:
    page = sign_in("truong1")
    page.goto("/connectors/ministry")
    assert page.locator("section.share").count() == 0
