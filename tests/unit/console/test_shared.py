"""One reader for many who ask: what somebody changed is not hidden by what was read before."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI

import connectors.settings as connector_settings
from hub.console import heard, mount
from hub.console.pulse import Shared


class Slow:
    """What is read, slowly, of what stands."""

    def __init__(self) -> None:
        self.stands, self.times = "old", 0
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def read(self) -> str:
        self.times += 1
        read = self.stands
        self.asked.set()
        await self.go_on.wait()
        return read


def test_an_answer_is_shared_and_one_of_before_a_change_is_not_kept() -> None:
    async def go() -> None:
        shared, slow = Shared(), Slow()
        before = asyncio.create_task(shared.get("x", 60.0, slow.read))
        await slow.asked.wait()
        slow.stands = "new"
        shared.forget()  # while the old answer is being made
        after = asyncio.create_task(shared.get("x", 60.0, slow.read))
        await asyncio.sleep(0)
        slow.go_on.set()
        assert (await before, await after) == ("old", "new")
        assert await shared.get("x", 60.0, slow.read) == "new" and slow.times == 2, "kept from here on"
        shared.forget()
        assert await shared.get("x", 60.0, slow.read) == "new" and slow.times == 3

    asyncio.run(go())


@pytest.mark.parametrize(("word", "times"), [("connectors", 2), ("lost", 2), ("ready", 1), ("codes", 1)])
def test_the_bell_says_when_a_connector_changed(word: str, times: int) -> None:
    async def go() -> None:
        app, slow = FastAPI(), Slow()
        mount(app, connector_settings)
        slow.go_on.set()
        for _ in range(2):
            await app.state.console_pulses.shared.get("x", 60.0, slow.read)
            heard(app, word)
        assert slow.times == times

    asyncio.run(go())
