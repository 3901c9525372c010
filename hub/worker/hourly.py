"""What a worker does every hour: partitions, retention, expiry, forgetting. Each step by itself (`hub.worker.steps`).

One concern: which steps these are. Several workers may do the same at the same time. It must never decide what is kept or for
how long: the settings and the ledger do.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from hub.kernel.ledger import alarms, evidence, files, lookups, quotas, rejudge, upkeep, verifications
from hub.kernel.ledger.core import CLASSES, Core
from hub.kernel.ports import Text
from hub.settings import Settings
from hub.worker.steps import Rhythm, Steps

log = logging.getLogger("hub.worker")

HOURLY = Rhythm(kind="upkeep", said=Text("Việc bảo trì hằng giờ", "The hourly upkeep"), every_s=3600.0, again_s=300.0)


class Hourly:
    """The steps themselves, over one ledger and one set of settings."""

    def __init__(self, core: Core, settings: Settings) -> None:
        self._core = core
        self._settings = settings
        kept = settings.retention
        by_class = {"short": kept.short_days, "standard": kept.standard_days, "long": kept.long_days}
        self._work = Steps(
            core,
            HOURLY,
            [
                ("partitions", self._partitions),
                ("anchor", self._anchor),
                ("orphans", self._orphans),
                *((f"drop_{name}", self._drop(CLASSES[name], days)) for name, days in by_class.items()),
                *((f"bodies_{name}", self._expire(CLASSES[name])) for name in by_class),
                ("keys", lambda: upkeep.forget_keys(core, settings.intake.key_days)),
                ("quotas", lambda: quotas.forget(core)),
                ("passages", lambda: rejudge.forget(core, datetime.now(UTC) - timedelta(days=kept.short_days))),
                ("conversations", lambda: lookups.tidy(core)),
                ("verifications", lambda: verifications.forget(core, kept.long_days)),
                ("files", lambda: files.forget(core, settings.files.unlinked_days, kept.long_days)),
            ],
        )

    async def work(self) -> None:
        """Do what is due; to be called every minute or so."""
        await self._work.work()

    async def _partitions(self) -> None:
        made, strays = await upkeep.make_partitions(self._core, self._settings.retention.ahead_days)
        if made:
            log.info("made %d partitions", made)
        stray = Text(
            f"{strays} dòng nằm trong phân vùng mặc định: phân vùng theo ngày không có kịp.",
            f"{strays} rows stand in DEFAULT partitions: the days' partitions were not there in time.",
        )
        await alarms.report(self._core, "partitions", [alarms.Alarm("partitions", "default", stray)] if strays else [])

    async def _anchor(self) -> None:
        anchor = await evidence.anchor(self._core)
        if anchor is not None:
            # The log is one more place outside the database that keeps it.
            log.warning("anchor of %s: seal %d, chain %s", anchor["day"], anchor["seal"], anchor["chain"].hex())

    async def _orphans(self) -> None:
        orphans = await upkeep.promote_orphans(self._core)
        if orphans:
            log.error("%d held deliveries had nothing before them and were promoted", orphans)

    def _drop(self, number: int, days: int) -> Callable[[], Awaitable[None]]:
        async def drop() -> None:
            today = await upkeep.today(self._core)
            dropped = await upkeep.drop_partitions(self._core, number, today - timedelta(days=days))
            if dropped:
                log.info("dropped %d partitions of class %d older than %d days", len(dropped), number, days)

        return drop

    def _expire(self, number: int) -> Callable[[], Awaitable[None]]:
        async def expire() -> None:
            gone = await upkeep.expire_bodies(self._core, number, self._settings.retention.body_days)
            if gone:
                log.info("%d bodies of class %d have gone", gone, number)

        return expire
