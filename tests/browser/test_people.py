"""People at gates in a real browser: masked until a purpose is stated, linked, undone; a clock told by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser import seed
from tests.browser.test_pages import OVERFLOW, UNREADABLE

SCHOOL = seed.SCHOOLS[0][0]


@pytest.fixture(scope="module")
def waiting(site: Any) -> Any:
    """Five passages of two unknown ids and three under a wrong clock, as the intake leaves them; a learner to be found by name."""
    records = site.sql("SELECT id FROM records WHERE type = 'checkin' ORDER BY id LIMIT 8")
    learner = site.sql(
        "SELECT s.key, r.body->>'full_name' AS name FROM streams s JOIN records r ON r.id = s.record"
        " WHERE s.type = 'learner' AND s.school = $1 ORDER BY s.key LIMIT 1",
        SCHOOL,
    )[0]
    site.sql("UPDATE devices SET namespace = 'truong-1' WHERE id IN ('gate-01', 'gate-02')")
    for n, row in enumerate(records):
        reason, local = ("clock", None) if n >= 5 else ("person", "00017" if n < 4 else "23")
        site.sql(
            "INSERT INTO checkin_waits (record, reason, device, namespace, local, school, device_time, received_at, happened, live)"
            " VALUES ($1, $2, 'gate-01', 'truong-1', $3, $4, now() - interval '9000 days', now(), now(), true)",
            row["id"], reason, local, SCHOOL,
        )  # fmt: skip
    site.sql(
        "UPDATE messages SET body = convert_to($1, 'UTF8') WHERE id IN (SELECT message FROM records WHERE id = ANY ($2))",
        json.dumps({"info": {"persionName": learner["name"].upper()}}), [r["id"] for r in records],
    )  # fmt: skip
    yield learner
    site.sql("DELETE FROM checkin_waits")
    site.sql("DELETE FROM rejudgements")
    site.sql("UPDATE devices SET namespace = NULL")


def shoot(page: Any, name: str) -> None:
    if shots := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=str(Path(shots) / f"{name}.png"), full_page=True)


def show(page: Any) -> None:
    page.click("details summary")
    page.fill("[name=purpose]", "Liên kết mã máy")
    page.click("details button.main")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_both_languages_wide_and_narrow(site: Any, sign_in: Any, waiting: Any, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    page.goto("/people")
    assert page.locator("main h1").count() == 1
    assert waiting["name"].upper() not in page.content() and "00017" not in page.content(), "masked"
    for clear in (False, True):
        if clear:
            show(page)
            assert waiting["name"].upper() in page.content()
        assert page.evaluate(OVERFLOW) <= 0
        assert page.evaluate(UNREADABLE) == []
        shoot(page, f"people-{lang}-{width}-{'clear' if clear else 'masked'}")


def test_linking_and_undoing(site: Any, sign_in: Any, waiting: Any) -> None:
    page = sign_in()
    page.goto("/people")
    show(page)
    assert (
        site.sql("SELECT count(*) AS n FROM journal WHERE kind = 'unmask' AND data->>'purpose' = 'Liên kết mã máy'")[0][
            "n"
        ]
        >= 1
    )
    card = page.locator("article", has_text="00017")
    card.locator(f"input[value='{waiting['key']}']").check()
    card.locator("[name=why]").fill("Danh sách lớp 1A")
    card.locator("button.main").click()
    assert "4" in page.locator(".flash").inner_text()
    link = site.sql("SELECT id, learner FROM gate_persons WHERE undone_at IS NULL")[0]
    assert link["learner"] == waiting["key"]
    assert site.sql("SELECT count(*) AS n FROM rejudgements")[0]["n"] == 4
    row = page.locator("tr", has_text="Danh sách lớp 1A")
    row.locator("summary").click()
    row.locator("[name=why]").fill("Nhầm người rồi")
    row.locator("button.danger").click()
    assert site.sql("SELECT undone_by FROM gate_persons WHERE id = $1", link["id"])[0]["undone_by"] == "quantri"


def test_a_clock_told_by_hand_and_times_that_cannot_be(site: Any, sign_in: Any, waiting: Any) -> None:
    page = sign_in(lang="en")
    page.goto("/people")
    form = page.locator("form[action='/people/offset']")
    for true, good in (("2099-01-01T07:00:00", False), ("2026-09-01T07:00:00", True)):
        form = page.locator("form[action='/people/offset']")
        form.locator("[name=shown]").fill("2000-01-01T00:10:00")
        form.locator("[name=true]").fill(true)
        form.locator("[name=why]").fill("Power cut")
        form.locator("button").click()
        assert (page.locator(".flash.bad").count() == 0) is good
    row = site.sql("SELECT device, by_hand FROM gate_offsets")[0]
    assert (row["device"], row["by_hand"]) == ("gate-01", True)


def test_whose_the_numbers_of_a_gate_are(site: Any, sign_in: Any, waiting: Any) -> None:
    page = sign_in(lang="en")

    def say(whose: str, name: str = "") -> None:
        page.goto("/people")
        form = page.locator("form[action='/people/namespace']")
        form.locator("[name=device]").fill("gate-03")
        form.locator("[name=whose]").select_option(whose)
        form.locator("[name=namespace]").fill(name)
        form.locator("[name=why]").fill("The school's list says so")
        form.locator("button").click()

    def there() -> Any:
        return site.sql("SELECT namespace FROM devices WHERE id = 'gate-03'")[0]["namespace"]

    for whose, name, meant in (
        ("device", "", "gate-03"), ("account", "hanet-hp", "hanet-hp"), ("department", "", None), ("device", "", "gate-03"),
    ):  # fmt: skip
        say(whose, name)
        assert page.locator(".flash.bad").count() == 0 and there() == meant
    for whose, name in (("department", "hanet-hp"), ("account", ""), ("account", "Department")):
        say(whose, name)
        assert page.locator(".flash.bad").count() == 1 and there() == "gate-03", (
            "what is not said clearly changes nothing"
        )
    page.goto("/gates/gate-03")
    assert page.locator("dd a", has_text="the device's own").count() == 1
    page.locator("details", has=page.locator("form[action$='/replace']")).locator("summary").click()
    assert "they are other people" in page.locator("form[action$='/replace']").inner_text()
    site.sql("UPDATE devices SET namespace = NULL WHERE id = 'gate-03'")
