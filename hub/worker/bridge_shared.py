"""What comes without a gate of its own: on topics that gates share, and in the names of devices nobody registered.

One concern: what becomes of it when it is too much, for nobody can be held back who has no name. It must never drop what may be
somebody's passage: on a gate's own topic everything is kept, only behind the others; on a shared one of what is refused the first few of
each kind an hour, and the rest is counted. Nor a word of a gate that has not just been heard: whoever floods a topic says it of others.
"""

from __future__ import annotations

from hub.kernel.ports import Decoded
from hub.worker import bridge_metrics as metrics
from hub.worker.bridge_items import Item
from hub.worker.bridge_registry import Gates
from hub.worker.gate_guard import Guard

_REPEATED = {"kind": "repeated"}


def unowned(guard: Guard, gates: Gates, item: Item) -> bool:
    """Count a publication without a gate of its own; True: it goes behind the others. It may be left without anything to store or to
    say, and is acknowledged all the same."""
    route = gates.route(item.delivered.topic)
    refused = item.decoded.invalid
    held = guard.shared(route.subject, gates.sizes.get(route.name, 0), refused is not None)
    if refused is not None:
        if route.device is None and not guard.keeps(route.subject, refused.code):
            item.arrival = None
            metrics.NOT_KEPT.labels(refused.code).inc()
    elif held and item.arrival is None:
        facts = item.decoded.advisory or {}
        device = facts.get("device")
        # A heartbeat is no `Online`: that one is waited for by its gate, and answered.
        word = f"{device} {facts.get('kind')} {facts.get('state')}"
        if gates.entry(device, route.name) is not None and guard.repeats(route.subject, word):
            item.decoded, item.acks = Decoded(advisory=dict(_REPEATED)), []
            metrics.REPEATED.inc()
    return held
