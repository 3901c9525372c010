"""Which version of MQTT the next CONNECT speaks: 5, or 3.1.1 where a broker does not know it.

One concern: that choice. A broker that says so is believed. One that hangs up on the CONNECT may not know version 5, or may
be restarting just then: the next attempt speaks 3.1.1, at once, and only a broker that hung up and then took that twice is
offered 5 no more. It must never have an attempt repeated at once twice over.
"""

from __future__ import annotations

_BELIEVED = 2


class Offer:
    """Of one client, for the broker it always comes back to."""

    def __init__(self) -> None:
        self._known = False  # that the broker does not speak 5
        self._taken = 0  # times 3.1.1 was taken right behind a hang-up
        self._behind = False
        self.at_once = False
        """Whether the next attempt is another than the last, and hence need not wait."""

    def next(self) -> bool:
        """Whether the attempt that begins now speaks 5."""
        self._behind, self.at_once = self.at_once, False
        return not (self._known or self._behind)

    def refused(self) -> None:
        """The broker does not speak 5, and said so."""
        self.at_once = not self._known
        self._known = True

    def hung_up(self) -> None:
        """The broker gave a CONNECT of version 5 no answer."""
        self.at_once = True

    def taken(self) -> None:
        """The session stands."""
        self._taken = self._taken + 1 if self._behind else 0
        self._known = self._known or self._taken >= _BELIEVED
