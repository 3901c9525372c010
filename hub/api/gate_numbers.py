"""What gates number by themselves, as this gateway saw it: until the ledger has it, and what it makes of it with the others'.

One concern: that memory, and telling the holes. It must never take a number that another gateway has for a missing one, nor go by its
own word when the ledger's is newer: a device may have been wiped and told so elsewhere.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import Counter

from hub.kernel.ledger import gate_numbers
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.gate_numbers import Seen

log = logging.getLogger(__name__)

GRACE_S = 5.0
"""How long a hole must stand open: each gateway tells every two seconds what it saw."""
HURRY_S = 60.0
"""A gate with holes in what it pushes is asked for its list at most so often."""
KEPT = ("serial", "stamp")
"""Of what a family remembers: what the ledger keeps."""

MISSING = Counter("gate_missing_events_total", "Events missing by the devices' own numbering", ["family"])


class _Own:
    """What one gate's entry holds from here. `told_at`: when the ledger had all of it."""

    __slots__ = ("anew", "facts", "told_at")

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.anew = False
        self.told_at = math.inf


class GateNumbers:
    """One per gateway, for one event loop."""

    def __init__(self) -> None:
        self._news: dict[str, Seen] = {}
        self._own: dict[str, _Own] = {}  # of registered devices, hence bounded

    def saw(self, device: str, facts: Mapping[str, Any]) -> None:
        """Note what a family tells: `serial`, `covers`, `anew` (see `iot.hikvision.decode`), `stamp` (see `iot.zkteco.decode`)."""
        anew, stamp = bool(facts.get("anew")), facts.get("stamp")
        before = self._news.get(device, Seen())
        ranges = [] if anew else list(before.ranges)
        if (covers := facts.get("covers")) is not None:
            if ranges and ranges[-1][0] <= covers[0] <= ranges[-1][1] + 1 <= covers[1]:
                ranges[-1] = ranges[-1][0], covers[1]  # one after the other, as nearly always
            else:
                ranges.append((covers[0], covers[1]))
        elif stamp is None:
            return
        self._news[device] = Seen(
            ranges=ranges, anew=anew or before.anew, stamp=before.stamp if stamp is None else str(stamp)
        )
        own = self._own.setdefault(device, _Own())
        own.facts.update({name: facts[name] for name in KEPT if name in facts})
        own.anew, own.told_at = own.anew or anew, math.inf

    def over(self, device: str, serial: int | None, stamp: str | None, read_at: float) -> dict[str, Any]:
        """A gate's `serial` and `stamp`, by the ledger as it was read from `read_at` on, and by what it could not have had then."""
        own = self._own.get(device)
        if own is not None and own.told_at < read_at:
            del self._own[device]
            own = None
        facts: dict[str, Any] = {"serial": serial, "stamp": stamp}
        if own is not None:
            facts.update(own.facts)
            if serial is not None and not own.anew:
                facts["serial"] = max(serial, own.facts.get("serial", serial))
        return facts

    def take(self, devices: Iterable[str]) -> dict[str, Seen]:
        """What is new of these gates, to be told now."""
        return {device: self._news.pop(device) for device in devices if device in self._news}

    def told(self, seen: Mapping[str, Seen], at: float) -> None:
        """The ledger has this, from `at` on."""
        for device in seen:
            own = self._own.get(device)
            if own is not None and device not in self._news:
                own.told_at, own.anew = at, False

    def untold(self, seen: Mapping[str, Seen]) -> None:
        """This is still to be told."""
        for device, before in seen.items():
            later = self._news.get(device, Seen())
            self._news[device] = Seen(
                ranges=list(later.ranges) if later.anew else [*before.ranges, *later.ranges],
                anew=before.anew or later.anew, stamp=before.stamp if later.stamp is None else later.stamp,
            )  # fmt: skip

    def forget(self, known: Iterable[str]) -> None:
        """Drop all but these."""
        keep = set(known)
        self._own = {device: own for device, own in self._own.items() if device in keep}
        self._news = {device: seen for device, seen in self._news.items() if device in keep}


async def tell_missing(core: Core) -> int:
    """Have the gates asked whose holes are still open, and say and count what is missing. How much that is."""
    try:
        found = await gate_numbers.missing(core, GRACE_S, HURRY_S)
    except TRANSIENT as error:
        log.warning("holes in gates' numbers are looked for later: %s", type(error).__name__)
        return 0
    for one in found:
        MISSING.labels(one.family).inc(one.last - one.first + 1)
        log.warning("gate %s: events %d-%d are missing", one.device, one.first, one.last)
    return sum(one.last - one.first + 1 for one in found)
