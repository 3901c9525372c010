"""Gates that are new to the list of a vendor's account: from when a run asks for them, and how soon.

One concern: that comparison of the registry with what a list has spoken for. It rests on what is stored alone, so a kill anywhere
loses nothing. It must never break off a run (whoever is new waits for the next), nor ask further back than the ledger would know
again what it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from hub.kernel.ledger import gate_accounts, gate_lists, parties
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.gate_lists import Asking
from hub.keys import Keys
from hub.worker.list_entries import entries, of_account
from iot.listing import Lister
from iot.web import placed

_GAP_S = 60.0
"""A list with somebody new is asked at most so often: gates are registered one after the other."""


class Start(Struct, frozen=True):
    """Where a run begins. `joined`: gates the list is asked for from there for the first time; `back`: that lies before what
    it would have been asked for without them."""

    at: datetime
    joined: tuple[str, ...] = ()
    back: bool = False


def those_in(others: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The gates a list of these entries tells of: what stands in no school is passed over."""
    return {name for name, entry in others.items() if placed(entry)}


def start_of(
    asking: Asking, overlap_s: float, there: Set[str], spoken: Mapping[str, datetime], most: timedelta
) -> Start:
    """Where a list's next run begins. `there`: whom it tells of; `spoken`: whom it has spoken for, itself with the time its
    first run began at; `most`: how far back it is asked for somebody new."""
    start = asking.done_to - timedelta(seconds=overlap_s)
    new = there - spoken.keys()
    if not asking.finished:
        # Its first run tells of everybody from where a person said that it begins.
        begun = spoken.get(asking.device) == start
        return Start(start, tuple(sorted(new if begun else new | {asking.device})))
    if not new - {asking.device}:
        return Start(start)
    oldest = max(asking.now - most, spoken.get(asking.device, asking.now - most))
    return Start(min(start, oldest), tuple(sorted(new)), back=oldest < start)


async def hurry(core: Core, keys: Keys, listers: Mapping[str, Lister]) -> None:
    """Have lists asked soon that somebody is new to."""
    waiting = await gate_accounts.resting(core, sorted(listers))
    if not waiting:
        return
    devices = entries(await parties.devices(core, waiting))
    spoken = await gate_accounts.spoken_for(core, waiting)
    for name in waiting:
        entry = devices.get(name)
        if entry is None or listers[entry["family"]].reach(entry) is None:
            continue
        if those_in(of_account(entry, devices, keys)) - {name} - spoken.get(name, {}).keys():
            await gate_lists.hurry(core, name, _GAP_S)
