"""The bell: which word is rung where, and how often."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from hub.bell import Bell


class Redis:
    """Writes down what is published."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, float]] = []

    async def publish(self, channel: str, word: str) -> None:
        self.said.append((channel, word, time.monotonic()))


def test_the_word_of_every_commit_has_a_channel_of_its_own_and_is_rung_seldom() -> None:
    async def main() -> None:
        redis: Any = Redis()
        bell, heard = Bell(redis), list[str]()
        bell.local.append(heard.append)
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            bell.ring("ready")
            await asyncio.sleep(0)
        bell.ring("devices")
        await asyncio.sleep(0.08)
        ready = [at for channel, word, at in redis.said if word == "ready" and channel.endswith(":ready")]
        assert 2 <= len(ready) <= 7, "at most every 20 ms, and the last one is not forgotten"
        assert [c for c, word, _ in redis.said if word == "devices"] == ["lt:bell"]
        assert heard[-1] == "devices" and heard.count("ready") > len(ready), "its own process hears at once"

    asyncio.run(main())
