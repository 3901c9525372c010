"""The accounts are counted in the background, one count at a time, however many look and scrape."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hub.api import metrics, shared
from hub.api.shared import Books, Shared


def _account(gap: int = 0) -> Any:
    return SimpleNamespace(balanced=not gap, differences={"records": gap} if gap else {})


def test_a_count_that_lasts_holds_up_no_scrape_and_is_never_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        counting, most, states = 0, 0, 0
        go_on = asyncio.Event()

        async def account(_core: Any) -> Any:
            nonlocal counting, most
            counting += 1
            most = max(most, counting)
            await go_on.wait()
            counting -= 1
            return _account(3)

        async def read(_core: Any) -> None:
            nonlocal states
            states += 1
            await asyncio.sleep(0.01)

        monkeypatch.setattr(shared, "account", account)
        monkeypatch.setattr(shared, "_ACCOUNT_WAIT_S", 0.05)
        monkeypatch.setattr(metrics, "_states", read)
        hub: Any = SimpleNamespace(core=None, books=Books(), measured=Shared())
        async with asyncio.timeout(2):
            pages = await asyncio.gather(*(metrics.render(hub) for _ in range(20)))
        assert len(pages) == 20 and (most, states) == (1, 1)
        assert hub.books.found is None and hub.books.at is None
        go_on.set()
        while hub.books.found is None:
            await asyncio.sleep(0.001)
        assert 'lt_account_difference{what="records"} 3.0' in (await metrics.render(hub)).decode()
        counted = metrics._registry.get_sample_value("lt_account_counted_timestamp_seconds")
        assert counted == hub.books.at.timestamp()
        assert most == 1

    asyncio.run(go())


def test_a_slow_count_is_not_begun_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        times, now = 0, 1000.0

        async def account(_core: Any) -> Any:
            nonlocal times, now
            times += 1
            now += 90.0
            return _account()

        monkeypatch.setattr(shared, "account", account)
        monkeypatch.setattr(shared, "time", SimpleNamespace(monotonic=lambda: now))
        books = Books()
        await books.look(None)  # type: ignore[arg-type]
        for _ in range(100):
            now += 15.0
            await books.look(None)  # type: ignore[arg-type]
        assert times == 1, "25 minutes after a count of 90 s"
        now += 600.0
        await books.look(None)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert times == 2

    asyncio.run(go())
