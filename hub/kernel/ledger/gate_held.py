"""Which gates are held back, as all who hear them say together: one alarm for each, however many say it.

One concern: that sum. What a kill leaves: a reporter's word that runs out by itself. It must never end an alarm because one
of several reporters knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hub.kernel.ledger import alarms
from hub.kernel.ledger.alarms import Alarm
from hub.kernel.ledger.core import Core
from hub.kernel.store.db import sql

Standing = Mapping[str, Sequence[str]]
"""Kind of alarm → gates."""


async def tell(
    core: Core,
    reporter: str,
    standing: Standing,
    good_for_s: float,
    told: Callable[[Standing], Mapping[str, list[Alarm]]],
) -> None:
    """Say what one process holds back now; good until it says so again, or for `good_for_s`. `told` words the alarms."""
    pairs = sorted((device, kind) for kind, found in standing.items() for device in found)
    async with core.pool.acquire() as connection, connection.transaction():
        # One after the other: whoever comes last has seen what the others said.
        await connection.execute(sql.gate_held_lock)
        await connection.execute(sql.gate_held_tell, [d for d, _ in pairs], [k for _, k in pairs], reporter, good_for_s)
        together: dict[str, list[str]] = {kind: [] for kind in standing}
        for row in await connection.fetch(sql.gate_held_all):
            together.setdefault(row["kind"], []).append(row["device"])
        for kind, found in told(together).items():
            await alarms.settle(core, connection, kind, found)
