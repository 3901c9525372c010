"""Copies the broker keeps for gates that are gone: cleared, so that nobody who connects later takes them for the present.

One concern: which topics those are. Pure but for the loop. It must never clear what a registered gate says of itself at its own
place, unless it says it with a picture; an event is another matter: no event may be retained, whoever says it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from prometheus_client import Counter

from hub.gate_topics import state_topic

CLEARED = Counter("gate_retained_cleared_total", "Retained copies of gates' messages cleared at the broker")
_LOOK_S = 5.0


class Retired:
    """What gates of the hub's own tree left behind: `look` tells it whenever the registry is another."""

    def __init__(self) -> None:
        self._schools: dict[str, str] = {}

    def look(self, schools: Mapping[str, str]) -> list[str]:
        """Topics of states to clear: of gates revoked or replaced since the last look, and of moved ones at their old place."""
        gone = [state_topic(was, device) for device, was in self._schools.items() if schools.get(device) != was]
        self._schools = dict(schools)
        return gone


class Pictured:
    """Topics of messages something was taken out of. A standing subscriber is not told whether a gate wrote with the
    retain flag: then the broker keeps the picture until somebody clears it. So every such topic is cleared, whether anything is
    kept there or not, once in a while and not with every message. A kill forgets what is owed; what is kept then comes as
    a retained copy with the next subscription, and is cleared for that."""

    def __init__(self) -> None:
        self._owed: set[str] = set()

    def saw(self, topic: str) -> None:
        """A message on this topic was heard, without what was taken out of it."""
        self._owed.add(topic)

    async def keep_clearing(self, clear: Callable[[str], object], every_s: float) -> None:
        """Clear what is owed, without end; what the client does not take (False) stays owed."""
        while True:
            await asyncio.sleep(every_s)
            owed, self._owed = self._owed, set()
            self._owed.update(topic for topic in owed if clear(topic) is False)


class Publisher(Protocol):
    """What a copy is cleared with: an MQTT client."""

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> int | None:
        """None when it was not taken."""
        ...


def clearing(client: Publisher) -> Callable[[str], bool]:
    """Has the broker forget what it keeps under a topic; False when the client did not take it."""
    return lambda topic: client.publish(topic, b"", retain=True) is not None


async def sweep(schools: Callable[[], Mapping[str, str]], clear: Callable[[str], bool]) -> None:
    """Clear what is left behind, without end. What a process did not live to clear, the next one finds at the broker."""
    retired = Retired()
    owed: set[str] = set()
    while True:
        now = schools()
        owed.update(retired.look(now))
        owed -= {state_topic(school, device) for device, school in now.items()}  # it came back before it was cleared
        for topic in sorted(owed):
            if clear(topic):
                owed.discard(topic)
                CLEARED.inc()
        await asyncio.sleep(_LOOK_S)
