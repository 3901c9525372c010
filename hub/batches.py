"""How many deliveries one call of a connector holds at most: what its policy says, within what its adapter's calls can hold.

One concern: that number, for all who count with it: the dispatcher, recovery's steps, the forecast. It is told when it is read,
not when settings are stored: an adapter's own maximum may change under a row that stands. It must never load adapters for a process
that does not ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.kernel.ledger.core import stored_batch


def within(batch_max: int, most: int) -> int:
    """Deliveries in one call: as many as the policy allows and the adapter's largest operation holds; one at least."""
    return max(1, min(batch_max, most))


def per_call(system: str, settings: Mapping[str, Any]) -> int:
    """The same for a connector's row: its system and its settings as stored. A system without an adapter sends nothing in calls of its
    own: there the policy's word stands, or what holds where it says none."""
    from adapters import manifest as manifests

    told = stored_batch(system, settings)
    try:
        return within(told, manifests.load(system).batch_most)
    except manifests.ManifestError:
        return max(1, told)
