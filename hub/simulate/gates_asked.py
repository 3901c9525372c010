"""Having the hub ask the gates that push nothing: where and how, until it has read them, and no longer.

One concern: the hub's side of simulated lists, through what an administrator would use. What a kill leaves is lists at a
port nobody serves, asked in vain and told as an alarm until the next run forgets them. It must never have the hub ask
an address beyond this machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from hub.kernel.ledger import gate_lists
from hub.kernel.ledger.core import Core
from hub.keys import Keys
from hub.simulate.gates_books import Reading
from hub.simulate.gates_fleet import OWN
from hub.simulate.gates_words import LISTED, Spec
from hub.worker.list_settings import BadListSettings, check

_ACTOR = "simulate"
_NETWORK = "127.0.0.0/8"
_EVERY_S, _OVERLAP_S = 10, 30
"""As often as the hub asks at all; a real gate is asked every quarter of an hour."""
_LOOK_S = 0.5
_PATIENCE_S, _PATIENCE_GATE_S = 75.0, 2.0
"""Beyond the lease of a worker that was killed while it asked; a worker asks a few gates at a time."""


def settings_of(gate: Spec, base: str) -> dict[str, Any]:
    """How the hub asks this gate, whose list stands at the server `base`."""
    return {
        "transport": {"kind": "rest", "base_url": f"{base}/{gate.device}"},
        "auth": {"scheme": "digest", "username": "admin"},
        "network": _NETWORK,
        "every_s": _EVERY_S,
        "overlap_s": _OVERLAP_S,
    }


def left_out(gates: Iterable[Spec], networks: Collection[str]) -> list[Spec]:
    """The gates that could not be asked by a hub whose `outward.gate_networks` are these."""
    asked = [g for g in gates if g.family in LISTED]
    try:
        for gate in asked[:1]:
            check(settings_of(gate, "http://127.0.0.1:1"), networks)
    except BadListSettings:
        return asked
    return []


async def ask(core: Core, keys: Keys, gates: Iterable[Spec], base: str) -> None:
    """Have the lists at the server `base` read from now on. All that an earlier run left is forgotten."""
    since = datetime.now(UTC)
    for row in await gate_lists.standing(core):
        if OWN.fullmatch(row["device"]):
            await gate_lists.drop(core, _ACTOR, row["device"])
    for gate in gates:
        if gate.family in LISTED:
            sealed = keys.encrypt(msgspec.json.encode({"password": gate.secret}), f"gate-list {gate.device}".encode())
            await gate_lists.put(core, _ACTOR, gate.device, settings_of(gate, base), sealed, since)


async def ask_no_more(core: Core, gates: Iterable[Spec]) -> None:
    """End what `ask` began."""
    for gate in gates:
        if gate.family in LISTED:
            await gate_lists.drop(core, _ACTOR, gate.device)


async def read(core: Core, last: Mapping[str, datetime], patience_s: float | None = None) -> Reading:
    """Wait until the hub says of each gate that everything up to its last passage is stored. Ends early when of those it
    is behind with none can be asked before a person changes something."""
    began = time.perf_counter()
    until = began + (_PATIENCE_S + _PATIENCE_GATE_S * len(last) if patience_s is None else patience_s)
    while True:
        rows = {r["device"]: r for r in await gate_lists.standing(core) if r["device"] in last}
        behind = [device for device, at in last.items() if device not in rows or rows[device]["done_to"] <= at]
        found = {device: row["fault"] for device, row in rows.items() if row["fault"]}
        hopeless = all(found.get(device, {}).get("kind") == "person" for device in behind)
        if hopeless or time.perf_counter() > until:
            return Reading(
                gates=len(last),
                waited_s=round(time.perf_counter() - began, 1),
                behind=sorted(behind),
                faults={device: f"{fault['vi']} / {fault['en']}" for device, fault in sorted(found.items())},
            )
        await asyncio.sleep(_LOOK_S)
