"""What a worker looks after every few seconds because no event wakes it: codes, waits, seals, alarms. Each step by itself
(`hub.worker.steps`).

One concern: which steps these are. Several workers may do the same at the same time, and a kill leaves nothing that the next
round does not find. It must never judge anything itself.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hub.kernel.ledger import alarms, guards, operations, schedules, upkeep, waits
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Text
from hub.settings import Settings
from hub.worker import recovery_watch, retime
from hub.worker.steps import Rhythm, Steps

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
EVERY_S = 10.0
SWEEP = Rhythm(
    kind="sweep", said=Text("Việc trông coi", "The watch"), every_s=0.0, again_s=0.0, told_after=6
)  # a person is told after a minute: until then it may be a server that restarts
"""Every step in every round, whatever became of it in the last."""


class Sweep:
    """The steps themselves, over one ledger and one set of settings."""

    def __init__(self, core: Core, settings: Settings) -> None:
        kept = settings.alarms
        self._work = Steps(
            core,
            SWEEP,
            [
                ("codes", lambda: operations.sweep_codes(core, datetime.now(_ZONE).date())),
                ("waits", lambda: waits.sweep(core)),
                ("seal", lambda: upkeep.seal(core)),
                ("alarms", lambda: alarms.watch(core, kept.oldest_minutes * 60.0)),
                ("recoveries", lambda: recovery_watch.watch(core, kept.recovery_hours * 3600.0, core.moment())),
                ("schedules", lambda: schedules.settle(core)),
                ("shares", lambda: guards.watch(core)),
                ("check_ins", lambda: retime.find(core)),
            ],
        )

    async def work(self) -> None:
        """One round; to be called every `EVERY_S` seconds."""
        await self._work.work()
