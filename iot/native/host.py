"""What the hub tells gates of its own tree: whether it listens (retained), and which events it wants again.

One concern: those words, defined in the AsyncAPI document beside this. Pure. It must never say the hub listens on
behalf of a session that has ended."""

from __future__ import annotations

import orjson

from hub.kernel.ports import Publication

STATE_TOPIC = "campus/v1/STATE"
"""Retained: gates hold their events while it says `offline`."""


class HostState:
    """The state of one bridge. Each session has a number of its own, which ties its death to its birth."""

    topic = STATE_TOPIC

    def __init__(self, started_ms: int) -> None:
        """`started_ms`: UTC, milliseconds since 1970: numbers grow over restarts too."""
        self._number = started_ms

    def will(self) -> bytes:
        """What the broker says when the session about to be opened breaks off: a new number."""
        self._number += 1
        return self.death()

    def birth(self) -> bytes:
        """The session stands."""
        return orjson.dumps({"state": "online", "bd": self._number})

    def death(self) -> bytes:
        """The session is over."""
        return orjson.dumps({"state": "offline", "bd": self._number})


def resend(school: str, device: str, command: str, first: int, last: int) -> Publication:
    """The command to send the events numbered `first` to `last` again; its answer on `res` bears the id `command`."""
    body = orjson.dumps({"id": command, "resend": {"from": first, "to": last}})
    return Publication(f"campus/v1/{school}/{device}/cmd", body)
