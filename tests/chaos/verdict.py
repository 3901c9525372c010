"""What the oracle finds, and the times in which something was hurt.

One concern: those shapes. They must never say whether a run was good enough: the tests do.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

PUSHES, MQTT, HTTP = "pushes", "gates over MQTT", "gates over HTTP"
"""The ways in, as windows and objections call them: each goes on where a push, or a passage, is acknowledged."""


class Verdict(Struct, kw_only=True):
    """What the oracle found. `objections` empty: nothing lost, nothing doubled, all in order."""

    acknowledged: int = 0
    passages: int = 0
    overtaken: int = 0
    """Of these, said by their gate after a later one."""
    effects: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    hanging: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Anything else that was promised: a refusal without cause, an account that does not add up, no progress."""
    sightings: int = 0
    """Passages at cameras nobody answers."""
    listed: int = 0
    """Of these, found by their list alone."""
    to_people: int = 0
    """Handed to a person because nobody could know: allowed for the portal only."""
    repeated_lookups: int = 0
    longest_stall_s: float = 0.0
    """The longest time in which no counterparty was made to do anything, while the sources pushed without pause."""
    windows: int = 0
    """Times in which something was hurt and others had to go on, and were seen to or objected to."""
    paths: dict[str, int] = field(default_factory=dict)
    """Of these, how many asked it of each system and each way in."""

    @property
    def objections(self) -> list[str]:
        """All of it, in words."""
        kinds = ("lost", "doubled", "disordered", "hanging", "wrong")
        return [f"{kind}: {what}" for kind in kinds for what in getattr(self, kind)]


class Window(Struct, frozen=True, kw_only=True):
    """A time in which something was hurt while a way to `healthy` systems, and into the hub by `healthy` ways in, stood open."""

    name: str
    start: datetime
    end: datetime
    healthy: tuple[str, ...]
