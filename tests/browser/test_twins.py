"""Rehearsing an outage in a real browser: a fault goes to a real simulator and to nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.ministry.simulator import Simulator
from adapters.twin import FAULTS
from hub.console.words import WORDS
from tests.browser.test_pages import OVERFLOW, UNREADABLE


@pytest.fixture
def ministry(site: Any) -> Iterator[Simulator]:
    """A simulator of the Ministry behind its connector."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    twin = Simulator()
    url = asyncio.run_coroutine_threadsafe(twin.start(), loop).result(10)
    before = site.sql("SELECT settings FROM connectors WHERE name = 'ministry'")[0]["settings"]
    changed = json.loads(before) if isinstance(before, str) else dict(before)
    changed["transport"] = {**changed["transport"], "base_url": url}
    site.sql("UPDATE connectors SET settings = $1 WHERE name = 'ministry'", json.dumps(changed))
    yield twin
    site.sql(
        "UPDATE connectors SET settings = $1 WHERE name = 'ministry'",
        before if isinstance(before, str) else json.dumps(before),
    )
    asyncio.run_coroutine_threadsafe(twin.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_fault_is_switched_on_watched_and_off(
    site: Any, sign_in: Any, ministry: Simulator, lang: str, width: int
) -> None:
    page = sign_in(width=width, lang=lang)
    page.goto("/twins")
    assert page.locator("form[action^='/twins/']").count() == 1, "only what proves itself a simulator"
    page.select_option("select[name=kind]", "down_503")
    page.select_option("select[name=seconds]", "30")
    page.click("form[action='/twins/ministry/fault'] button")
    assert [f.kind for f in ministry.faults] == ["down_503"] and ministry.faults[0].for_s == 30
    assert "503" in page.locator("[data-live]").inner_text()
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(UNREADABLE) == []
    if folder := os.environ.get("CONSOLE_SHOTS"):
        page.screenshot(path=f"{folder}/twins-{lang}-{width}.png", full_page=True)
    page.select_option("select[name=kind]", "none")
    page.click("form[action='/twins/ministry/fault'] button")
    assert ministry.faults == []
    said = site.sql("SELECT data FROM journal WHERE kind = 'rehearse'")
    assert len(said) >= 2


def test_a_kind_of_tomorrow_is_shown_by_its_own_word(
    site: Any, sign_in: Any, ministry: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAULTS, "of_tomorrow", "nobody has a word for it yet")
    page = sign_in()
    assert page.goto("/twins").status == 200
    page.select_option("select[name=kind]", "of_tomorrow")


def test_every_fault_has_its_words() -> None:
    assert {f"fault.{kind}" for kind in FAULTS} <= WORDS.keys()
