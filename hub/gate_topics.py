"""What a gate may read and write at the broker, by its family: its own topics, and nothing of anybody else's.

One concern: those topics. Pure. It must never grant a filter that reaches into another gate's topics.
"""

from __future__ import annotations

from collections.abc import Iterable

PEOPLE_TAKERS = frozenset({"face_mqtt"})
"""Families whose gates are told over the broker whom they should know."""


def gate_topics(
    device: str, family: str, school: str, before: Iterable[str] = ()
) -> tuple[list[str], list[str]] | None:
    """Topics a gate may read, and may write; None for families that do not speak to the broker. `before`: schools it
    stood at, whose topics it may still be set to. The shared topics of a family are advisory to the hub."""
    if family == "face_mqtt":
        return (
            [f"mqtt/face/{device}", f"topic/face/capture/response/{device}"],
            [f"mqtt/face/{device}/+", "mqtt/face/basic", "mqtt/face/heartbeat", f"topic/face/capture/request/{device}"],
        )
    if family == "hanet":
        return [], [f"/topic/detected/{device}"]
    if family != "native":
        return None
    reads, writes = [], []
    for code in dict.fromkeys([school, *before]):
        own = f"campus/v1/{code}/{device}"
        reads.append(f"{own}/cmd")
        writes += [f"{own}/evt", f"{own}/state", f"{own}/res"]
    return [*reads, "campus/v1/STATE"], writes


def state_topic(school: str, device: str) -> str:
    """Where a gate of the hub's own tree says that it is there."""
    return f"campus/v1/{school}/{device}/state"
