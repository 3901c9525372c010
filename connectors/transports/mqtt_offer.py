"""Which version of MQTT the next CONNECT speaks: 5, or 3.1.1 where a broker does not know it.

One concern: that choice. A broker that says so is believed. One that hangs up on the CONNECT may not know version 5, or may
be restarting just then: the next attempt speaks 3.1.1, at once, and only a broker that hung up and then took that twice is
offered 5 no more. One that keeps silent on it costs the whole wait for an answer: once is enough, but since it may only have
been slow, it is asked again after an hour. It must never have an attempt repeated at once twice over.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_BELIEVED = 2
_SILENT_FOR_S = 3600.0


class Offer:
    """Of one client, for the broker it always comes back to. `clock`: seconds of a steady clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known = False  # that the broker does not speak 5
        self._taken = 0  # times 3.1.1 was taken right behind a hang-up
        self._behind = False
        self._silent = False  # the last offer of 5 was left unanswered
        self._spared = float("-inf")  # until then 5 is not offered
        self.at_once = False
        """Whether the next attempt is another than the last, and hence need not wait."""

    def next(self) -> bool:
        """Whether the attempt that begins now speaks 5."""
        self._behind, self.at_once = self.at_once, False
        self._silent = self._silent and self._behind
        return not (self._known or self._behind or self._clock() < self._spared)

    def refused(self) -> None:
        """The broker does not speak 5, and said so."""
        self.at_once = not self._known
        self._known = True

    def hung_up(self) -> None:
        """The broker ended the connection instead of answering a CONNECT of version 5."""
        self.at_once = True

    def silent(self) -> None:
        """The broker left a CONNECT of version 5 unanswered for all the time an answer may take."""
        self.at_once = self._silent = True

    def taken(self) -> None:
        """The session stands."""
        if self._behind and self._silent:
            self._spared = self._clock() + _SILENT_FOR_S
            return
        self._taken = self._taken + 1 if self._behind else 0
        self._known = self._known or self._taken >= _BELIEVED
