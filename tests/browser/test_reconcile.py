"""Reconciling in a real browser: begun by the form, what was found masked, the plan before the order, and the order once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser import seed
from tests.browser.test_pages import OVERFLOW, UNREADABLE

SCHOOL = seed.SCHOOLS[0][0]


@pytest.fixture(scope="module")
def found(site: Any) -> int:
    """A run that has been compared: one learner the Ministry lacks, one the school has otherwise, one for a person."""
    connector = site.sql("SELECT id FROM connectors WHERE name = 'ministry'")[0]["id"]
    number = site.sql(
        "INSERT INTO reconciliations (key, connector, type, actor, state, ours_done, theirs_done, ours_rows, theirs_rows, compared_at)"
        " VALUES ('browser', $1, 'learner', 'quantri', 'compared', true, true, 12, 11, now()) RETURNING id",
        connector,
    )[0]["id"]
    keys = [
        r["key"]
        for r in site.sql("SELECT key FROM streams WHERE type = 'learner' AND school = $1 ORDER BY key LIMIT 2", SCHOOL)
    ]
    for key, side, kind, action in (
        (keys[0], "counterparty", "missing_there", "send"), (keys[1], "school", "differs", "school"),
        ("3199999999", "counterparty", "missing_here", "person"),
    ):  # fmt: skip
        site.sql(
            "INSERT INTO reconcile_differences (run, side, school, class, key, kind, ours, theirs, action) VALUES ($1, $2, $3, '6A1', $4, $5, 1, NULL, $6)",
            number, side, SCHOOL, key, kind, action,
        )  # fmt: skip
    site.sql(
        "INSERT INTO reconcile_groups VALUES ($1, $2, '6A1', 12, 11, false), ($1, $2, '6A2', 9, 9, true)",
        number,
        SCHOOL,
    )
    return int(number)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_the_pages_read_well(site: Any, sign_in: Any, found: int, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    for name, path in {"reconcile": "/reconcile", "reconciliation": f"/reconcile/{found}"}.items():
        answer = page.goto(path)
        assert answer is not None and answer.status == 200, name
        assert page.evaluate(OVERFLOW) <= 0, f"{name} is wider than the screen"
        assert page.evaluate(UNREADABLE) == [], name
        if shots := os.environ.get("CONSOLE_SHOTS"):
            page.screenshot(path=str(Path(shots) / f"{name}-{lang}-{width}.png"), full_page=True)


def test_a_run_is_begun_and_a_plan_is_ordered_once(site: Any, sign_in: Any, found: int) -> None:
    page = sign_in(lang="en")
    page.goto("/reconcile")
    page.select_option("select[name=what]", "ministry/learner")
    page.click("text=Begin")
    assert "gathering" in page.locator("main").inner_text().lower()
    page.goto(f"/reconcile/{found}")
    told = page.locator("main").inner_text()
    assert "3199999999" not in told, "keys are masked"
    assert "Plan: records to send: 1" in told and page.locator("tbody a").count() == 2
    before = site.sql("SELECT count(*) AS n FROM deliveries WHERE cause = 'compared'")[0]["n"]
    page.fill("#plan [name=why]", "Bộ báo thiếu bản ghi")
    page.click("#plan button")
    assert site.sql("SELECT count(*) AS n FROM deliveries WHERE cause = 'compared'")[0]["n"] - before <= 1
    assert page.locator("#plan").count() == 0
    assert site.sql("SELECT state FROM reconciliations WHERE id = $1", found)[0]["state"] == "repaired"
