"""Which injury comes next: two shuffled decks, so that none is repeated before each of its deck has been dealt.

One concern: that order, by the seed alone. It must never carry anything out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

_KILLS = 1 / 3
"""The share of kills. The others are many more, and a run of a few minutes must come through them."""


class Deck:
    """Deals kinds of injury without end. One for a whole run: its parts go on where the one before ended."""

    def __init__(self, kinds: Iterable[str], seed: int) -> None:
        known = sorted(kinds)
        self._rng = random.Random(seed)
        self._kinds = {True: [k for k in known if k.startswith("kill ")]}
        self._kinds[False] = [k for k in known if k not in self._kinds[True]]
        self._left: dict[bool, list[str]] = {True: [], False: []}
        self.undealt = set(known)
        """Kinds that have not been dealt once."""

    def deal(self) -> str:
        """The next kind."""
        kill = self._rng.random() < _KILLS
        if not self._left[kill]:
            self._left[kill] = self._rng.sample(self._kinds[kill], len(self._kinds[kill]))
        kind = self._left[kill].pop()
        self.undealt.discard(kind)
        return kind
