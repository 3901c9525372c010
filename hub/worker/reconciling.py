"""Gathering for a reconciliation: the hub's side and the counterparty's listing, page by page, for as long as the caller has time.

One concern: that conversation. Any process may run it, at any time, several at once: a page is staged once, whoever asked for it.
It must never keep what a listing says beyond key, version, school, class and hash.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from adapters import manifest as manifests
from connectors.address import AddressPolicy
from hub.kernel.ledger import reconcile
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.delta import route_to
from hub.kernel.ledger.reconcile import Listed, NotComparable, Run
from hub.kernel.ports import Text
from hub.keys import Keys
from hub.worker.pulls import Asking, Stopped
from mappings.fieldmap import FieldMap

HOLDS = "holds:"
"""How the names begin by which adapters list what a counterparty holds of a record type."""


class Standing(Struct, kw_only=True):
    """How far a run is. `fault`: why it stopped for now; ask again after `after_s` seconds, or, without that, a person must look."""

    run: int
    state: str
    ours: int
    theirs: int
    unread: int
    fault: Text | None = None
    after_s: float | None = None


def listed_types(core: Core, row: Mapping[str, Any]) -> list[str]:
    """Record types that can be reconciled with a connector: listed there, and sent there as changes only."""
    return [t for t in manifests.load(row["system"]).listings if route_to(core, row["id"], t) is not None]


def map_of(core: Core, connector: int, record_type: str, maps: Mapping[str, FieldMap]) -> FieldMap:
    """The field map by which a type travels to a connector. Raises `NotComparable`."""
    route = route_to(core, connector, record_type)
    if route is None:
        raise NotComparable(record_type)
    target = core.router.targets[route.flow, connector]
    return maps[target.map].allowing(target.allow)


async def gather(
    core: Core,
    row: Mapping[str, Any],
    run: Run,
    field_map: FieldMap,
    keys: Keys,
    addresses: AddressPolicy,
    for_s: float,
) -> Standing:
    """Gather for at most about `for_s` seconds, and compare when both sides are whole."""
    until = time.monotonic() + for_s
    asking = Asking(core, row, HOLDS + run.type, keys, addresses)
    try:
        while run.state == "gathering" and time.monotonic() < until:
            if not run.theirs_done:
                run = await _page(core, asking, run)
            elif not run.ours_done:
                run = await reconcile.stage_ours(core, run, field_map)
            else:
                run = await reconcile.conclude(core, run.id)
    except Stopped as stopped:
        return _standing(run, stopped.text, stopped.after_s)
    finally:
        await asking.close()
    return _standing(run, None, None)


async def _page(core: Core, asking: Asking, run: Run) -> Run:
    page = await asking.listing(run.theirs_after)
    listed = [
        Listed(d.key, d.body["version"], d.school or "", d.body["group"], bytes.fromhex(d.body["content"]))
        for d in page.drafts
    ]
    # What cannot be read but names itself is there all the same; what does not even do that is left out.
    listed += [Listed(r.key, 0, "", "", None) for r in page.rejects if r.key is not None]
    return await reconcile.stage_theirs(core, run, listed, page.cursor, page.next is None)


def _standing(run: Run, fault: Text | None, after_s: float | None) -> Standing:
    return Standing(
        run=run.id,
        state=run.state,
        ours=run.ours_rows,
        theirs=run.theirs_rows,
        unread=run.unread,
        fault=fault,
        after_s=after_s,
    )
